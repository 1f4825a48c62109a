"""Longshore reads what boto3 writes: bytes, attributes, ETag, size, time, tags, checksums, versions."""

import base64
import hashlib
import io
import random
import zlib

import pytest
from boto3.s3.transfer import TransferConfig
from longshore.v1 import object_pb2

from support.client import MIB, md5_etag, multipart_etag

DATA = random.Random(2).randbytes(100_000)

ATTRIBUTES = {
    "ContentType": "text/plain; charset=utf-8",
    "ContentEncoding": "gzip",
    "ContentLanguage": "en, de",
    "ContentDisposition": 'attachment; filename="manifest.txt"',
    "CacheControl": "no-cache, max-age=0",
    "Metadata": {"origin": "harbour", "berth": "12", "empty-handed": "no: , ; = + %"},
}


@pytest.fixture
def client(bucket, serve_store):
    return serve_store({"default": bucket.store()})[1]


def written(bucket, key, **fields):
    """Puts an object with boto3, and returns what boto3's Head says about it."""
    bucket.client.put_object(Bucket=bucket.bucket, Key=key, **fields)
    return bucket.head(key)


def test_an_object_with_every_attribute(bucket, client):
    said = written(bucket, "attributes", Body=DATA, **ATTRIBUTES)
    got, head = client.get("attributes"), client.head("attributes")
    assert got.data == DATA
    for answer in (got.info, head):
        attributes = answer.attributes
        assert attributes.content_type == ATTRIBUTES["ContentType"]
        assert attributes.content_encoding == ATTRIBUTES["ContentEncoding"]
        assert attributes.content_language == ATTRIBUTES["ContentLanguage"]
        assert attributes.content_disposition == ATTRIBUTES["ContentDisposition"]
        assert attributes.cache_control == ATTRIBUTES["CacheControl"]
        assert dict(attributes.metadata) == ATTRIBUTES["Metadata"]
        meta = answer.meta
        assert (meta.key, meta.size, meta.etag) == ("attributes", len(DATA), said["ETag"])
        assert meta.etag == md5_etag(DATA)
        assert meta.last_modified.seconds == int(said["LastModified"].timestamp())


def test_an_object_without_attributes(bucket, client):
    said = written(bucket, "plain", Body=b"")
    got = client.get("plain")
    assert got.data == b""
    assert got.info.attributes == object_pb2.Attributes(
        content_type=said["ContentType"], storage_class=said.get("StorageClass", ""))


def test_a_storage_class(bucket, client):
    bucket.needs("storage classes")
    written(bucket, "cold", Body=DATA, StorageClass="STANDARD_IA")
    written(bucket, "warm", Body=DATA)
    assert client.head("cold").meta.storage_class == "STANDARD_IA"
    assert client.get("cold").info.meta.storage_class == "STANDARD_IA"
    assert client.head("warm").meta.storage_class in ("", "STANDARD")
    assert {found.key: found.storage_class for found in client.walk()} == {"cold": "STANDARD_IA", "warm": "STANDARD"}


@pytest.mark.parametrize("algorithm, value", [
    ("CRC32", zlib.crc32(DATA).to_bytes(4, "big")),
    ("SHA1", hashlib.sha1(DATA).digest()),
    ("SHA256", hashlib.sha256(DATA).digest()),
])
def test_checksum_of_a_put(bucket, client, algorithm, value):
    bucket.client.put_object(Bucket=bucket.bucket, Key="checked", Body=DATA, ChecksumAlgorithm=algorithm)
    said = bucket.head("checked", ChecksumMode="ENABLED")
    assert base64.b64decode(said[f"Checksum{algorithm}"]) == value
    for meta in (client.head("checked").meta, client.get("checked").info.meta):
        assert [(object_pb2.ChecksumAlgorithm.Name(found.algorithm), found.value) for found in meta.checksums] == [
            (f"CHECKSUM_ALGORITHM_{algorithm}", value)]


def test_multipart_upload(bucket, client):
    data = random.Random(3).randbytes(12 * MIB + 5)
    bucket.client.upload_fileobj(
        io.BytesIO(data), bucket.bucket, "parts", ExtraArgs={"ContentType": "image/png", "Metadata": {"berth": "12"}},
        Config=TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB))
    said = bucket.head("parts")
    assert said["ETag"] == multipart_etag(data, 5 * MIB)
    got = client.get("parts")
    assert hashlib.sha256(got.data).digest() == hashlib.sha256(data).digest()
    assert (got.info.meta.etag, got.info.meta.size) == (said["ETag"], len(data))
    assert (got.info.attributes.content_type, dict(got.info.attributes.metadata)) == ("image/png", {"berth": "12"})
    # Ranges at the boundaries of parts.
    border = 5 * MIB
    ranges = [(border - 3, border + 3), (2 * border - 1, 2 * border), (2 * border, len(data))]
    found = client.get_ranges("parts", [{"bounded": {"start": start, "end": end}} for start, end in ranges])
    assert found == [data[start:end] for start, end in ranges]


def test_every_kind_of_copy_keeps_or_replaces_tags(bucket, client):
    bucket.client.put_object(Bucket=bucket.bucket, Key="tags", Body=b"x", Tagging="kind=crate&owner=a%20b")
    client.copy("tags", "tags-by-s3")
    client.copy("tags", "tags-by-parts", mode={"create": {}})
    client.copy("tags", "tags-replaced", tags={"tags": {"+ @": "/="}})
    kept = [{"Key": "kind", "Value": "crate"}, {"Key": "owner", "Value": "a b"}]
    for key, expected in {
        "tags-by-s3": kept, "tags-by-parts": kept, "tags-replaced": [{"Key": "+ @", "Value": "/="}],
    }.items():
        found = bucket.client.get_object_tagging(Bucket=bucket.bucket, Key=key)["TagSet"]
        assert sorted(found, key=lambda tag: tag["Key"]) == expected, key


def test_list_and_walk(bucket, client):
    names = [f"list/{number:03}" for number in range(25)] + ["list/more/x", "other"]
    for name in names:
        bucket.client.put_object(Bucket=bucket.bucket, Key=name, Body=name.encode())
    answer = bucket.client.list_objects_v2(Bucket=bucket.bucket)["Contents"]
    witnessed = [(found["Key"], found["Size"], found["ETag"]) for found in answer]
    assert [each[0] for each in witnessed] == names

    listed, _, pages = client.list_all(page_size=10)
    assert pages == 3
    for objects in (listed, client.walk()):
        assert [(found.key, found.size, found.etag) for found in objects] == witnessed
        assert [found.last_modified.ToMilliseconds() for found in objects] == [
            round(found["LastModified"].timestamp() * 1000) for found in answer]
    objects, prefixes, _ = client.list_all(prefix="list/", delimiter="/")
    assert ([found.key for found in objects], prefixes) == (names[:25], ["list/more/"])


def test_store_with_a_prefix(bucket, serve_store):
    _, client = serve_store({"default": bucket.store("some/prefix")})
    for key in ("some/prefix/a", "some/prefix/b/c", "some/prefixed", "a"):
        bucket.client.put_object(Bucket=bucket.bucket, Key=key, Body=key.encode())
    assert [found.key for found in client.walk()] == ["a", "b/c"]
    assert client.get("a").data == b"some/prefix/a"
    objects, prefixes, _ = client.list_all(delimiter="/")
    assert ([found.key for found in objects], prefixes) == (["a"], ["b/"])


def test_versions_on_moto(moto_bucket, serve_store):
    bucket = moto_bucket
    bucket.client.put_bucket_versioning(Bucket=bucket.bucket, VersioningConfiguration={"Status": "Enabled"})
    first, second = (
        bucket.client.put_object(Bucket=bucket.bucket, Key="versions", Body=body)["VersionId"] for body in (b"1", b"22"))
    _, client = serve_store({"default": bucket.store()})

    assert client.get("versions").info.meta.version == second
    old = client.get("versions", version=first)
    assert (old.data, old.info.meta.version) == (b"1", first)
    assert client.head("versions", version=first).meta.size == 1

    marker = client.delete("versions")
    assert marker.delete_marker
    answer = bucket.client.list_object_versions(Bucket=bucket.bucket)
    assert [found["VersionId"] for found in answer["DeleteMarkers"]] == [marker.version]

    client.delete("versions", version=second)
    client.delete("versions", version=marker.version)
    assert client.get("versions").data == b"1"
    answer = bucket.client.list_object_versions(Bucket=bucket.bucket)
    assert [found["VersionId"] for found in answer["Versions"]] == [first]
    assert "DeleteMarkers" not in answer
