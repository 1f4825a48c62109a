"""However a caller disconnects during an upload, nothing is left behind in S3."""

import subprocess
import sys
import threading
import time

import grpc
import pytest
from longshore.v1 import object_service_pb2

from support import process, stubs
from support.client import MIB, upload_messages
from support.paths import HERE
from support.wait import eventually

# The acceptance criterion: this many seconds after the caller is gone, no multipart upload is left.
BOUND = 1.0


@pytest.fixture
def bucket(moto_bucket):
    return moto_bucket


@pytest.fixture
def server(bucket, serve_store):
    return serve_store({"default": bucket.store()})[0]


def parts_under_way(bucket, least):
    """Waits until a multipart upload has at least `least` parts in S3."""
    def look():
        return [upload for upload in bucket.uploads() if len(bucket.parts(upload)) >= least]
    return eventually(f"an upload has {least} parts in S3", look, within=20)


def assert_nothing_is_left(bucket, since):
    """Asserts that no multipart upload is left after the bound, and that no late request creates another one."""
    while bucket.uploads():
        assert time.monotonic() - since < BOUND, f"a multipart upload is left after {BOUND} s"
        time.sleep(0.02)
    end = time.monotonic() + BOUND
    while time.monotonic() < end:
        assert bucket.uploads() == []
        time.sleep(0.1)
    assert bucket.keys() == []


class SilentUpload:
    """A caller that sends `count` MiB, and then nothing until `go_on` is set."""

    def __init__(self, server, count, timeout=60):
        self.go_on = threading.Event()
        chunks = self._chunks(count)
        self.call = server.client("acme").objects.Upload.func.future(
            upload_messages("cut", chunks), metadata=[("x-longshore-tenant", "acme")], timeout=timeout)

    def _chunks(self, count):
        for _ in range(count):
            yield bytes(MIB)
        self.go_on.wait(60)


@pytest.mark.parametrize("mib, parts", [(20, 2), (0, 1)], ids=["silent", "sending"])
def test_killed_caller(bucket, server, mib, parts):
    environment = process.bare_environment(**{stubs.VARIABLE: stubs.generate(), "GRPC_VERBOSITY": "NONE"})
    caller = process.start(
        [sys.executable, "-m", "support.uploader", server.address, "acme", "cut", mib], stdin=subprocess.PIPE,
        env=environment, cwd=HERE)
    try:
        parts_under_way(bucket, parts)
    finally:
        caller.kill()
        gone = time.monotonic()
        caller.wait()
        caller.stdin.close()
    assert_nothing_is_left(bucket, gone)


def test_cancelled_call(bucket, server):
    upload = SilentUpload(server, 20)
    try:
        parts_under_way(bucket, 2)
        assert upload.call.cancel()
        gone = time.monotonic()
        assert upload.call.code() is grpc.StatusCode.CANCELLED
        assert_nothing_is_left(bucket, gone)
    finally:
        upload.go_on.set()


def test_call_whose_deadline_passes(bucket, server):
    upload = SilentUpload(server, 20, timeout=3)
    try:
        parts_under_way(bucket, 2)
        assert upload.call.exception().code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert_nothing_is_left(bucket, time.monotonic())
    finally:
        upload.go_on.set()


def test_call_that_fails_midway(bucket, server):
    """The caller violates the protocol after parts have been sent to S3."""
    def messages():
        yield from upload_messages("cut", [bytes(MIB)] * 20, size=100 * MIB)
        parts_under_way(bucket, 2)
        yield from upload_messages("cut", [])

    with pytest.raises(grpc.RpcError) as failed:
        server.client("acme").objects.Upload(messages())
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert_nothing_is_left(bucket, time.monotonic())


def test_other_uploads_continue(bucket, server):
    """When one upload is cancelled, another upload on the same connection continues."""
    client = server.client("acme")
    go_on = threading.Event()

    def chunks(event):
        for _ in range(20):
            yield bytes(MIB)
        event.wait(60)

    never = threading.Event()
    start = client.objects.Upload.func.future
    metadata = [("x-longshore-tenant", "acme")]
    cut = start(upload_messages("cut", chunks(never)), metadata=metadata, timeout=60)
    kept = start(upload_messages("kept", chunks(go_on)), metadata=metadata, timeout=60)
    try:
        eventually("both have parts in S3", lambda: len(
            [each for each in bucket.uploads() if bucket.parts(each)]) == 2, within=20)
        cut.cancel()
        eventually("one upload is left", lambda: [each["Key"] for each in bucket.uploads()] == ["kept"], within=BOUND)
        go_on.set()
        assert kept.result().meta.size == 20 * MIB
    finally:
        go_on.set()
        never.set()
    assert bucket.keys() == ["kept"]
    got = sum(len(message.chunk.data) for message in client.objects.Get(object_service_pb2.GetRequest(key="kept")))
    assert got == 20 * MIB
