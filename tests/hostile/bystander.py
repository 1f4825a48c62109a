"""ADDRESS TOKEN: sends one Head after another until standard input ends, then prints latencies and failures as JSON."""

import json
import sys
import threading
import time

import grpc

from support import stubs

stubs.generate()

from longshore.v1 import object_service_pb2, object_service_pb2_grpc  # noqa: E402

ended = threading.Event()


def follow_stdin():
    sys.stdin.read()
    ended.set()


def main(address, token):
    threading.Thread(target=follow_stdin, daemon=True).start()
    channel = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
    head = object_service_pb2_grpc.ObjectServiceStub(channel).Head
    request, metadata = object_service_pb2.HeadRequest(key="small"), [("authorization", f"Bearer {token}")]
    times, failed = [], 0
    while not ended.is_set():
        began = time.monotonic()
        try:
            head(request, metadata=metadata, timeout=5)
        except grpc.RpcError:
            failed += 1
        times.append((time.monotonic() - began) * 1e3)
        time.sleep(0.005)
    print(json.dumps({"times": sorted(times), "failed": failed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
