"""Uploads resume on another replica when one is killed."""

import base64
import hashlib
import os
import threading

import grpc
import pytest
from longshore.v1 import upload_service_pb2 as pb

from support.client import MIB
from support.wait import eventually

PART = 5 * MIB
KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def replica(moto_bucket, serve):
    """Starts another replica on the same bucket."""
    def start(**settings):
        settings = {"UPLOAD_KEY": KEY, "REPLICAS": "3", **settings}
        return serve({"acme": {"stores": {"default": moto_bucket.store()}}}, **settings)
    return start


def messages(upload_id, offset, data, then=()):
    yield pb.WriteUploadRequest(spec={"upload_id": upload_id, "offset": offset})
    for at in range(0, len(data), MIB):
        piece = data[at:at + MIB]
        yield pb.WriteUploadRequest(chunk={"data": piece})
    yield from then


def write_until_killed(running, bucket, upload_id, offset, data, parts):
    """Writes, and kills the replica during the call, once S3 has `parts` parts in all."""
    never = threading.Event()

    def silence():
        never.wait(60)
        yield pb.WriteUploadRequest(end={})

    uploads = running.client("acme").uploads
    call = uploads.WriteUpload.func.future(
        messages(upload_id, offset, data, silence()), metadata=[("x-longshore-tenant", "acme")], timeout=60)
    try:
        eventually("S3 has the parts", lambda: len(bucket.parts(bucket.uploads()[0])) >= parts, within=30)
        running.kill()
        assert call.exception().code() is grpc.StatusCode.UNAVAILABLE
    finally:
        never.set()


def test_upload_survives_the_loss_of_two_replicas(moto_bucket, replica):
    data = os.urandom(33 * MIB)
    one, two, three = replica(), replica(), replica()
    upload_id = one.client("acme").uploads.StartUpload(
        pb.StartUploadRequest(key="large", part_size=PART, attributes={"content_type": "text/plain"})).upload_id
    write_until_killed(one, moto_bucket, upload_id, 0, data[:14 * MIB], 2)

    asked = two.client("acme").uploads.QueryUpload(pb.QueryUploadRequest(upload_id=upload_id))
    assert asked.persisted_size == 2 * PART
    write_until_killed(two, moto_bucket, upload_id, 2 * PART, data[2 * PART:28 * MIB], 5)

    uploads = three.client("acme").uploads
    offset = uploads.QueryUpload(pb.QueryUploadRequest(upload_id=upload_id)).persisted_size
    assert offset == 5 * PART
    end = [pb.WriteUploadRequest(end={})]
    written = uploads.WriteUpload(messages(upload_id, offset, data[offset:], end))
    assert written.persisted_size == len(data)
    finish = pb.FinishUploadRequest(upload_id=upload_id, size=len(data))
    meta = uploads.FinishUpload(finish).meta
    assert uploads.FinishUpload(finish).meta.etag == meta.etag

    found = moto_bucket.client.get_object(Bucket=moto_bucket.bucket, Key="large")
    assert hashlib.sha256(found["Body"].read()).digest() == hashlib.sha256(data).digest()
    assert (found["ETag"], found["ContentType"]) == (meta.etag, "text/plain")
    assert moto_bucket.uploads() == []
    assert moto_bucket.keys() == ["large"]


def test_upload_id_of_another_key_or_tenant_is_rejected(moto_bucket, replica, serve):
    upload_id = replica().client("acme").uploads.StartUpload(pb.StartUploadRequest(key="k")).upload_id
    other = base64.b64encode(bytes(32)).decode()
    for running, tenant in [
        (replica(UPLOAD_KEY=other), "acme"),
        (serve({"zeta": {"stores": {"default": moto_bucket.store()}}}, UPLOAD_KEY=KEY), "zeta"),
    ]:
        with pytest.raises(grpc.RpcError) as failed:
            running.client(tenant).uploads.CancelUpload(pb.CancelUploadRequest(upload_id=upload_id))
        assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "upload_id" in failed.value.details()
    assert len(moto_bucket.uploads()) == 1
    # With the new key first and the old key after it, existing uploads stay valid.
    rotated = replica(UPLOAD_KEY=f"{other},{KEY}")
    rotated.client("acme").uploads.CancelUpload(pb.CancelUploadRequest(upload_id=upload_id))
    assert moto_bucket.uploads() == []


def test_replicas_without_a_shared_key_reject_uploads(moto_bucket, serve):
    running = serve({"acme": {"stores": {"default": moto_bucket.store()}}}, REPLICAS="2")
    with pytest.raises(grpc.RpcError) as failed:
        running.client("acme").uploads.StartUpload(pb.StartUploadRequest(key="k"))
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "LONGSHORE_UPLOAD_KEY" in failed.value.details()
    assert moto_bucket.uploads() == []
