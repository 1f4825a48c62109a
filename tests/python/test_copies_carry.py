"""Every kind of copy keeps everything that its source has. boto3 checks the copy."""

import pytest

ATTRIBUTES = {
    "ContentType": "text/plain; charset=utf-8",
    "CacheControl": "no-cache, private",
    "ContentDisposition": 'attachment; filename="a b.txt"',
    "ContentEncoding": "gzip",
    "ContentLanguage": "de",
    "Metadata": {"plain": "1", "word": "=?UTF-8?B?w6k=?=", "spaces": "two  spaces"},
}
EXPIRES = "Thu, 02 Jan 2031 03:04:05 GMT"
TAGS = {"a": "1 + 2", "+ @": "/="}
WRITE_ID = "longshore-write-id"
# Fields that each write sets itself.
OWN = {"ETag", "LastModified", "VersionId", "ResponseMetadata", "AcceptRanges", "Expires", "ChecksumType",
       "ServerSideEncryption", "ContentLength"}


def described(bucket, key):
    """Returns what boto3 sees of an object, without the fields that each write sets itself."""
    found = bucket.client.head_object(Bucket=bucket.bucket, Key=key)
    metadata = {name: value for name, value in found["Metadata"].items() if name != WRITE_ID}
    tags = bucket.client.get_object_tagging(Bucket=bucket.bucket, Key=key)["TagSet"]
    rest = {name: value for name, value in found.items() if name not in OWN and not name.startswith("Checksum")}
    body = bucket.client.get_object(Bucket=bucket.bucket, Key=key)["Body"].read()
    return {**rest, "Metadata": metadata, "Tags": {tag["Key"]: tag["Value"] for tag in tags}, "Body": body}


@pytest.fixture
def source(bucket):
    more = {"StorageClass": "STANDARD_IA", "WebsiteRedirectLocation": "/there"} if bucket.kind == "moto" else {}
    tagging = "a=1%20%2B%202&%2B%20%40=%2F%3D"
    bucket.client.put_object(
        Bucket=bucket.bucket, Key="source", Body=b"content", Expires=EXPIRES, Tagging=tagging, **ATTRIBUTES, **more)
    found = described(bucket, "source")
    assert found["ExpiresString"] == EXPIRES and found["Tags"] == TAGS
    return found


WAYS = ["overwrite", "create", "update", "rename", "rename and create", "relayed", "relayed and create"]


@pytest.mark.parametrize("way", WAYS)
def test_copy_keeps_everything_of_its_source(bucket, serve_store, source, way):
    elsewhere = bucket.store()
    # Another name for the same server, so that copies between the two stores pass through Longshore.
    elsewhere["config"]["endpoint"] = bucket.endpoint.replace("127.0.0.1", "localhost")
    running, client = serve_store({"default": bucket.store(), "elsewhere": elsewhere})
    mode = {"create": {}} if "create" in way else None
    if way == "update":
        mode = {"update": {"etag": client.put("to", b"old").etag}}
    if way.startswith("rename"):
        client.rename("source", "to", mode=mode)
        assert bucket.keys() == ["to"]
    else:
        to = {"destination_store": "elsewhere"} if way.startswith("relayed") else {}
        copied = client.copy("source", "to", mode=mode, **to)
        assert copied.size == len(b"content")
    expected, found = dict(source), described(bucket, "to")
    if way.startswith("relayed"):
        # Another server may not support the storage class.
        expected.pop("StorageClass", None)
        assert found.pop("StorageClass", "STANDARD") == "STANDARD"
    assert found == expected
    seen = client.head("to").attributes
    assert (seen.expires, seen.content_disposition) == (EXPIRES, ATTRIBUTES["ContentDisposition"])


def test_copy_reports_a_dropped_storage_class(moto_bucket, serve_store):
    moto_bucket.client.put_object(Bucket=moto_bucket.bucket, Key="source", Body=b"x", StorageClass="STANDARD_IA")
    elsewhere = moto_bucket.store()
    elsewhere["config"]["endpoint"] = moto_bucket.endpoint.replace("127.0.0.1", "localhost")
    _, client = serve_store({"default": moto_bucket.store(), "elsewhere": elsewhere})
    assert client.copied("source", "kept").dropped_storage_class == ""
    assert client.copied("source", "dropped", destination_store="elsewhere").dropped_storage_class == "STANDARD_IA"
    found = moto_bucket.client.head_object(Bucket=moto_bucket.bucket, Key="dropped")
    assert found.get("StorageClass", "STANDARD") == "STANDARD"
