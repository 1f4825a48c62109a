"""SIGTERM drains the server. After SIGKILL, no partial object is visible."""

import threading
import time

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from support.client import MIB, upload_messages
from support.server import NOT_SERVING, SERVING
from support.wait import eventually


@pytest.fixture
def bucket(moto_bucket):
    return moto_bucket


class PausedUpload:
    """An upload that pauses after 20 MiB, and sends 5 MiB more when `go_on` is set."""

    DATA = bytes(range(256)) * (MIB // 256)

    def __init__(self, server, bucket):
        self.go_on = threading.Event()
        client = server.client("acme")
        self.call = client.objects.Upload.func.future(
            upload_messages("drained", self._chunks(), {"size": 25 * MIB}), metadata=[("x-longshore-tenant", "acme")],
            timeout=60)
        eventually("the upload has parts in S3",
                   lambda: [each for each in bucket.uploads() if bucket.parts(each)], within=20)

    def _chunks(self):
        for number in range(25):
            if number == 20:
                self.go_on.wait(60)
            yield self.DATA


@pytest.fixture
def paused_upload():
    started = []

    def start(server, bucket):
        started.append(PausedUpload(server, bucket))
        return started[-1]

    yield start
    for upload in started:
        upload.go_on.set()


def health_watch(server):
    """Calls grpc.health.v1.Health/Watch. Returns the growing list of statuses that it sends, and the call."""
    channel = grpc.insecure_channel(server.address, options=[("grpc.enable_http_proxy", 0)])
    call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""), timeout=60)
    told = []

    def listen():
        try:
            for answer in call:
                told.append(answer.status)
        except grpc.RpcError:
            pass

    threading.Thread(target=listen, daemon=True).start()
    eventually("the watch has begun", lambda: told == [SERVING], within=5)
    return told, call


def exit_code(server, within):
    eventually("the server has exited", lambda: server.process.poll() is not None, within)
    return server.process.returncode


def test_sigterm_drains(bucket, serve_store, paused_upload):
    server, _ = serve_store({"default": bucket.store()}, SHUTDOWN_DELAY="500ms")
    upload = paused_upload(server, bucket)
    told, watch = health_watch(server)
    assert server.health(server.health_address) == SERVING

    server.terminate()
    eventually("the watch reports NOT_SERVING", lambda: told == [SERVING, NOT_SERVING], within=1)
    assert server.health(server.health_address) == NOT_SERVING
    assert server.ready_status() == 503
    watch.cancel()

    # New callers are eventually refused, while the upload is still in flight.
    def refused():
        stranger = server.client("acme")
        try:
            stranger.head("anything")
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.UNAVAILABLE
        return False

    eventually("new callers are refused", refused, within=5)
    assert server.process.poll() is None
    assert not upload.call.done()

    upload.go_on.set()
    assert upload.call.result(timeout=20).meta.size == 25 * MIB
    assert exit_code(server, within=10) == 0
    assert bucket.get("drained") == PausedUpload.DATA * 25
    assert bucket.uploads() == []


def test_calls_that_outlast_the_grace_are_ended(bucket, serve_store, paused_upload):
    server, _ = serve_store({"default": bucket.store()}, SHUTDOWN_GRACE="1s")
    upload = paused_upload(server, bucket)
    began = time.monotonic()
    server.terminate()
    error = upload.call.exception(timeout=10)
    assert time.monotonic() - began >= 1
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(error).details[0].Unpack(info)
    assert info.reason == "SHUTTING_DOWN"
    assert exit_code(server, within=10) == 0
    assert bucket.uploads() == []
    assert bucket.keys() == []


def test_open_watch_does_not_delay_the_exit(bucket, serve_store):
    server, _ = serve_store({"default": bucket.store()}, SHUTDOWN_GRACE="1s")
    told, _ = health_watch(server)
    server.terminate()
    assert exit_code(server, within=8) == 0
    assert told == [SERVING, NOT_SERVING]


def test_idle_server_exits_immediately(bucket, serve_store):
    server, client = serve_store({"default": bucket.store()})
    client.put("a", b"x")
    server.terminate()
    assert exit_code(server, within=5) == 0


def test_sigkill_during_an_upload(bucket, serve_store, paused_upload):
    server, _ = serve_store({"default": bucket.store()})
    upload = paused_upload(server, bucket)
    server.kill()
    assert upload.call.exception(timeout=10).code() is grpc.StatusCode.UNAVAILABLE
    assert bucket.keys() == []
    with pytest.raises(bucket.client.exceptions.ClientError) as missing:
        bucket.head("drained")
    assert missing.value.response["Error"]["Code"] == "404"

    # On another replica with the same bucket, the caller can start again.
    _, client = serve_store({"default": bucket.store()})
    assert client.upload("drained", [PausedUpload.DATA] * 9).parts == 2
    assert bucket.get("drained") == PausedUpload.DATA * 9
