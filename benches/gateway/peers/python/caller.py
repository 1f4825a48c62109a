"""A caller with grpcio's default settings. It accepts the arguments of the `caller` role and sends sequential Gets."""

import argparse
import json
import time

import grpc
from longshore.v1 import object_service_pb2, object_service_pb2_grpc

TOKEN = "a-token-of-the-gateway-bench"

arguments = argparse.ArgumentParser()
arguments.add_argument("role")
arguments.add_argument("--target", type=json.loads)
arguments.add_argument("--job", type=json.loads)
arguments = arguments.parse_args()
job, target = arguments.job, arguments.target
assert job["work"] == "Get" and not target["authority"], "this caller supports only Gets without TLS"

objects = object_service_pb2_grpc.ObjectServiceStub(grpc.insecure_channel(target["address"]))
request = object_service_pb2.GetRequest(store=job["store"], key=f"data/{job['size']}")
times, start = [], time.monotonic()
for _ in range(job["requests"]):
    began, seen = time.monotonic(), 0
    for message in objects.Get(request, metadata=[("authorization", f"Bearer {TOKEN}")]):
        seen += len(message.chunk.data)
    assert seen == job["size"], f"received {seen} of {job['size']} bytes"
    times.append((time.monotonic() - began) * 1e6)
times.sort()
done = {"seconds": time.monotonic() - start, "p50_us": times[len(times) // 2], "p99_us": times[len(times) * 99 // 100]}
print(json.dumps(done))
