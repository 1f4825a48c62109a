"""BINARY: measures the median latency of Heads, alone and beside a stalled call on the same connection."""

import contextlib
import itertools
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc

import s3
from gateway import MIB, TOKEN, Gateway
from servers import Proxy
from support import stubs

stubs.generate()

from longshore.v1 import (  # noqa: E402
    object_pb2, object_service_pb2 as messages, object_service_pb2_grpc, upload_service_pb2 as uploads,
    upload_service_pb2_grpc)

HEADS, ROUNDS = 300, 3
# Seconds after which a Head fails, so that a stalled Head does not hold up the script.
DEADLINE = 10
MOST = 2
METADATA = [("authorization", f"Bearer {TOKEN}")]
# Seconds for a stalled call to fill every window and buffer.
SETTLE = 3


class Caller:
    """A caller with its own connection."""

    def __init__(self, address):
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(address, options=options)
        self.stub = object_service_pb2_grpc.ObjectServiceStub(self.channel)
        self.upload_stub = upload_service_pb2_grpc.UploadServiceStub(self.channel)

    def heads(self):
        """Returns the median latency in milliseconds, or infinity if a Head fails."""
        times, request = [], messages.HeadRequest(key="small")
        for _ in range(HEADS):
            began = time.monotonic()
            try:
                self.stub.Head(request, metadata=METADATA, timeout=DEADLINE)
            except grpc.RpcError as error:
                print(f"    a Head failed: {error.code().name}", file=sys.stderr)
                return float("inf")
            times.append((time.monotonic() - began) * 1e3)
        return statistics.median(times)

    @contextlib.contextmanager
    def nothing(self):
        yield

    def uploads(self, count, mib=None, store="silent"):
        """Uploads to an S3 server that reads nothing. Without `mib`, sends for as long as Longshore reads."""
        spec = messages.UploadRequest(spec=messages.UploadSpec(store=store, key="upload"))
        chunk = messages.UploadRequest(chunk=object_pb2.Chunk(data=bytes(MIB)))
        return self.sends(self.stub.Upload, spec, chunk, count, mib)

    def resumed(self, mib):
        start = uploads.StartUploadRequest(store="creating", key="upload")
        upload = self.upload_stub.StartUpload(start, metadata=METADATA)
        spec = uploads.WriteUploadRequest(spec=uploads.WriteUploadSpec(upload_id=upload.upload_id))
        chunk = uploads.WriteUploadRequest(chunk=object_pb2.Chunk(data=bytes(MIB)))
        return self.sends(self.upload_stub.WriteUpload, spec, chunk, 1, mib)

    @contextlib.contextmanager
    def sends(self, method, spec, chunk, count, mib):
        stop = threading.Event()

        def request():
            yield spec
            for _ in itertools.count() if mib is None else range(mib):
                if stop.is_set():
                    return
                yield chunk

        calls = [method.future(request(), metadata=METADATA) for _ in range(count)]
        time.sleep(SETTLE)
        yield
        stop.set()
        for call in calls:
            call.cancel()

    @contextlib.contextmanager
    def unread(self, call):
        next(call)
        time.sleep(SETTLE)
        yield
        call.cancel()

    def unread_get(self):
        return self.unread(self.stub.Get(messages.GetRequest(key="large"), metadata=METADATA))

    def unread_walk(self):
        return self.unread(self.stub.Walk(messages.WalkRequest(), metadata=METADATA))


CASES = {
    "alone": Caller.nothing,
    "8 MiB to a silent S3 server": lambda caller: caller.uploads(1, 8),
    "80 MiB to a silent S3 server": lambda caller: caller.uploads(1, 80),
    "80 MiB, S3 only creates the upload": lambda caller: caller.uploads(1, 80, "creating"),
    "80 MiB by WriteUpload, same S3 server": lambda caller: caller.resumed(80),
    "an endless upload": lambda caller: caller.uploads(1),
    # Together, they have more unread bytes in flight than fit into a small connection window.
    "20 endless uploads": lambda caller: caller.uploads(20),
    "an unread Get": Caller.unread_get,
    "an unread Walk": Caller.unread_walk,
}
# haproxy 2.6 stops a caller's whole connection while the caller does not read one response, or the server does not read
# one request (docs/TESTING.md).
NOT_COUNTED_BEHIND_HAPROXY = {"an endless upload", "20 endless uploads", "an unread Get", "an unread Walk"}


def median_of(address, case):
    caller = Caller(address)
    try:
        with CASES[case](caller):
            return caller.heads()
    finally:
        caller.channel.close()


def compare(name, address):
    """Prints the rows of one path to the server. Returns whether all rows that count are good."""
    found = {case: [] for case in CASES}
    for _ in range(ROUNDS):
        for case, medians in found.items():
            if float("inf") not in medians:
                medians.append(median_of(address, case))
    medians = {case: max(each) if float("inf") in each else statistics.median(each) for case, each in found.items()}
    good = True
    for case, median in medians.items():
        ratio = median / medians["alone"]
        counts = name != "haproxy" or case not in NOT_COUNTED_BEHIND_HAPROXY
        met = ratio <= MOST
        good = good and (met or not counts)
        mark = "" if case == "alone" else "ok" if met else "FAILED" if counts else "not counted"
        print(f"  {name:10}{case:41}{median:8.2f} ms {ratio:8.2f} ×   {mark}", flush=True)
    return good


def stores(endpoint):
    keys = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "a-secret"}
    return {name: {"url": f"s3://{bucket}", "config": {"endpoint": endpoint, **keys}}
            for name, bucket in (("default", "bucket"), ("silent", "silent"), ("creating", "creating"))}


def main(binary):
    folder = Path(tempfile.mkdtemp(prefix="longshore-proxies-"))
    started, good = [], True
    try:
        gateway = Gateway(binary, folder, stores(s3.start()))
        started.append(gateway)
        print(f"\nMedian of {HEADS} Heads beside a call on their connection, and its ratio to Heads alone (at most {MOST} ×)")
        good = compare("directly", gateway.address)
        for name in ("nginx", "haproxy"):
            proxy = Proxy(name, gateway.address, folder)
            started.append(proxy)
            good = compare(name, proxy.address) and good
    finally:
        for each in reversed(started):
            each.end()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"  verdict   {'passed' if good else 'FAILED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
