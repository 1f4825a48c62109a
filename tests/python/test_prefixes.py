"""DeletePrefix, CopyPrefix and the calls with progress, with boto3 as the judge of what is in S3."""

import pytest
from longshore.v1 import object_service_pb2 as objects
from longshore.v1 import upload_service_pb2 as uploads

from support.client import MIB
from test_errors import failure, reason


@pytest.fixture
def client(bucket, serve_store):
    return serve_store({"default": bucket.store("in/"), "archive": bucket.store("archive/")})[1]


def fill(bucket, keys):
    for key in keys:
        bucket.client.put_object(Bucket=bucket.bucket, Key=key, Body=key.encode(), ContentType="text/x",
                                 Metadata={"from": "boto3"}, Tagging="team=harbour")


def test_a_prefix_is_deleted_and_nothing_else(bucket, client):
    fill(bucket, [*(f"in/logs/{number:04}" for number in range(1_100)), "in/logs-old", "in/other", "logs/outside"])
    found = list(client.objects.DeletePrefix(objects.DeletePrefixRequest(prefix="logs/")))
    assert (found[-1].deleted, found[-1].failed, found[-1].last_key) == (1_100, 0, "logs/1099")
    assert [message.deleted for message in found] == sorted(message.deleted for message in found)
    assert sorted(bucket.keys()) == ["in/logs-old", "in/other", "logs/outside"]


def test_a_prefix_is_copied_with_attributes_and_tags(bucket, client):
    keys = [f"in/a/{number:03}" for number in range(120)]
    fill(bucket, [*keys, "in/b"])
    found = list(client.objects.CopyPrefix(objects.CopyPrefixRequest(
        source={"prefix": "a/"}, destination={"store": "archive", "prefix": "2026/"})))
    assert (found[-1].copied, found[-1].failed, found[-1].last_key) == (120, 0, "a/119")
    copies = bucket.keys(Prefix="archive/")
    assert copies == [key.replace("in/a/", "archive/2026/") for key in keys]
    said = bucket.head(copies[7])
    assert (said["ContentType"], said["Metadata"]) == ("text/x", {"from": "boto3"})
    assert bucket.get(copies[7]) == b"in/a/007"
    tags = bucket.client.get_object_tagging(Bucket=bucket.bucket, Key=copies[7])["TagSet"]
    assert tags == [{"Key": "team", "Value": "harbour"}]


def test_a_prefix_of_the_same_place_in_another_store_overlaps(moto_bucket, serve_store):
    client = serve_store({"default": moto_bucket.store("in/"), "same": moto_bucket.store("in/a/")})[1]
    overlapping = objects.CopyPrefixRequest(source={"prefix": "a/"}, destination={"store": "same", "prefix": "x/"})
    refused = failure(lambda: list(client.objects.CopyPrefix(overlapping)))
    assert reason(refused).metadata["field"] == "destination.prefix"


def test_an_upload_is_finished_with_progress(bucket, client):
    data = bytes(6 * MIB)
    upload = client.uploads.StartUpload(uploads.StartUploadRequest(key="k", size=len(data)))
    spec = uploads.WriteUploadRequest(spec={"upload_id": upload.upload_id})
    chunks = [uploads.WriteUploadRequest(chunk={"data": bytes(MIB)}) for _ in range(6)]
    client.uploads.WriteUpload(iter([spec, *chunks, uploads.WriteUploadRequest(end={})]))
    messages = list(client.uploads.FinishUploadWithProgress(
        uploads.FinishUploadWithProgressRequest(upload_id=upload.upload_id)))
    assert messages[-1].result.meta.size == len(data)
    assert all(message.HasField("progress") for message in messages[:-1])
    assert bucket.get("in/k") == data


def test_a_copy_with_progress_reports_the_relayed_bytes(moto_bucket, versitygw_bucket, serve_store):
    client = serve_store({"default": moto_bucket.store(), "there": versitygw_bucket.store()})[1]
    data = bytes(9 * MIB)
    moto_bucket.client.put_object(Bucket=moto_bucket.bucket, Key="k", Body=data)
    messages = list(client.objects.CopyWithProgress(objects.CopyWithProgressRequest(
        source={"key": "k"}, destination={"store": "there", "key": "copy"})))
    assert messages[-1].result.meta.size == len(data)
    assert versitygw_bucket.get("copy") == data
    missing = objects.CopyWithProgressRequest(source={"key": "none"}, destination={"key": "copy"})
    assert reason(failure(lambda: list(client.objects.CopyWithProgress(missing)))).reason == "OBJECT_NOT_FOUND"
