"""10,000 idle connections: other callers and probes are still served."""

import asyncio

from gateway import Bystander, Finding
from http2 import Connection

COUNT = 10_000
# Connections opened at the same time.
AT_ONCE = 200


async def open_all(port):
    limit, opened = asyncio.Semaphore(AT_ONCE), []

    async def one():
        async with limit:
            opened.append(await asyncio.wait_for(Connection.open(port), 30))

    await asyncio.gather(*(one() for _ in range(COUNT)), return_exceptions=True)
    return opened


async def hold(gateway):
    opened = await open_all(gateway.port)
    # The connections answer PINGs while the bystander calls.
    await asyncio.sleep(2)
    memory = gateway.memory()
    median, calls, failed = await asyncio.to_thread(Bystander.beside, gateway, 30)
    probes = {path: await asyncio.to_thread(gateway.probe, path) for path in ("livez", "readyz")}
    still = sum(not connection.closed for connection in opened)
    for connection in opened:
        connection.close()
    return len(opened), still, memory, (median, calls, failed), probes


def run(gateway):
    alone, *_ = Bystander.beside(gateway, 3)
    before = gateway.memory()
    opened, still, memory, (median, calls, failed), probes = asyncio.run(hold(gateway))
    yield Finding("connections opened, open after 30 s", f"{opened}, {still}", opened == still == COUNT)
    yield Finding("memory per connection", f"{(memory - before) / max(opened, 1) / 1024:.1f} KiB")
    yield Finding("median Head alone, beside them", f"{alone:.1f} ms, {median:.1f} ms", median < 50)
    yield Finding("failed Heads", f"{failed} of {calls}", failed == 0 and calls > 0)
    yield Finding("probes", ", ".join(f"/{path} {status}" for path, status in probes.items()),
                  all(status == 200 for status in probes.values()))
