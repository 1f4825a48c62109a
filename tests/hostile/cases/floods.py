"""Floods of frames that carry nothing end with GOAWAY ENHANCE_YOUR_CALM, and other callers hardly notice."""

import asyncio
import time

from gateway import TOKEN, Bystander, Finding
from http2 import (ACK, END_HEADERS, ENHANCE_YOUR_CALM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
                   Connection, frame, request)

SECONDS = 5
ATTACKERS = 2
# A median that other callers' calls may have meanwhile, in ms.
MOST = 10
BATCH = 2_000


def resets(first):
    """Calls that are cancelled at once, 15 in a row."""
    block = request("/longshore.v1.ObjectService/Head", TOKEN)
    for start in range(first, first + 2 * BATCH, 30):
        streams = range(start, start + 30, 2)
        yield b"".join(frame(HEADERS, END_HEADERS, stream, block) for stream in streams)
        yield b"".join(frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big")) for stream in streams)


def same(data):
    return lambda first: [data * BATCH]


FLOODS = {
    "PING": same(frame(PING, 0, 0, bytes(8))),
    "PING ACK": same(frame(PING, ACK, 0, bytes(8))),
    "SETTINGS": same(frame(SETTINGS, 0, 0)),
    "WINDOW_UPDATE": same(frame(WINDOW_UPDATE, 0, 0, (1).to_bytes(4, "big"))),
    "PRIORITY": same(frame(PRIORITY, 0, 1, bytes(4) + b"\x10")),
    "resets": resets,
}


async def attack(port, batch, until):
    """Sends the frames, and connects again after each GOAWAY. Returns the reasons of the connections' ends."""
    reasons = []
    while time.monotonic() < until:
        connection = await Connection.open(port)
        first = 1
        while time.monotonic() < until and not connection.closed and connection.goaway is None:
            for piece in batch(first):
                connection.send(piece)
                await asyncio.sleep(0)
            first += 2 * BATCH + 30
            try:
                await asyncio.wait_for(connection.flush(), 1)
            except TimeoutError:
                pass
        # The reason may arrive a moment after the server has stopped reading.
        for _ in range(50):
            if connection.closed or connection.goaway is not None or time.monotonic() > until:
                break
            await asyncio.sleep(0.02)
        reasons.append(connection.goaway)
        connection.close()
    return reasons


async def attacks(port, batch):
    until = time.monotonic() + SECONDS
    found = await asyncio.gather(*(attack(port, batch, until) for _ in range(ATTACKERS)))
    return [reason for reasons in found for reason in reasons]


def run(gateway):
    alone, *_ = Bystander.beside(gateway, 3)
    yield Finding("another caller alone", f"median {alone:.1f} ms")
    for name, batch in FLOODS.items():
        bystander, log = gateway.bystander(), gateway.log.stat().st_size
        time.sleep(1)
        before = gateway.cpu()
        reasons = asyncio.run(attacks(gateway.port, batch))
        cpu = gateway.cpu() - before
        median, calls, failed = bystander.seen()
        calmed = sum(reason == ENHANCE_YOUR_CALM for reason in reasons)
        # The last connection of each attacker may end with the run.
        good = calmed > 0 and calmed >= len(reasons) - ATTACKERS
        yield Finding(name, f"{calmed} of {len(reasons)} connections calmed, {cpu:.1f} s CPU", good)
        written = (gateway.log.stat().st_size - log) / 1024
        yield Finding("  another caller, log", f"{median:.1f} ms, {failed} of {calls} failed; {written:.0f} KiB",
                      median < MOST and failed == 0)
