"""Every way to read and write objects with the generated client, on the embedded S3 server of `longshore demo`."""

import random

import pytest
from longshore.v1 import object_pb2, object_service_pb2

from support.client import MIB, crc32c, md5_etag, multipart_etag, pieces
from support.server import Demo

WORDS = b"Hello, harbour! " * 4096


@pytest.fixture(scope="module")
def client(demo):
    return demo.client("demo")


def keys(objects):
    return [found.key for found in objects]


def bounded(start, end):
    return object_pb2.ByteRange(bounded={"start": start, "end": end})


def test_put_get_and_head(client):
    attributes = object_pb2.Attributes(
        content_type="text/plain", content_language="en", content_disposition='attachment; filename="a.txt"',
        cache_control="max-age=60", metadata={"origin": "harbour"})
    put = client.put("demo/put", WORDS, attributes=attributes, crc32c=crc32c(WORDS))
    assert put.key == "demo/put"
    assert put.etag == md5_etag(WORDS)

    got = client.get("demo/put")
    assert got.data == WORDS
    assert (got.info.range.start, got.info.range.end) == (0, len(WORDS))

    head = client.head("demo/put")
    for answer in (got.info, head):
        assert (answer.meta.key, answer.meta.size, answer.meta.etag) == ("demo/put", len(WORDS), put.etag)
        assert answer.meta.HasField("last_modified")
        for name in ("content_type", "content_language", "content_disposition", "cache_control", "metadata"):
            assert getattr(answer.attributes, name) == getattr(attributes, name), name


def test_an_empty_object(client):
    assert client.put("demo/empty", b"").etag == md5_etag(b"")
    got = client.get("demo/empty")
    assert got.data == b""
    assert (got.info.meta.size, got.info.range.start, got.info.range.end) == (0, 0, 0)


@pytest.mark.parametrize("asked, start, end", [
    (bounded(0, 1), 0, 1),
    (bounded(100, 2000), 100, 2000),
    (bounded(len(WORDS) - 1, len(WORDS) + 100), len(WORDS) - 1, len(WORDS)),
    (object_pb2.ByteRange(offset=65000), 65000, len(WORDS)),
    (object_pb2.ByteRange(suffix=7), len(WORDS) - 7, len(WORDS)),
    (object_pb2.ByteRange(suffix=len(WORDS) * 2), 0, len(WORDS)),
])
def test_a_range(client, asked, start, end):
    client.put("demo/range", WORDS)
    got = client.get("demo/range", range=asked)
    assert got.data == WORDS[start:end]
    assert (got.info.range.start, got.info.range.end, got.info.meta.size) == (start, end, len(WORDS))


@pytest.mark.parametrize("coalesce", [None, 0])
def test_several_ranges(client, coalesce):
    data = random.Random(1).randbytes(3 * MIB)
    client.put("demo/ranges", data)
    asked = [(10, 20), (2 * MIB, 3 * MIB), (0, len(data)), (15, 30), (5, 5)]
    fields = {} if coalesce is None else {"coalesce_bytes": coalesce}
    found = client.get_ranges("demo/ranges", [bounded(*each) for each in asked], **fields)
    assert found == [data[start:end] for start, end in asked]


@pytest.mark.parametrize("size, known, parts", [
    (0, True, 0),
    (1, False, 0),
    (3 * MIB + 7, True, 0),
    (17 * MIB + 7, True, 3),
    (17 * MIB + 7, False, 3),
])
def test_upload(client, size, known, parts):
    data = random.Random(size).randbytes(size)
    finish = {"size": size}
    uploaded = client.upload("demo/upload", pieces(data), finish, **({"size": size} if known else {}))
    assert uploaded.parts == parts
    assert uploaded.meta.etag == (multipart_etag(data, 8 * MIB) if parts else md5_etag(data))
    got = client.get("demo/upload")
    assert got.data == data
    assert (got.info.meta.size, got.info.meta.etag) == (size, uploaded.meta.etag)


def test_list_and_walk(client):
    names = [f"demo/list/{folder}/{name}" for folder in ("a", "b", "c") for name in ("x", "y", "z")]
    for name in names:
        client.put(name, name.encode())

    objects, prefixes, pages = client.list_all(prefix="demo/list/", page_size=4)
    assert (keys(objects), prefixes, pages) == (names, [], 3)
    assert [(found.size, found.etag) for found in objects] == [(13, md5_etag(name.encode())) for name in names]

    objects, prefixes, _ = client.list_all(prefix="demo/list/", delimiter="/", page_size=2)
    assert (keys(objects), prefixes) == ([], ["demo/list/a/", "demo/list/b/", "demo/list/c/"])

    objects, _, _ = client.list_all(prefix="demo/list/", start_after="demo/list/b/y")
    assert keys(objects) == names[5:]

    assert keys(client.walk(prefix="demo/list/")) == names
    assert keys(client.walk(prefix="demo/list/", start_after=names[3], limit=2)) == names[4:6]
    assert client.walk(prefix="demo/nothing-here/") == []


def test_copy_and_rename(client):
    client.put("demo/from", WORDS, attributes={"content_type": "text/plain", "metadata": {"origin": "harbour"}})

    copied = client.copy("demo/from", "demo/copy")
    assert copied.etag == md5_etag(WORDS)
    for key in ("demo/from", "demo/copy"):
        got = client.get(key)
        assert got.data == WORDS
        assert (got.info.attributes.content_type, dict(got.info.attributes.metadata)) == (
            "text/plain", {"origin": "harbour"})

    client.copy("demo/from", "demo/copy", attributes={"content_type": "text/html"})
    replaced = client.head("demo/copy").attributes
    assert (replaced.content_type, dict(replaced.metadata)) == ("text/html", {})

    renamed = client.rename("demo/from", "demo/to")
    assert (renamed.key, renamed.etag) == ("demo/to", md5_etag(WORDS))
    assert keys(client.walk(prefix="demo/from")) == []
    assert client.get("demo/to").data == WORDS


def test_tags(client):
    client.put("demo/tagged", WORDS, tags={"origin": "harbour", "berth": "12"})
    assert client.tags("demo/tagged") == {"origin": "harbour", "berth": "12"}
    client.objects.PutTags(object_service_pb2.PutTagsRequest(key="demo/tagged", tags={"berth": "7"}))
    assert client.tags("demo/tagged") == {"berth": "7"}
    client.objects.DeleteTags(object_service_pb2.DeleteTagsRequest(key="demo/tagged"))
    assert client.tags("demo/tagged") == {}
    assert client.get("demo/tagged").data == WORDS


def test_delete_and_delete_many(client):
    names = [f"demo/delete/{number:02}" for number in range(20)]
    for name in names:
        client.put(name, b"x")

    client.delete(names[0])
    client.delete(names[0])  # Deleting a missing key succeeds.
    assert keys(client.walk(prefix="demo/delete/")) == names[1:]

    results = client.delete_many(names[:10] + ["demo/delete/never-there"], a_message=4)
    assert [(result.index, result.key) for result in results] == [
        *enumerate(names[:10]), (10, "demo/delete/never-there")]
    assert not any(result.HasField("error") for result in results)
    assert keys(client.walk(prefix="demo/delete/")) == names[10:]


def test_objects_survive_a_restart(binary, tmp_path):
    first = Demo(binary, tmp_path)
    first.client("demo").put("kept", WORDS)
    first.stop()
    second = Demo(binary, tmp_path)
    try:
        assert second.client("demo").get("kept").data == WORDS
    finally:
        second.stop()
