"""BINARY RELOADS: reloads the tenants again and again while 64 streams are in progress, half of them downloads.

Each reload changes the settings of the store that the streams use, the grants of a caller, and the set of tenants. Fails
if a call fails or returns other bytes than it should, or if the server uses more than a tenth more memory in the end than
after the first tenth of the reloads.
"""

import asyncio
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc

from support import process, server as servers, stubs
from support.client import pieces, upload_messages

stubs.generate()

from longshore.v1 import admin_service_pb2, object_service_pb2 as pb, object_service_pb2_grpc  # noqa: E402

STREAMS = 64
SIZE = 1024 * 1024
# What support/counting_s3.py returns.
DATA = b"x" * SIZE
TOKEN = "token"


def tenants(number, s3):
    """The tenants file of a reload. Every one differs from the last."""
    caller = {"name": "caller", "token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "access": ["read", "write"]}
    other = {**caller, "token_sha256": f"{number + 1:064x}", "name": f"caller{number}"}
    store = {
        "bucket": "bucket",
        "config": {"endpoint": s3, "access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret"},
        "client_options": {"allow_http": True, "read_timeout": f"{30 + number % 7}s"},
    }
    named = {"acme": {"callers": [caller, other], "stores": {"default": store}}}
    for changing in range(number % 5):
        named[f"tenant{changing}"] = {"callers": [other], "stores": {"default": store}}
    return json.dumps({"tenants": named})


async def stream(stub, number, stop):
    """Makes one call after the other. Returns how many there were."""
    metadata = [("authorization", f"Bearer {TOKEN}"), ("x-longshore-tenant", "acme")]
    calls = 0
    while not stop.is_set():
        calls += 1
        if number % 2:
            key = f"caller/get-{SIZE}-{number}"
            received = [message.chunk.data async for message in stub.Get(pb.GetRequest(key=key), metadata=metadata)]
            assert b"".join(received) == DATA, f"{sum(map(len, received))} bytes"
        else:
            messages = upload_messages(f"caller/put-{number}", pieces(DATA, SIZE // 16))
            assert (await stub.Upload(messages, metadata=metadata)).meta.size == SIZE
    return calls


def reload_all(server, path, s3, count):
    """Reloads the tenants. Returns the memory after the first tenth and at the end."""
    client = server.client(address=server.admin_address)
    memory = []
    for number in range(1, count + 1):
        replacement = path.with_suffix(".new")
        replacement.write_text(tenants(number, s3))
        replacement.rename(path)
        answer = client.admin.ReloadTenants(admin_service_pb2.ReloadTenantsRequest(), timeout=60)
        assert "acme" in answer.changed, answer
        if number in (count // 10, count):
            memory.append(server.memory("VmRSS"))
    return memory


async def load(address, stop):
    options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = object_service_pb2_grpc.ObjectServiceStub(channel)
        return sum(await asyncio.gather(*(stream(stub, number, stop) for number in range(STREAMS))))


async def run(binary, folder, s3, count):
    """Returns the number of calls, and the memory."""
    path = folder / "tenants.yaml"
    path.write_text(tenants(0, s3))
    server = servers.serve(binary, folder, path, AUTH="required", LOG="warn", RELOAD_INTERVAL="unlimited")
    try:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        # A failure of either ends the other.
        reloading = asyncio.create_task(asyncio.to_thread(reload_all, server, path, s3, count))
        reloading.add_done_callback(lambda _: loop.call_soon(stop.set))
        calls = await load(server.address, stop)
        return calls, await reloading
    finally:
        server.stop()


def main(binary, count="1000"):
    backend = process.start([sys.executable, Path(__file__).parent / "support/counting_s3.py"],
                            stdout=subprocess.PIPE, text=True)
    try:
        s3 = f"http://127.0.0.1:{int(backend.stdout.readline())}"
        with tempfile.TemporaryDirectory(prefix="longshore-reloads-") as folder:
            calls, (early, late) = asyncio.run(run(binary, Path(folder), s3, int(count)))
    finally:
        process.end(backend)
    print(f"{count} reloads during {calls} calls, none of which failed; memory {early >> 20} MiB after a tenth of the "
          f"reloads, {late >> 20} MiB at the end")
    sys.exit(0 if late <= early * 1.1 else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
