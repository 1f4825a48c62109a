"""A caller stops reading during a Get: Longshore buffers little, stops reading from S3, and keeps the call open."""

import hashlib
from dataclasses import replace

import pytest
from boto3.s3.transfer import TransferConfig
from longshore.v1 import object_service_pb2

from support.client import MIB
from support.counting_proxy import CountingProxy
from support.wait import eventually, settled

SIZE = 192 * MIB
# An upper bound on all HTTP/2 windows and socket buffers between the caller and S3, on both sides of Longshore.
BETWEEN = 48 * MIB


class Data:
    """A source of SIZE bytes that are not held in memory."""

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


def test_caller_that_stops_reading(server, proxy):
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

    read = settled("the number of bytes from S3", lambda: proxy.received, still=1.5, within=30)
    assert read >= got
    assert read < got + BETWEEN, "Longshore must stop reading from S3 when the caller stops reading"
    assert server.memory("VmHWM") < before + BETWEEN

    # A slow caller still receives the whole object.
    for answer in answers:
        whole.update(answer.chunk.data)
        got += len(answer.chunk.data)
    assert got == SIZE
    assert whole.hexdigest() == digest()
    assert server.memory("VmHWM") < before + BETWEEN


def test_cancelling_a_get_ends_the_read_from_s3(server, proxy):
    client = server.client("acme")
    answers = client.objects.Get(object_service_pb2.GetRequest(key="large"))
    next(answers)
    answers.cancel()
    read = settled("the number of bytes from S3", lambda: proxy.received, still=1.5, within=30)
    assert read < BETWEEN


def test_many_callers_that_stop_reading(server, proxy):
    client = server.client("acme")
    client.head("large")
    before = server.memory("VmRSS")
    calls = [client.objects.Get(object_service_pb2.GetRequest(key="large")) for _ in range(8)]
    try:
        for answers in calls:
            assert next(answers).HasField("info")
        settled("the number of bytes from S3", lambda: proxy.received, still=1.5, within=30)
        assert server.memory("VmHWM") < before + 2 * BETWEEN
    finally:
        for answers in calls:
            answers.cancel()
    eventually("the server responds to other calls", lambda: client.head("large").meta.size == SIZE, within=5)
