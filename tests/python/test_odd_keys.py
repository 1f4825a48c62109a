"""Longshore never changes a key: Put, Get, List, Walk, Copy, Rename and DeleteMany, all checked with boto3."""

import hashlib

import pytest

from support.client import md5_etag
from support.odd_keys import BESIDE, ODD, odd_keys

MANY = 1000


def content(key):
    """Returns content that differs for each key, so that mixed-up keys are detected."""
    return b"content of " + key.encode()


def in_s3_order(keys):
    return sorted(keys, key=str.encode)


def name_of(key):
    """Returns a plain key that differs from every odd key."""
    return f"copies/{hashlib.sha256(key.encode()).hexdigest()}"


def held(server, most):
    """Returns up to `most` odd keys that the server can store."""
    keys = [key for key in odd_keys() if server.holds(key)]
    if server.kind == "versitygw":
        # A name is either a file or a folder, so keys that are folders of other keys are left out.
        folders = {key[:at] for key in keys for at, char in enumerate(key) if char == "/"}
        keys = [key for key in keys if key not in folders]
    return keys[:most]


def listed(objects):
    return [(found.key, found.etag) for found in objects]


def expected(keys):
    return [(key, md5_etag(content(key))) for key in in_s3_order(keys)]


def witnessed(server, **arguments):
    pages = server.client.get_paginator("list_objects_v2").paginate(Bucket=server.bucket, **arguments)
    return [(found["Key"], found["ETag"]) for page in pages for found in page.get("Contents", [])]


@pytest.mark.parametrize("name", ["moto", "versitygw"])
def test_a_thousand_odd_keys(name, request, serve_store):
    server = request.getfixturevalue(f"{name}_bucket")
    keys = held(server, MANY)
    # Fails if the server's limits leave too few keys to test.
    assert len(keys) == MANY
    missing = [odd for odd in ODD if not any(odd in key for key in keys)]
    assert missing == {"moto": ["\n"], "versitygw": ["//", "\x01", "\x1f", "\ufffe"]}[name]
    _, client = serve_store({"default": server.store()})

    for key in keys:
        assert client.put(key, content(key)).key == key
    assert witnessed(server) == expected(keys)

    objects, _, pages = client.list_all(page_size=97)
    assert listed(objects) == expected(keys)
    assert pages >= len(keys) // 97
    assert listed(client.walk()) == expected(keys)

    # A page that begins after an odd key.
    for key in in_s3_order(keys)[10::200]:
        after = [found for found in in_s3_order(keys) if found.encode() > key.encode()]
        assert [found.key for found in client.list(start_after=key, page_size=5).objects] == after[:5]

    # Folders are the same as with boto3.
    folded = server.client.list_objects_v2(Bucket=server.bucket, Delimiter="/")
    objects, prefixes, _ = client.list_all(delimiter="/")
    assert [found.key for found in objects] == [found["Key"] for found in folded["Contents"]]
    assert prefixes == [found["Prefix"] for found in folded["CommonPrefixes"]]

    # Get, and Copy from an odd key to a plain one.
    for key in keys:
        assert client.get(key).data == content(key)
        client.copy(key, name_of(key))
    copies = {name_of(key): md5_etag(content(key)) for key in keys}
    assert dict(witnessed(server, Prefix="copies/")) == copies

    # DeleteMany deletes exactly the given keys.
    results = client.delete_many(keys)
    assert [result.key for result in results] == keys
    assert [result.index for result in results] == list(range(len(keys)))
    assert [result for result in results if result.HasField("error")] == []
    assert dict(witnessed(server)) == copies

    # Rename from a plain key to an odd one.
    for key in keys[:100]:
        client.rename(name_of(key), key)
    assert [found for found in witnessed(server) if not found[0].startswith("copies/")] == expected(keys[:100])


@pytest.mark.parametrize("prefix", ["some/prefix", "a+b @ %2F/é"])
def test_odd_keys_in_a_store_with_a_prefix(moto_bucket, serve_store, prefix):
    server = moto_bucket
    keys = held(server, 120)
    _, client = serve_store({"default": server.store(prefix)})
    server.client.put_object(Bucket=server.bucket, Key="outside", Body=b"x")
    for key in keys:
        client.put(shortened(key, prefix), content(key))
    whole = {f"{prefix}/{shortened(key, prefix)}": md5_etag(content(key)) for key in keys}
    assert dict(witnessed(server)) == {**whole, "outside": md5_etag(b"x")}
    assert listed(client.walk()) == [
        (key.removeprefix(f"{prefix}/"), whole[key]) for key in in_s3_order(whole)]
    for key in keys:
        assert client.get(shortened(key, prefix)).data == content(key)
    assert not any(result.HasField("error") for result in client.delete_many([shortened(key, prefix) for key in keys]))
    assert witnessed(server) == [("outside", md5_etag(b"x"))]


def shortened(key, prefix):
    """Shortens a key so that it and the prefix together have at most 1,024 bytes."""
    room = 1024 - len(prefix.encode()) - 1
    while len(key.encode()) > room:
        key = key[:-1]
    return key


def test_keys_that_are_also_folders(moto_bucket, serve_store):
    _, client = serve_store({"default": moto_bucket.store()})
    for key in BESIDE:
        client.put(key, content(key))
    assert moto_bucket.keys() == in_s3_order(BESIDE)
    for key in BESIDE:
        assert client.get(key).data == content(key)
    assert client.rename("beside/inner", "beside/renamed").key == "beside/renamed"
    client.delete("beside")
    left = set(BESIDE) - {"beside", "beside/inner"} | {"beside/renamed"}
    assert moto_bucket.keys() == in_s3_order(left)


def test_newlines(versitygw_bucket, serve_store):
    """moto cannot store keys with newlines."""
    _, client = serve_store({"default": versitygw_bucket.store()})
    keys = ["\n", "a\nb", "a\r\nb", "a\n"]
    for key in keys:
        client.put(key, content(key))
    assert witnessed(versitygw_bucket) == expected(keys)
    assert listed(client.walk()) == expected(keys)
    assert [client.get(key).data for key in keys] == [content(key) for key in keys]
    assert not any(result.HasField("error") for result in client.delete_many(keys))
    assert versitygw_bucket.keys() == []
