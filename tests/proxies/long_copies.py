"""BINARY SECONDS: a copy for which S3 takes this long, behind proxies with the time limits that they come with."""

import shutil
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc

from gateway import TOKEN, Gateway
from servers import Proxy
from support import stubs

stubs.generate()

from longshore.v1 import object_service_pb2 as messages, object_service_pb2_grpc  # noqa: E402

METADATA = [("authorization", f"Bearer {TOKEN}")]
SIZE = 1 << 32
COPY = {"source": {"key": "large"}, "destination": {"key": "copy"}}


def start(seconds):
    """Starts an S3 server that takes this long to copy an object, and returns its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def _answer(self, length, body=b""):
            self.send_response(200)
            self.send_header("ETag", '"made-up"')
            self.send_header("Last-Modified", "Tue, 24 Nov 2026 10:00:00 GMT")
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self):
            self._answer(SIZE)

        def do_PUT(self):
            assert "x-amz-copy-source" in self.headers
            time.sleep(seconds)
            body = b'<CopyObjectResult><ETag>"made-up"</ETag></CopyObjectResult>'
            self._answer(len(body), body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def stub(address):
    channel = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
    return object_service_pb2_grpc.ObjectServiceStub(channel)


def copy(address):
    try:
        stub(address).Copy(messages.CopyRequest(**COPY), metadata=METADATA)
        return "OK"
    except grpc.RpcError as error:
        return error.code().name


def copy_with_progress(address):
    """The status, and the number of messages."""
    count, result = 0, None
    try:
        for message in stub(address).CopyWithProgress(messages.CopyWithProgressRequest(**COPY), metadata=METADATA):
            count += 1
            result = message.result if message.HasField("result") else None
    except grpc.RpcError as error:
        return error.code().name, count
    return ("OK" if result is not None and result.meta.size == SIZE else "no result"), count


def main(binary, seconds):
    folder, seconds = Path(tempfile.mkdtemp(prefix="longshore-long-copies-")), float(seconds)
    store = {"url": "s3://bucket", "config": {
        "endpoint": start(seconds), "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "a-secret"}}
    started, outcomes = [], {}
    try:
        gateway = Gateway(binary, folder, {"default": store})
        started.append(gateway)
        addresses = {"directly": gateway.address}
        for name in ("nginx", "haproxy"):
            started.append(Proxy(name, gateway.address, folder, with_own_limits=True))
            addresses[name] = started[-1].address
        calls = {(name, call.__name__): (call, address) for name, address in addresses.items()
                 for call in (copy, copy_with_progress)}

        def run(key):
            call, address = calls[key]
            outcomes[key] = call(address)

        threads = [threading.Thread(target=run, args=[key]) for key in calls]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    finally:
        for each in reversed(started):
            each.end()
        shutil.rmtree(folder, ignore_errors=True)
    good = True
    for (name, call), outcome in outcomes.items():
        status, count = outcome if isinstance(outcome, tuple) else (outcome, None)
        expected = status == "OK" and count > seconds / 5 if count is not None else (status == "OK") == (name == "directly")
        good = good and expected
        print(f"  {name:10}{call:20}{status:20}{'' if count is None else f'{count} messages':14}{'ok' if expected else 'FAILED'}")
    print(f"  verdict   {'passed' if good else 'FAILED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
