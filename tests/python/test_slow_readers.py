"""A caller that stops reading in mid-Get: Longshore holds little and does not read on; nor is the caller cut."""

import hashlib
from dataclasses import replace

import pytest
from boto3.s3.transfer import TransferConfig
from longshore.v1 import object_service_pb2

from support.client import MIB
from support.counting_proxy import CountingProxy
from support.wait import eventually, settled

SIZE = 192 * MIB
# Windows of HTTP/2 and buffers of sockets, on both sides, are between the caller and S3; all of them are less than this.
BETWEEN = 48 * MIB


class Data:
    """Bytes that are not held in memory."""

    def __init__(self):
        self.block, self.left = hashlib.sha256(b"longshore").digest() * (MIB // 32), SIZE

    def read(self, size=-1):
        size = self.left if size < 0 else min(size, self.left)
        at = SIZE - self.left
        self.left -= size
        start = at % MIB
        return (self.block * (size // MIB + 2))[start:start + size]


def digest():
    data, whole = Data(), hashlib.sha256()
    while piece := data.read(MIB):
        whole.update(piece)
    return whole.hexdigest()


@pytest.fixture
def proxy(versitygw_bucket):
    proxy = CountingProxy(versitygw_bucket.endpoint)
    yield proxy
    proxy.close()


@pytest.fixture
def server(versitygw_bucket, proxy, serve_store):
    versitygw_bucket.client.upload_fileobj(
        Data(), versitygw_bucket.bucket, "large", Config=TransferConfig(multipart_chunksize=32 * MIB, use_threads=False))
    return serve_store({"default": replace(versitygw_bucket, endpoint=proxy.endpoint).store()})[0]


def test_a_caller_that_stops_reading(server, proxy):
    client = server.client("acme")
    client.head("large")
    before = server.memory("VmRSS")

    answers = client.objects.Get(object_service_pb2.GetRequest(key="large"))
    whole = hashlib.sha256()
    got = 0
    while got < 4 * MIB:
        data = next(answers).chunk.data
        whole.update(data)
        got += len(data)

    read = settled("what S3 has sent", lambda: proxy.received, still=1.5, within=30)
    assert read >= got
    assert read < got + BETWEEN, "S3 is read on though nobody takes the bytes"
    assert server.memory("VmHWM") < before + BETWEEN

    # It was slow, which is not forbidden.
    for answer in answers:
        whole.update(answer.chunk.data)
        got += len(answer.chunk.data)
    assert got == SIZE
    assert whole.hexdigest() == digest()
    assert server.memory("VmHWM") < before + BETWEEN


def test_a_caller_that_goes_away_ends_the_read(server, proxy):
    client = server.client("acme")
    answers = client.objects.Get(object_service_pb2.GetRequest(key="large"))
    next(answers)
    answers.cancel()
    read = settled("what S3 has sent", lambda: proxy.received, still=1.5, within=30)
    assert read < BETWEEN


def test_many_callers_that_stop_reading(server, proxy):
    client = server.client("acme")
    client.head("large")
    before = server.memory("VmRSS")
    calls = [client.objects.Get(object_service_pb2.GetRequest(key="large")) for _ in range(8)]
    try:
        for answers in calls:
            assert next(answers).HasField("info")
        settled("what S3 has sent", lambda: proxy.received, still=1.5, within=30)
        assert server.memory("VmHWM") < before + 2 * BETWEEN
    finally:
        for answers in calls:
            answers.cancel()
    eventually("the server answers others", lambda: client.head("large").meta.size == SIZE, within=5)
