"""100 connections with 100 unfinished messages of 4 MiB each: memory stays within the budget plus 128 MiB."""

import asyncio
import time

from gateway import BESIDE_BUDGET, BUDGET, MIB, TOKEN, Bystander, Finding
from http2 import Connection, message, request

CONNECTIONS = STREAMS = 100
SIZE = 4 * MIB
# One byte is never sent.
SENT = SIZE - 1
SECONDS = 15
# Above this, the run ends early, to protect the machine from a server with unbounded memory.
ENOUGH = 2 * (BUDGET + BESIDE_BUDGET)
VARIANTS = [{"token": None}, {"token": TOKEN}]
FILL = bytes(16_384)


async def fill(port, token, until):
    """Sends as much of each message as the server's windows allow. Returns the number of bytes."""
    connection = await Connection.open(port)
    block = request("/longshore.v1.ObjectService/Put", token)
    left = dict.fromkeys(range(1, 2 * STREAMS, 2), SENT)
    for stream in left:
        connection.begin(stream, block)
        connection.data(stream, message(b"", SIZE))
    total = 0
    while left and time.monotonic() < until and not connection.closed:
        connection.changed.clear()
        moved = 0
        for stream in list(left):
            length = min(connection.room(stream), left[stream])
            if stream in connection.ended:
                del left[stream]
            elif length:
                connection.data(stream, FILL[:length])
                left[stream] -= length
                moved += length
                await connection.flush()
            elif not left[stream]:
                del left[stream]
        total += moved
        if not moved:
            try:
                await asyncio.wait_for(connection.changed.wait(), 0.2)
            except TimeoutError:
                pass
    while time.monotonic() < until and not connection.closed:
        await asyncio.sleep(0.2)
    connection.close()
    return total


async def attack(gateway, token):
    until = time.monotonic() + SECONDS
    callers = asyncio.gather(*(fill(gateway.port, token, until) for _ in range(CONNECTIONS)), return_exceptions=True)
    while not callers.done():
        await asyncio.sleep(0.05)
        if gateway.memory() > ENOUGH:
            callers.cancel()
            await asyncio.gather(callers, return_exceptions=True)
            return None
    return sum(sent for sent in await callers if isinstance(sent, int))


def run(gateway, token):
    name = "with a token" if token else "without a token"
    gateway.forget_peak()
    bystander = gateway.bystander()
    sent = asyncio.run(attack(gateway, token))
    peak = gateway.memory("VmHWM")
    median, calls, failed = bystander.seen()
    yield Finding(f"{name}: sent", "stopped early" if sent is None else f"{sent / MIB:.0f} MiB")
    yield Finding(f"{name}: peak memory", f"{peak / MIB:.0f} MiB, bound {(BUDGET + BESIDE_BUDGET) // MIB} MiB",
                  peak <= BUDGET + BESIDE_BUDGET)
    yield Finding(f"{name}: another caller", f"median {median:.1f} ms, {failed} of {calls} failed")
