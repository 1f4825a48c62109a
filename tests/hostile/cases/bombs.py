"""1 MB of gzip bombs: less than 1 s of CPU in total."""

import asyncio
import time
import zlib

from gateway import MIB, TOKEN, Finding
from http2 import END_STREAM, Connection, message, request

TOTAL = 1_000_000
# A server that takes longer fails.
LONGEST = 15
AT_ONCE = 50
# Within the default limit of a message.
UNPACKED = 4 * MIB - 64


def field(number, payload):
    """A length-delimited field of protobuf."""
    length, rest = b"", len(payload)
    while True:
        length += bytes([rest % 128 + (128 if rest > 127 else 0)])
        rest //= 128
        if not rest:
            return bytes([number << 3 | 2]) + length + payload


def repeated(entry):
    return entry * (UNPACKED // len(entry))


# PutRequest: key 2, data 3, attributes 4 (its metadata 7), tags 5. DeleteManyRequest: objects 2.
KEY = field(2, b"bomb")
BOMBS = {
    "tags": ("ObjectService/Put", KEY + repeated(field(5, b""))),
    "metadata": ("ObjectService/Put", KEY + field(4, repeated(field(7, b"")))),
    "keys": ("ObjectService/DeleteMany", repeated(field(2, b""))),
    "unknown fields": ("ObjectService/Head", KEY + repeated(b"\x78\x00")),
    "nested unknown groups": ("ObjectService/Head", KEY + repeated(b"\x7b\x7c")),
    "a key of zeros": ("ObjectService/Head", field(2, bytes(UNPACKED - 64))),
    "a payload of zeros": ("ObjectService/Put", KEY + field(3, bytes(UNPACKED - 64))),
    "a service name of zeros": ("grpc.health.v1.Health/Check", field(1, bytes(UNPACKED - 64))),
}
VARIANTS = [{"token": None}, {"token": TOKEN}]


def packed(payload):
    gzip = zlib.compressobj(9, zlib.DEFLATED, 31)
    return message(gzip.compress(payload) + gzip.flush(), compressed=True)


async def send(port, path, body, token, count):
    """Sends the bomb so many times, and waits for the answers. Returns how many calls ended."""
    connection = await Connection.open(port)
    await asyncio.sleep(0.1)
    block = request(path, token, grpc_encoding="gzip")
    deadline = time.monotonic() + LONGEST
    for begun in range(count):
        while begun - len(connection.ended) >= AT_ONCE and time.monotonic() < deadline and not connection.closed:
            connection.changed.clear()
            await asyncio.wait([asyncio.ensure_future(connection.changed.wait())], timeout=0.5)
        if connection.closed or time.monotonic() > deadline:
            break
        stream = 2 * begun + 1
        connection.begin(stream, block)
        for at in range(0, len(body), 16_384):
            piece = body[at:at + 16_384]
            connection.data(stream, piece, END_STREAM if at + len(piece) == len(body) else 0)
    while len(connection.ended) < count and time.monotonic() < deadline and not connection.closed:
        await asyncio.sleep(0.05)
    connection.close()
    return len(connection.ended)


def run(gateway, token):
    name = "with a token" if token else "without a token"
    for what, (path, payload) in BOMBS.items():
        service = path if path.startswith("grpc.") else f"longshore.v1.{path}"
        body = packed(payload)
        count = -(-TOTAL // len(body))
        before, began = gateway.cpu(), time.monotonic()
        ended = asyncio.run(send(gateway.port, f"/{service}", body, token, count))
        cpu, seconds = gateway.cpu() - before, time.monotonic() - began
        text = f"{cpu:.2f} s of CPU in {seconds:.1f} s, {ended} of {count} answered"
        yield Finding(f"{name}: {what}", text, cpu < 1)
