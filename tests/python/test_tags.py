"""GetTags, PutTags and DeleteTags against moto and versitygw, with boto3 as the judge of what is in S3."""

import grpc
import pytest
from longshore.v1 import object_service_pb2 as objects

from test_errors import failure, reason

TAGS = {"colour": "sea green", "a+b=c": "1:2/3@_", "empty": "", "ä": "漢"}


@pytest.fixture
def client(bucket, serve_store):
    return serve_store({"default": bucket.store(), "closed": bucket.store(disable_tagging=True)})[1]


def put_tags(client, key, tags, **fields):
    return client.objects.PutTags(objects.PutTagsRequest(key=key, tags=tags, **fields))


def delete_tags(client, key, **fields):
    return client.objects.DeleteTags(objects.DeleteTagsRequest(key=key, **fields))


def told(bucket, key, **fields):
    found = bucket.client.get_object_tagging(Bucket=bucket.bucket, Key=key, **fields)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in found}


def test_tags_are_those_that_boto3_sees(bucket, client):
    client.put("k", b"x")
    assert client.tags("k") == told(bucket, "k") == {}
    # moto answers PutObjectTagging without tags with 500.
    none = [] if bucket.kind == "moto" else [{}]
    for tags in [TAGS, {"only": "this"}, *none, {f"{n:0128}": "v" * 256 for n in range(10)}]:
        put_tags(client, "k", tags)
        assert client.tags("k") == told(bucket, "k") == tags
    delete_tags(client, "k")
    assert client.tags("k") == told(bucket, "k") == {}
    tagging = {"TagSet": [{"Key": key, "Value": value} for key, value in TAGS.items()]}
    bucket.client.put_object_tagging(Bucket=bucket.bucket, Key="k", Tagging=tagging)
    assert client.tags("k") == TAGS


def test_tags_of_a_version(moto_bucket, serve_store):
    name = {"Bucket": moto_bucket.bucket}
    moto_bucket.client.put_bucket_versioning(**name, VersioningConfiguration={"Status": "Enabled"})
    client = serve_store({"default": moto_bucket.store()})[1]
    old, new = (client.put("k", data).version for data in (b"old", b"new"))
    put_tags(client, "k", {"age": "old"}, version=old)
    put_tags(client, "k", {"age": "new"})
    assert told(moto_bucket, "k", VersionId=old) == client.tags("k", version=old) == {"age": "old"}
    assert told(moto_bucket, "k", VersionId=new) == client.tags("k") == {"age": "new"}
    delete_tags(client, "k", version=old)
    assert client.tags("k", version=old) == {}
    assert client.tags("k", version=new) == {"age": "new"}
    client.delete("k")
    assert reason(failure(client.tags, "k")).reason == "OBJECT_NOT_FOUND"
    assert client.tags("k", version=new) == {"age": "new"}


def test_the_version_that_has_the_tags_is_returned(moto_bucket, serve_store):
    name = {"Bucket": moto_bucket.bucket}
    moto_bucket.client.put_bucket_versioning(**name, VersioningConfiguration={"Status": "Enabled"})
    client = serve_store({"default": moto_bucket.store()})[1]
    old = client.put("k", b"old").version
    client.put("k", b"new")
    answer = client.objects.GetTags(objects.GetTagsRequest(key="k", version=old))
    said = moto_bucket.client.get_object_tagging(**name, Key="k", VersionId=old)
    assert answer.version == said["VersionId"] == old


@pytest.mark.parametrize("tags", [
    {f"{n}": "v" for n in range(11)}, {"": "v"}, {"k" * 129: "v"}, {"😀": "v"}, {"k": "v" * 257}, {"a?": "v"},
    {"k": "a,b"}, {"aws:k": "v"}, {"a\tb": "v"},
], ids=["eleven", "empty", "long key", "emoji", "long value", "key", "value", "aws", "tab"])
def test_what_s3_does_not_allow_is_rejected_by_field(bucket, client, tags):
    client.put("k", b"x")
    put_tags(client, "k", {"kept": "tag"})
    failed = failure(put_tags, client, "k", tags)
    assert failed.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (reason(failed).reason, reason(failed).metadata["field"]) == ("INVALID_FIELD", "tags")
    assert told(bucket, "k") == {"kept": "tag"}


def test_a_missing_object_and_a_store_with_tagging_disabled(bucket, client):
    client.put("k", b"x")
    calls = {"get": client.tags, "put": lambda key, **fields: put_tags(client, key, {"a": "b"}, **fields),
             "delete": lambda key, **fields: delete_tags(client, key, **fields)}
    for name, call in calls.items():
        # moto answers DeleteObjectTagging of a missing key with 500.
        if (bucket.kind, name) != ("moto", "delete"):
            missing = failure(call, "missing")
            assert (missing.code(), reason(missing).reason) == (grpc.StatusCode.NOT_FOUND, "OBJECT_NOT_FOUND")
        closed = failure(call, "k", store="closed")
        assert (closed.code(), reason(closed).reason) == (grpc.StatusCode.UNIMPLEMENTED, "OPERATION_NOT_SUPPORTED")
