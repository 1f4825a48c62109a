"""BINARY [--quick | CALLS]: compares the usage counters with what a scripted load did, to the call and to the byte.

Several processes make calls of every kind as nine callers of three tenants, and count for themselves what they sent and
received. The S3 server counts the requests that it gets. Some calls fail, some of their S3 requests are retried, and some
calls are cancelled in mid-stream, at a byte that both sides know. The tenants are reloaded all the time.
"""

import asyncio
import collections
import hashlib
import json
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import grpc
from support import process, server as servers, stubs
from support.client import upload_messages
from support.wait import eventually

stubs.generate()

from longshore.v1 import admin_service_pb2, object_pb2, object_service_pb2 as pb, object_service_pb2_grpc  # noqa: E402

TENANTS, CALLERS = ["acme", "globex", "initech"], ["one", "two", "three"]
WORKERS, AT_ONCE = 4, 24
PART = 5 * 1024 * 1024
STALLED = 300_000
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
OK, CANCELLED = "OK", "CANCELLED"


class Load:
    """The calls of one process."""

    def __init__(self, seed, address, s3):
        self.random = random.Random(seed)
        self.seed, self.address, self.s3 = seed, address, s3
        # By tenant and caller.
        self.calls, self.sent, self.received = (collections.Counter() for _ in range(3))
        self.number = 0

    async def run(self, count):
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(self.address, options=options) as channel:
            self.stub = object_service_pb2_grpc.ObjectServiceStub(channel)
            left = iter(range(count))

            async def worker():
                for at in left:
                    await self.call("cancelled_upload" if at % 2_000 == 1_000 else self.choose())

            await asyncio.gather(*(worker() for _ in range(AT_ONCE)))

    def choose(self):
        kinds = {"get": 30, "head": 12, "put": 20, "list": 8, "delete": 10, "copy": 6, "upload": 5, "delete_many": 2,
                 "get_ranges": 2, "missing": 2, "denied": 1, "failing": 1, "cancelled_get": 1}
        return self.random.choices(list(kinds), kinds.values())[0]

    async def call(self, kind):
        tenant, caller = self.random.choice(TENANTS), self.random.choice(CALLERS)
        self.number += 1
        self.name = None
        who = f"{tenant}/{caller}"
        unique = f"{self.seed}-{self.number}"
        metadata = [("authorization", f"Bearer {who}")]
        method, code = await getattr(self, kind)(who, caller, unique, metadata)
        self.calls[f"{who}:longshore.v1.ObjectService/{method}:{code}"] += 1

    async def get(self, who, caller, unique, metadata, prefix=""):
        size = self.random.choice([0, 1, 1_000, 4_096, 70_000, 200_000])
        request = pb.GetRequest(key=f"{caller}/{prefix}get-{size}-{unique}")
        data = [len(message.chunk.data) async for message in self.stub.Get(request, metadata=metadata)]
        assert sum(data) == size
        self.received[who] += size
        return "Get", OK

    async def failing(self, *arguments):
        return await self.get(*arguments, prefix="fail-")

    async def get_ranges(self, who, caller, unique, metadata):
        ranges = [{"bounded": {"start": start, "end": start + 10}} for start in (0, 500, 900)]
        request = pb.GetRangesRequest(key=f"{caller}/get-1000-{unique}", ranges=ranges)
        data = [len(message.chunk.data) async for message in self.stub.GetRanges(request, metadata=metadata)]
        assert sum(data) == 30
        self.received[who] += 30
        return "GetRanges", OK

    async def cancelled_get(self, who, caller, unique, metadata):
        call = self.stub.Get(pb.GetRequest(key=f"{caller}/stall-{STALLED}-{unique}"), metadata=metadata)
        got = 0
        async for message in call:
            got += len(message.chunk.data)
            if got == STALLED:
                break
        call.cancel()
        self.received[who] += got
        return "Get", CANCELLED

    async def head(self, who, caller, unique, metadata):
        await self.stub.Head(pb.HeadRequest(key=f"{caller}/get-9-{unique}"), metadata=metadata)
        return "Head", OK

    async def missing(self, who, caller, unique, metadata):
        return await self.fails("Get", self.stub.Get(pb.GetRequest(key=f"{caller}/none-{unique}"), metadata=metadata))

    async def denied(self, who, caller, unique, metadata):
        return await self.fails("Put", self.stub.Put(pb.PutRequest(key=f"other/{unique}", data=b"x"), metadata=metadata))

    async def fails(self, method, call):
        try:
            if hasattr(call, "__aiter__"):
                async for _ in call:
                    pass
            else:
                await call
        except grpc.aio.AioRpcError as error:
            return method, error.code().name
        raise AssertionError(f"{method} succeeded")

    async def put(self, who, caller, unique, metadata):
        data = bytes(self.random.choice([0, 10, 4_096, 60_000]))
        await self.stub.Put(pb.PutRequest(key=f"{caller}/put-{unique}", data=data), metadata=metadata)
        self.sent[who] += len(data)
        return "Put", OK

    async def upload(self, who, caller, unique, metadata):
        chunks = [bytes(self.random.randrange(1, 30_000)) for _ in range(3)]
        await self.stub.Upload(upload_messages(f"{caller}/upload-{unique}", chunks), metadata=metadata)
        self.sent[who] += sum(map(len, chunks))
        return "Upload", OK

    async def cancelled_upload(self, who, caller, unique, metadata):
        """Sends one whole part and a byte, without which the part would not be sent; waits until S3 has it; cancels."""
        call = self.stub.Upload(metadata=metadata)
        key = f"{caller}/upload-{unique}"
        await call.write(pb.UploadRequest(spec=pb.UploadSpec(key=key, part_size=PART)))
        for size in [PART // 5] * 5 + [1]:
            await call.write(pb.UploadRequest(chunk=object_pb2.Chunk(data=bytes(size))))
        await asyncio.to_thread(eventually, "S3 has the part",
                                lambda: OPENER.open(f"{self.s3}/_seen/{key}").read() == b"1", 60)
        call.cancel()
        self.sent[who] += PART + 1
        return "Upload", CANCELLED

    async def list(self, who, caller, unique, metadata):
        await self.stub.List(pb.ListRequest(prefix=f"{caller}/list-{unique}"), metadata=metadata)
        return "List", OK

    async def delete(self, who, caller, unique, metadata):
        await self.stub.Delete(pb.DeleteRequest(key=f"{caller}/put-{unique}"), metadata=metadata)
        return "Delete", OK

    async def copy(self, who, caller, unique, metadata):
        await self.stub.Copy(pb.CopyRequest(source={"key": f"{caller}/get-9-{unique}"},
                                            destination={"key": f"{caller}/copy-{unique}"}), metadata=metadata)
        return "Copy", OK

    async def delete_many(self, who, caller, unique, metadata):
        objects = [object_pb2.ObjectId(key=f"{caller}/put-{unique}-{number}") for number in range(10)]

        async def requests():
            yield pb.DeleteManyRequest(objects=objects)

        results = [result async for message in self.stub.DeleteMany(requests(), metadata=metadata)
                   for result in message.results]
        assert len(results) == 10 and not any(result.HasField("error") for result in results)
        return "DeleteMany", OK


def work(seed, address, s3, count, results):
    load = Load(seed, address, s3)
    asyncio.run(load.run(count))
    results.put((dict(load.calls), dict(load.sent), dict(load.received)))


def tenants(s3):
    """Each caller may use the keys under its own name."""
    def caller(tenant, name):
        digest = hashlib.sha256(f"{tenant}/{name}".encode()).hexdigest()
        return {"name": name, "token_sha256": digest, "access": ["read", "write", "delete", "list"], "prefixes": [f"{name}/"]}

    def store(tenant):
        return {"bucket": tenant, "config": {"endpoint": s3, "access_key_id": "a", "secret_access_key": "b",
                                             "unsigned_payload": True},
                "client_options": {"allow_http": True}, "retry_config": {"backoff": {"init_backoff": "5ms"}},
                "transfer": {"multipart_threshold": PART, "part_size": PART}}

    return {tenant: {"callers": [caller(tenant, name) for name in CALLERS], "stores": {"default": store(tenant)}}
            for tenant in TENANTS}


def reload(admin, file, s3):
    """Changes the settings of every store, and adds a tenant or removes it. No counter may notice."""
    reload.number += 1
    changed = tenants(s3)
    for tenant in changed.values():
        tenant["stores"]["default"]["retry_config"]["max_retries"] = 5 + reload.number % 2
    if reload.number % 2:
        changed["hooli"] = {"stores": changed["acme"]["stores"]}
    file.write_text(json.dumps({"tenants": changed}))
    assert len(admin.ReloadTenants(admin_service_pb2.ReloadTenantsRequest()).changed) == len(TENANTS)


reload.number = 0


def expected(results, s3):
    """The counters as the load and the S3 server counted them."""
    calls, sent, received = (collections.Counter() for _ in range(3))
    for found in results:
        for total, part in zip((calls, sent, received), found, strict=True):
            total.update(part)
    counts = json.loads(OPENER.open(f"{s3}/_counts").read())
    requests = {f"{who}:{kind}": count for who, kind, count in counts["requests"]}
    return {"calls": dict(calls), "received": {who: n for who, n in sent.items() if n},
            "sent": {who: n for who, n in received.items() if n},
            "s3_requests": requests, "retries": dict(counts["failures"])}


def counted(admin):
    """The counters as GetUsage returns them, page by page."""
    found = {"calls": {}, "received": {}, "sent": {}, "s3_requests": {}, "retries": {}}
    token = ""
    while True:
        page = admin.GetUsage(admin_service_pb2.GetUsageRequest(page_size=4, page_token=token))
        for one in page.callers:
            who = f"{one.tenant}/{one.caller}"
            found["calls"] |= {f"{who}:{call.method}:{call.code}": call.count for call in one.calls}
            found["s3_requests"] |= {f"{who}:{field.name}": number for field, number in one.s3_requests.ListFields()}
            for name, number in [("received", one.received_bytes), ("sent", one.sent_bytes), ("retries", one.s3_retries)]:
                if number:
                    found[name][who] = number
        token = page.next_page_token
        if not token:
            return found


def check_metrics(server, usage):
    """Compares the sums in /metrics: acme has its own, the others are summed."""
    text = OPENER.open(f"http://{server.health_address}/metrics").read().decode()
    lines = [line for line in text.splitlines() if line.startswith("longshore_tenant_object_bytes_total")]
    shown = {(label in line, "download" in line): int(line.rsplit(" ", 1)[1])
             for line in lines for label in ['tenant="acme"']}
    for own in (True, False):
        for name, download in [("received", False), ("sent", True)]:
            total = sum(n for who, n in usage[name].items() if who.startswith("acme/") == own)
            assert shown[own, download] == total, (own, name)


def differences(left, right):
    return {(name, key): (left[name].get(key, 0), right[name].get(key, 0)) for name in left
            for key in left[name].keys() | right[name].keys() if left[name].get(key, 0) != right[name].get(key, 0)}


def run(binary, folder, calls):
    """Runs the load, and fails if a counter differs. Returns what was counted."""
    script = Path(__file__).parent / "support/counting_s3.py"
    backend = process.start([sys.executable, script], stdout=subprocess.PIPE, text=True)
    s3 = f"http://127.0.0.1:{int(backend.stdout.readline())}"
    file = folder / "tenants.yaml"
    file.write_text(json.dumps({"tenants": tenants(s3)}))
    server = servers.serve(binary, folder, file, AUTH="required", LOG="warn", METRICS_TENANTS="acme",
                           RELOAD_INTERVAL="unlimited")
    admin = server.client(address=server.admin_address).admin
    try:
        context = multiprocessing.get_context("spawn")
        results, count = context.Queue(), calls // WORKERS
        workers = [context.Process(target=work, args=(seed, server.address, s3, count, results)) for seed in range(WORKERS)]
        for worker in workers:
            worker.start()
        found = []
        while len(found) < WORKERS:
            assert all(worker.exitcode in (None, 0) for worker in workers), "a process of the load has failed"
            if not results.empty():
                found.append(results.get())
            reload(admin, file, s3)
            time.sleep(0.2)
        for worker in workers:
            worker.join()
        # Cancelled calls and the requests that abort their uploads end a moment after the client's side.
        try:
            eventually("the counters are equal", lambda: not differences(expected(found, s3), counted(admin)), within=60, every=0.5)
        except AssertionError:
            raise AssertionError(f"expected, counted: {differences(expected(found, s3), counted(admin))}") from None
        usage = counted(admin)
        check_metrics(server, usage)
        return usage
    finally:
        server.stop()
        process.end(backend)


def main(binary, calls="100000"):
    count = 6_000 if calls == "--quick" else int(calls)
    with tempfile.TemporaryDirectory() as folder:
        usage = run(binary, Path(folder), count)
    print(f"{sum(usage['calls'].values())} calls, of which {sum(n for key, n in usage['calls'].items() if key.endswith(CANCELLED))} "
          f"were cancelled; {sum(usage['received'].values())} bytes received, {sum(usage['sent'].values())} sent, "
          f"{sum(usage['s3_requests'].values())} S3 requests, {sum(usage['retries'].values())} retries: all counted exactly")


if __name__ == "__main__":
    main(*sys.argv[1:])
