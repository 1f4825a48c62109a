"""BINARY [--quick]: measures the latency of a tenant alone, beside a tenant that makes ten times as many calls as its limits
allow, and beside one whose S3 server never answers; then the calls that a server completes at ten times the load that it
can take.

Fails if a call of the quiet tenant is refused or fails, if its 99th percentile beside the others is more than twice what it
is alone and more than 10 ms, or if the overloaded server completes fewer than 80 % of the calls that it completes at best.
"""

import argparse
import asyncio
import socket
import statistics
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import grpc
import yaml

from support.client import object_service_pb2, object_service_pb2_grpc
from support.server import serve

HEAD = (b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\nETag: \"900150983cd24fb0d6963f7d28e17f72\"\r\n"
        b"Last-Modified: Tue, 01 Dec 2026 00:00:00 GMT\r\n\r\n")
# How long the S3 server takes for a request.
LATENCY = 0.02

LIMIT = 50
LONGEST_P99 = 0.010
MOST_SLOWER = 2
LEAST_GOODPUT = 0.8

# The calls in flight of the overloaded server, and so the calls per second that it can take.
IN_FLIGHT = 2
CAPACITY = IN_FLIGHT / LATENCY


class S3(asyncio.Protocol):
    """Answers every HEAD after a while."""

    def connection_made(self, transport):
        self.transport = transport
        self.received = b""

    def data_received(self, data):
        self.received += data
        *requests, self.received = self.received.split(b"\r\n\r\n")
        for _ in requests:
            asyncio.get_running_loop().call_later(LATENCY, self.answer)

    def answer(self):
        if not self.transport.is_closing():
            self.transport.write(HEAD)


def run_s3(port):
    async def forever():
        server = await asyncio.get_running_loop().create_server(S3, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


async def load(address, tenant, rate, seconds, deadline):
    """Makes `rate` calls per second, whether or not they are answered. Returns the codes, and the latencies of those that
    succeeded."""
    codes, latencies = [], []
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        head = object_service_pb2_grpc.ObjectServiceStub(channel).Head
        request = object_service_pb2.HeadRequest(key="k")
        metadata = [("x-longshore-tenant", tenant)]

        async def call():
            began = time.perf_counter()
            try:
                await head(request, metadata=metadata, timeout=deadline)
                latencies.append(time.perf_counter() - began)
                codes.append("OK")
            except grpc.aio.AioRpcError as error:
                codes.append(error.code().name)

        calls, begin = [], time.perf_counter()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0, begin + number / rate - time.perf_counter()))
            calls.append(asyncio.ensure_future(call()))
        await asyncio.gather(*calls)
    return codes, latencies


def run_load(result, *arguments):
    result.send(asyncio.run(load(*arguments)))


def start_load(*arguments):
    """Like `load`, in a process of its own."""
    context = get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=run_load, args=(send, *arguments))
    process.start()

    def wait():
        outcome = receive.recv()
        process.join()
        return outcome

    return wait


def percentile(latencies, part):
    return statistics.quantiles(latencies, n=1000)[round(part * 1000) - 1]


def store(port):
    return {"stores": {"default": {
        "bucket": "abc", "config": {"endpoint": f"http://127.0.0.1:{port}", "region": "us-east-1"},
        "client_options": {"allow_http": True}, "credential_provider": {"type": "anonymous"},
    }}}


def start_server(binary, folder, tenants, **settings):
    folder.mkdir()
    file = folder / "tenants.yaml"
    file.write_text(yaml.safe_dump({"tenants": tenants}))
    return serve(binary, folder, file, LOG="error", **settings)


def neighbours(binary, folder, port, seconds):
    hanging = socket.create_server(("127.0.0.1", 0), backlog=1000)
    tenants = {
        "quiet": store(port),
        "noisy": {**store(port), "limits": {"requests_per_second": LIMIT, "max_in_flight": 8, "max_wait": "500ms"}},
        "hanging": {**store(hanging.getsockname()[1]), "limits": {"max_in_flight": 50}},
    }
    server = start_server(binary, folder, tenants)
    try:
        def quiet():
            return start_load(server.address, "quiet", 50, seconds, 30)()

        quiet()  # warms up the connections
        _, alone = quiet()
        noise = [start_load(server.address, "noisy", 5 * LIMIT, seconds + 2, 30) for _ in range(2)]
        noise.append(start_load(server.address, "hanging", 50, seconds + 2, 5))
        time.sleep(1)
        codes, beside = quiet()
        noisy = [code for wait in noise[:2] for code in wait()[0]]
        noise[2]()
    finally:
        server.stop()
        hanging.close()
    p99 = [percentile(latencies, 0.99) for latencies in (alone, beside)]
    added = [latency - LATENCY for latency in p99]
    print(f"quiet tenant: p99 {p99[0] * 1000:.1f} ms alone, {p99[1] * 1000:.1f} ms beside the others "
          f"(S3 itself: {LATENCY * 1000:.0f} ms)")
    print(f"noisy tenant: {noisy.count('OK')} calls of {len(noisy)} succeeded, "
          f"{noisy.count('RESOURCE_EXHAUSTED')} were refused")
    failures = []
    if set(codes) != {"OK"}:
        failures.append(f"calls of the quiet tenant failed: {sorted(set(codes))}")
    if noisy.count("RESOURCE_EXHAUSTED") == 0 or noisy.count("OK") > (seconds + 4) * LIMIT:
        failures.append("the noisy tenant was not limited")
    if p99[1] > MOST_SLOWER * p99[0] and added[1] > LONGEST_P99:
        failures.append(f"the quiet tenant's p99 rose from {p99[0] * 1000:.1f} to {p99[1] * 1000:.1f} ms")
    return failures


def overload(binary, folder, port, seconds):
    server = start_server(binary, folder, {"only": store(port)}, MAX_IN_FLIGHT=str(IN_FLIGHT))
    try:
        def goodput(times):
            """Calls per second that succeed within a second, at so many times the capacity."""
            began = time.perf_counter()
            waits = [start_load(server.address, "only", CAPACITY * times / 2, seconds, 1) for _ in range(2)]
            codes = [code for wait in waits for code in wait()[0]]
            return codes.count("OK") / (time.perf_counter() - began), codes

        goodput(0.5)
        best = max(goodput(times)[0] for times in (0.8, 1.0, 1.5))
        overloaded, codes = goodput(10)
    finally:
        server.stop()
    share = overloaded / best
    print(f"overload: {best:.0f} calls per second at best, {overloaded:.0f} at ten times the load ({share:.0%}); "
          f"{codes.count('RESOURCE_EXHAUSTED')} of {len(codes)} calls were refused")
    return [] if share >= LEAST_GOODPUT else [f"the overloaded server completes {share:.0%} of its best"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    seconds = 5 if arguments.quick else 20
    context = get_context("fork")
    receive, send = context.Pipe(duplex=False)
    s3 = context.Process(target=run_s3, args=(send,), daemon=True)
    s3.start()
    port = receive.recv()
    with tempfile.TemporaryDirectory() as folder:
        failures = neighbours(arguments.binary, Path(folder, "neighbours"), port, seconds)
        failures += overload(arguments.binary, Path(folder, "overload"), port, seconds)
    s3.terminate()
    for failure in failures:
        print(f"failed: {failure}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
