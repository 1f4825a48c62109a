"""1,000 callers that open the largest windows and stop reading: memory is bounded, and other callers are served."""

import asyncio

from gateway import BESIDE_BUDGET, BUDGET, MIB, TOKEN, Bystander, Finding
from http2 import (END_STREAM, FIRST_WINDOW, INITIAL_WINDOW_SIZE, LARGEST_WINDOW, SETTINGS, WINDOW_UPDATE, Connection,
                   frame, message, request)

# The number of connections, and of Gets on each.
VARIANTS = [{"connections": 1_000, "streams": 1}, {"connections": 50, "streams": 20}]
AT_ONCE = 50
SIZE = 64 * MIB
SECONDS = 10
WINDOWS = (frame(SETTINGS, 0, 0, INITIAL_WINDOW_SIZE.to_bytes(2, "big") + LARGEST_WINDOW.to_bytes(4, "big"))
           + frame(WINDOW_UPDATE, 0, 0, (LARGEST_WINDOW - FIRST_WINDOW).to_bytes(4, "big")))
# `GetRequest.key` is field 2.
GET = message(b"\x12\x05large")


async def stop_reading(port, streams, limit):
    async with limit:
        connection = await asyncio.wait_for(Connection.open(port, WINDOWS), 30)
        await asyncio.wait_for(connection.changed.wait(), 30)
        connection.transport.pause_reading()
        for stream in range(1, 2 * streams, 2):
            connection.begin(stream, request("/longshore.v1.ObjectService/Get", TOKEN))
            connection.data(stream, GET, END_STREAM)
        return connection


async def hold(gateway, connections, streams):
    limit = asyncio.Semaphore(AT_ONCE)
    opened = await asyncio.gather(*(stop_reading(gateway.port, streams, limit) for _ in range(connections)))
    await asyncio.sleep(SECONDS)
    unsent = await asyncio.to_thread(gateway.metric, "longshore_memory_unsent_bytes")
    seen = await asyncio.to_thread(Bystander.beside, gateway, SECONDS)
    for connection in opened:
        connection.close()
    return unsent, seen


def run(gateway, connections, streams):
    name = f"{connections} × {streams}"
    gateway.put("large", SIZE)
    before = gateway.memory()
    gateway.forget_peak()
    unsent, (median, calls, failed) = asyncio.run(hold(gateway, connections, streams))
    peak = gateway.memory("VmHWM")
    yield Finding(f"{name}: memory before, peak", f"{before / MIB:.0f} MiB, {peak / MIB:.0f} MiB",
                  peak <= BUDGET + BESIDE_BUDGET)
    yield Finding(f"{name}: unsent", "not reported" if unsent is None else f"{unsent / MIB:.0f} MiB",
                  unsent is not None and unsent <= 32 * MIB + connections * 16 * 1024)
    yield Finding(f"{name}: another caller", f"median {median:.1f} ms, {failed} of {calls} failed",
                  failed == 0 and calls > 0)
