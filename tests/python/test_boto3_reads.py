"""boto3 reads what Longshore writes: bytes, attributes, ETag, parts, checksums, tags. What Longshore deletes is gone."""

import base64
import email.header
import hashlib
import io
import random
import zlib

import pytest
from longshore.v1 import object_pb2, object_service_pb2

from support.client import MIB, crc32c, md5_etag, multipart_etag, pieces
from support.wait import eventually

DATA = random.Random(4).randbytes(100_000)

ATTRIBUTES = object_pb2.Attributes(
    content_type="text/plain; charset=utf-8", content_encoding="gzip", content_language="en, de",
    content_disposition='attachment; filename="manifest.txt"', cache_control="no-cache, max-age=0",
    metadata={"origin": "harbour", "berth": "12", "empty-handed": "no: , ; = + %"})


@pytest.fixture
def client(bucket, serve_store):
    return serve_store({"default": bucket.store()})[1]


def assert_attributes(said):
    assert said["ContentType"] == ATTRIBUTES.content_type
    assert said["ContentEncoding"] == ATTRIBUTES.content_encoding
    assert said["ContentLanguage"] == ATTRIBUTES.content_language
    assert said["ContentDisposition"] == ATTRIBUTES.content_disposition
    assert said["CacheControl"] == ATTRIBUTES.cache_control
    assert said["Metadata"] == dict(ATTRIBUTES.metadata)


def nothing_is_left_under_way(bucket):
    """A failed upload is aborted after the response is sent, so this polls."""
    eventually("no multipart upload is left", lambda: bucket.uploads() == [], within=1)


def tags(bucket, key):
    answer = bucket.client.get_object_tagging(Bucket=bucket.bucket, Key=key)
    return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}


def test_an_object_with_every_attribute(bucket, client):
    put = client.put("attributes", DATA, attributes=ATTRIBUTES)
    assert bucket.get("attributes") == DATA
    said = bucket.head("attributes")
    assert (said["ETag"], said["ContentLength"]) == (put.etag, len(DATA))
    assert put.etag == md5_etag(DATA)
    assert_attributes(said)


def test_an_object_without_attributes(bucket, client):
    client.put("plain", b"")
    assert bucket.get("plain") == b""
    assert bucket.head("plain")["Metadata"] == {}


def test_non_ascii_metadata(bucket, client):
    text = "Grüße aus Łódź 🚢"
    client.put("greeting", b"x", attributes={"metadata": {"text": text}})
    assert dict(client.head("greeting").attributes.metadata) == {"text": text}
    [said] = bucket.head("greeting")["Metadata"].values()
    assert said.isascii()
    assert str(email.header.make_header(email.header.decode_header(said))) == text


def test_a_storage_class(bucket, client):
    bucket.needs("storage classes")
    client.put("cold", DATA, attributes={"storage_class": "STANDARD_IA"})
    client.upload("cold-parts", pieces(DATA * 100), attributes={"storage_class": "STANDARD_IA"})
    assert bucket.head("cold")["StorageClass"] == "STANDARD_IA"
    assert bucket.head("cold-parts")["StorageClass"] == "STANDARD_IA"


def test_write_modes(bucket, client):
    first = client.put("modes", b"1", mode={"create": {}})
    with pytest.raises(Exception, match="ALREADY_EXISTS"):
        client.put("modes", b"2", mode={"create": {}})
    assert bucket.get("modes") == b"1"
    second = client.put("modes", b"2", mode={"update": {"etag": first.etag}})
    with pytest.raises(Exception, match="FAILED_PRECONDITION"):
        client.put("modes", b"3", mode={"update": {"etag": first.etag}})
    assert bucket.get("modes") == b"2"
    assert bucket.head("modes")["ETag"] == second.etag


CHECKSUMS = {
    "CRC32": zlib.crc32(DATA).to_bytes(4, "big"),
    "CRC32C": crc32c(DATA).to_bytes(4, "big"),
    "SHA1": hashlib.sha1(DATA).digest(),
    "SHA256": hashlib.sha256(DATA).digest(),
}


@pytest.mark.parametrize("algorithm", CHECKSUMS)
def test_checksum_of_a_put(bucket, client, algorithm):
    bucket.needs("checksums of puts")
    put = client.put("checked", DATA, checksum_algorithm=f"CHECKSUM_ALGORITHM_{algorithm}")
    said = bucket.head("checked", ChecksumMode="ENABLED")
    assert base64.b64decode(said[f"Checksum{algorithm}"]) == CHECKSUMS[algorithm]
    assert CHECKSUMS[algorithm] in [found.value for found in put.checksums]


def test_multipart_upload(bucket, client):
    data = random.Random(5).randbytes(16 * MIB + 5)
    uploaded = client.upload(
        "parts", pieces(data, 700_001), {"size": len(data)}, part_size=5 * MIB, attributes=ATTRIBUTES,
        tags={"kind": "crate"})
    assert uploaded.parts == 4
    assert uploaded.meta.etag == multipart_etag(data, 5 * MIB)
    said = bucket.head("parts")
    assert (said["ETag"], said["ContentLength"]) == (uploaded.meta.etag, len(data))
    assert_attributes(said)
    assert tags(bucket, "parts") == {"kind": "crate"}
    read = io.BytesIO()
    bucket.client.download_fileobj(bucket.bucket, "parts", read)
    assert hashlib.sha256(read.getvalue()).digest() == hashlib.sha256(data).digest()
    assert bucket.uploads() == []


def test_multipart_upload_with_a_checksum(bucket, client):
    data = random.Random(6).randbytes(11 * MIB)
    client.upload("parts", pieces(data), part_size=5 * MIB, checksum_algorithm="CHECKSUM_ALGORITHM_SHA256")
    said = bucket.head("parts", ChecksumMode="ENABLED")
    digests = b"".join(hashlib.sha256(part).digest() for part in pieces(data, 5 * MIB))
    # The checksum of the parts' checksums, since SHA-256 checksums cannot be combined.
    composite = hashlib.sha256(digests).digest()
    assert base64.b64decode(said["ChecksumSHA256"].split("-")[0]) == composite
    [found] = client.head("parts").meta.checksums
    assert (found.value, found.algorithm) == (composite, object_pb2.CHECKSUM_ALGORITHM_SHA256)
    # moto does not return the type of the checksum.
    assert found.type in (object_pb2.CHECKSUM_TYPE_COMPOSITE, object_pb2.CHECKSUM_TYPE_UNSPECIFIED)


def test_a_small_upload_is_one_put(bucket, client):
    uploaded = client.upload("small", pieces(DATA, 1000), {"size": len(DATA), "crc32c": crc32c(DATA)})
    assert uploaded.parts == 0
    assert uploaded.meta.etag == md5_etag(DATA)
    assert bucket.get("small") == DATA


def test_upload_in_create_mode(bucket, client):
    data = bytes(9 * MIB)
    client.upload("created", pieces(data), mode={"create": {}})
    before = bucket.head("created")
    with pytest.raises(Exception, match="ALREADY_EXISTS"):
        client.upload("created", pieces(data + b"x"), mode={"create": {}})
    assert bucket.head("created")["ETag"] == before["ETag"]
    nothing_is_left_under_way(bucket)
    # The metadata entry that identifies the writer is hidden from callers.
    assert dict(client.head("created").attributes.metadata) == {}


def test_tags(bucket, client):
    client.put("tags", b"x", tags={"kind": "crate", "+ @": "é/="})
    assert tags(bucket, "tags") == {"kind": "crate", "+ @": "é/="}


def test_copy_keeps_or_replaces_attributes_and_tags(bucket, client):
    source = client.put("from", DATA, attributes=ATTRIBUTES, tags={"kind": "crate"})

    copied = client.copy("from", "kept")
    assert copied.etag == source.etag
    assert bucket.get("kept") == DATA
    assert_attributes(bucket.head("kept"))
    assert tags(bucket, "kept") == {"kind": "crate"}

    client.copy("from", "replaced", attributes={"content_type": "text/html", "metadata": {"new": "yes"}},
                tags={"tags": {"kind": "barrel"}})
    said = bucket.head("replaced")
    assert (said["ContentType"], said["Metadata"]) == ("text/html", {"new": "yes"})
    assert "CacheControl" not in said
    assert tags(bucket, "replaced") == {"kind": "barrel"}
    assert bucket.get("from") == DATA


def test_copy_in_create_mode(bucket, client):
    client.put("from", DATA, attributes=ATTRIBUTES, tags={"kind": "crate"})
    client.copy("from", "new", mode={"create": {}})
    assert bucket.get("new") == DATA
    assert bucket.head("new")["Metadata"].items() >= dict(ATTRIBUTES.metadata).items()
    assert tags(bucket, "new") == {"kind": "crate"}
    client.put("taken", b"x")
    with pytest.raises(Exception, match="ALREADY_EXISTS"):
        client.copy("from", "taken", mode={"create": {}})
    assert bucket.get("taken") == b"x"
    nothing_is_left_under_way(bucket)


def test_copy_between_stores(moto_bucket, versitygw_bucket, serve_store):
    stores = {"default": moto_bucket.store("in"), "other": versitygw_bucket.store("out")}
    _, client = serve_store(stores)
    data = random.Random(7).randbytes(9 * MIB)
    client.upload("large", pieces(data), attributes=ATTRIBUTES)
    client.put("small", DATA, attributes=ATTRIBUTES)
    for key, expected in (("small", DATA), ("large", data)):
        client.objects.Copy(object_service_pb2.CopyRequest(
            source={"key": key}, destination={"store": "other", "key": key}))
        assert versitygw_bucket.get(f"out/{key}") == expected
        assert_attributes(versitygw_bucket.head(f"out/{key}"))


def test_rename(bucket, client):
    source = client.put("from", DATA, attributes=ATTRIBUTES)
    assert client.rename("from", "folder/to").etag == source.etag
    assert bucket.keys() == ["folder/to"]
    assert bucket.get("folder/to") == DATA
    assert_attributes(bucket.head("folder/to"))


def test_delete_and_delete_many(bucket, client):
    names = [f"delete/{number:04}" for number in range(40)]
    for name in names:
        client.put(name, b"x")
    assert bucket.keys() == names
    client.delete(names[0])
    assert bucket.keys() == names[1:]
    results = client.delete_many(names[:30], a_message=7)
    assert [result.key for result in results if not result.HasField("error")] == names[:30]
    assert bucket.keys() == names[30:]


def test_store_with_a_prefix(bucket, serve_store):
    _, client = serve_store({"default": bucket.store("some/prefix")})
    client.put("a", b"1")
    client.copy("a", "b")
    client.rename("b", "c")
    assert bucket.keys() == ["some/prefix/a", "some/prefix/c"]
    client.delete("a")
    assert bucket.keys() == ["some/prefix/c"]
    assert not client.delete_many(["c"])[0].HasField("error")
    assert bucket.keys() == []
