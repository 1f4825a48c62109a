"""Floods of frames without content: they end with GOAWAY ENHANCE_YOUR_CALM, and hardly slow down other callers."""

import asyncio
import time
from collections import Counter

from gateway import TOKEN, Bystander, Finding
from http2 import (ACK, END_HEADERS, ENHANCE_YOUR_CALM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
                   Connection, frame, request)

SECONDS = 5
ATTACKERS = 2
# The highest median latency of other callers' calls during a flood, in ms.
MOST = 10
# The most that a flood may write to the log, in KiB. Resets are exempt: each reset call has a line in the access log.
MOST_LOG = 1024
BATCH = 2_000


def resets(first):
    """Yields batches of 15 calls, each followed by their cancellation."""
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
    """Sends the frames, and reconnects whenever the connection ends. Returns how each connection ended."""
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
        if connection.closed or connection.goaway is not None:
            reasons.append("closed" if connection.goaway is None else connection.goaway)
        else:
            # The flood ended before the connection did.
            reasons.append("open")
        connection.close()
    return reasons


async def attacks(port, batch):
    until = time.monotonic() + SECONDS
    found = await asyncio.gather(*(attack(port, batch, until) for _ in range(ATTACKERS)))
    return [reason for reasons in found for reason in reasons]


def described(reasons):
    """Describes how the connections ended."""
    names = {ENHANCE_YOUR_CALM: "GOAWAY"}
    counts = Counter(names.get(reason, reason) for reason in reasons)
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common())


def is_good(reasons):
    """Whether the server ended every connection that it had time to end. A GOAWAY is lost if the server closes a socket
    with unread bytes, because TCP then resets the connection, so some connections may only appear closed. When the flood
    ends, each attacker may have one open connection."""
    return (ENHANCE_YOUR_CALM in reasons and reasons.count("open") <= ATTACKERS
            and set(reasons) <= {ENHANCE_YOUR_CALM, "closed", "open"})


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
        yield Finding(name, f"{described(reasons)}, {cpu:.1f} s CPU", is_good(reasons))
        written = (gateway.log.stat().st_size - log) / 1024
        yield Finding("  another caller, log", f"{median:.1f} ms, {failed} of {calls} failed; {written:.0f} KiB",
                      median < MOST and failed == 0 and (name == "resets" or written < MOST_LOG))
