"""1 MB of gzip bombs: less than 1 s of CPU in total."""

import asyncio
import json
import os
import time
import zlib
from collections import Counter

from gateway import MIB, TOKEN, Finding
from http2 import END_STREAM, Connection, message, request

TOTAL = 1_000_000
# The case fails if the server takes longer, in seconds.
LONGEST = 15
AT_ONCE = 50
# Within the default limit on the size of a message.
UNPACKED = 4 * MIB - 64


def varint(number):
    encoded = b""
    while number > 127:
        encoded += bytes([number % 128 + 128])
        number //= 128
    return encoded + bytes([number])


def field(number, payload):
    """Encodes a length-delimited field of protobuf."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


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


def gzip(payload):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(payload) + packer.flush()


def plain(payload):
    return gzip(payload)


def padded(payload):
    """Compresses by a factor below 100, so that a limit on the compression ratio lets the message through to the decoder.
    The padding is an unknown field of incompressible bytes."""
    padding = field(1000, os.urandom(UNPACKED // 90))
    return gzip(padding + payload[:UNPACKED - len(padding)])


def false_length(payload):
    """The trailer claims a length of 64 bytes (RFC 1952, section 2.3.1)."""
    return gzip(payload)[:-4] + (64).to_bytes(4, "little")


def two_members(payload):
    """A small member follows, so that the last trailer states only that member's length (RFC 1952, section 2.2)."""
    return gzip(payload) + gzip(b"\x78\x00")


FORMS = {"": plain, ", below 100 times": padded, ", false length": false_length, ", two members": two_members}


async def send(port, path, body, token, count):
    """Sends the bomb `count` times and waits for the responses. Returns the number of calls that ended."""
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
        at = 0
        while at < len(body):
            while not connection.room(stream) and stream not in connection.ended:
                if connection.closed or time.monotonic() > deadline:
                    return len(connection.ended)
                await asyncio.sleep(0.005)
            if stream in connection.ended:
                break
            piece = body[at:at + connection.room(stream)]
            at += len(piece)
            connection.data(stream, piece, END_STREAM if at == len(body) else 0)
    while len(connection.ended) < count and time.monotonic() < deadline and not connection.closed:
        await asyncio.sleep(0.05)
    connection.close()
    return len(connection.ended)


def outcomes(log):
    """Returns the two most frequent statuses in these lines of the access log."""
    lines = (json.loads(line) for line in log.splitlines() if line.startswith(b"{"))
    counts = Counter(line["code"] for line in lines if "code" in line)
    return ", ".join(f"{count} {code}" for code, count in counts.most_common(2)) or "no access line"


def run(gateway, token):
    name = "token" if token else "no token"
    for what, (path, payload) in BOMBS.items():
        for form, pack in FORMS.items():
            service = path if path.startswith("grpc.") else f"longshore.v1.{path}"
            body = message(pack(payload), compressed=True)
            count, written = -(-TOTAL // len(body)), gateway.log.stat().st_size
            before, began = gateway.cpu(), time.monotonic()
            ended = asyncio.run(send(gateway.port, f"/{service}", body, token, count))
            cpu, seconds = gateway.cpu() - before, time.monotonic() - began
            # The last lines of the log may be written after the responses.
            time.sleep(0.3)
            with gateway.log.open("rb") as log:
                log.seek(written)
                said = outcomes(log.read())
            text = f"{cpu:.2f} s CPU, {ended} of {count} in {seconds:.1f} s: {said} "
            yield Finding(f"{name}: {what}{form}", text, cpu < 1 and ended == count)
