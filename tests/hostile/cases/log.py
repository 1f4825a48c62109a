"""Standard error is a pipe that is not read, and 20,000 calls fail: calls, probes and shutdown still work."""

import asyncio
import os
import signal
import subprocess
import time

import grpc

from gateway import TOKEN, Finding, Gateway
from support import stubs

stubs.generate()

from longshore.v1 import object_service_pb2, object_service_pb2_grpc  # noqa: E402

CALLS, AT_ONCE, DEADLINE = 20_000, 50, 10
GRACE = 5
# The grace, and time for what the process does after its calls have ended.
LONGEST_END = GRACE + 5


async def fail(address):
    """Sends Heads of a missing object. Returns how many ended with NOT_FOUND, and how many ended otherwise."""
    answered = lost = begun = 0
    channel = grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
    head = object_service_pb2_grpc.ObjectServiceStub(channel).Head
    metadata = [("authorization", f"Bearer {TOKEN}")]

    async def caller():
        nonlocal answered, lost, begun
        while begun < CALLS and lost < AT_ONCE:
            begun += 1
            try:
                await head(object_service_pb2.HeadRequest(key="missing"), metadata=metadata, timeout=DEADLINE)
            except grpc.aio.AioRpcError as error:
                missing = error.code() == grpc.StatusCode.NOT_FOUND
                answered, lost = answered + missing, lost + (not missing)

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    await channel.close()
    return answered, lost


def run(gateway):
    gateway.end()
    reader, writer = os.pipe()
    place = gateway.folder / "unread"
    place.mkdir()
    attacked = Gateway(gateway.binary, place, gateway.stores, stderr=writer, LOG="info", SHUTDOWN_GRACE=f"{GRACE}s")
    os.close(writer)
    try:
        answered, lost = asyncio.run(fail(attacked.address))
        yield Finding("calls answered", f"{answered} of {CALLS}, {lost} otherwise", answered == CALLS)
        status = attacked.probe("livez")
        yield Finding("/livez", str(status), status == 200)
        began = time.monotonic()
        attacked.process.send_signal(signal.SIGTERM)
        try:
            attacked.process.wait(LONGEST_END)
            yield Finding("exit after SIGTERM", f"{time.monotonic() - began:.1f} s", True)
        except subprocess.TimeoutExpired:
            yield Finding("exit after SIGTERM", f"not within {LONGEST_END} s", False)
    finally:
        attacked.end()
        os.close(reader)
