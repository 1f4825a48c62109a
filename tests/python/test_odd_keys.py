"""Keys are bytes that nobody may change: in by Put, out by List and Walk, copied, read, deleted; boto3 agrees."""

import hashlib

import pytest

from support.client import md5_etag
from support.odd_keys import BESIDE, ODD, odd_keys

MANY = 1000


def content(key):
    """Each key has content of its own, so that two that were mixed up are noticed."""
    return b"content of " + key.encode()


def in_s3_order(keys):
    return sorted(keys, key=str.encode)


def name_of(key):
    """A key that no odd one is equal to."""
    return f"copies/{hashlib.sha256(key.encode()).hexdigest()}"


def held(server, most):
    """The odd keys that the server can hold."""
    keys = [key for key in odd_keys() if server.holds(key)]
    if server.kind == "versitygw":
        # A file or a folder, not both: of keys that are folders to others the longer ones stay.
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
    # As many as were meant, so that a limit never empties the test.
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

    # Folders are what boto3 takes for them.
    folded = server.client.list_objects_v2(Bucket=server.bucket, Delimiter="/")
    objects, prefixes, _ = client.list_all(delimiter="/")
    assert [found.key for found in objects] == [found["Key"] for found in folded["Contents"]]
    assert prefixes == [found["Prefix"] for found in folded["CommonPrefixes"]]

    # Read, and copied from an odd key to a plain one.
    for key in keys:
        assert client.get(key).data == content(key)
        client.copy(key, name_of(key))
    copies = {name_of(key): md5_etag(content(key)) for key in keys}
    assert dict(witnessed(server, Prefix="copies/")) == copies

    # Deleted, and only those that were asked for.
    results = client.delete_many(keys)
    assert [result.key for result in results] == keys
    assert [result.index for result in results] == list(range(len(keys)))
    assert [result for result in results if result.HasField("error")] == []
    assert dict(witnessed(server)) == copies

    # And from a plain key to an odd one.
    for key in keys[:100]:
        client.rename(name_of(key), key)
    assert [found for found in witnessed(server) if not found[0].startswith("copies/")] == expected(keys[:100])


@pytest.mark.parametrize("prefix", ["some/prefix", "a+b @ %2F/é"])
def test_odd_keys_below_a_prefix(moto_bucket, serve_store, prefix):
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
    """1,024 bytes are the limit of prefix and key together."""
    room = 1024 - len(prefix.encode()) - 1
    while len(key.encode()) > room:
        key = key[:-1]
    return key


def test_a_file_beside_a_folder(moto_bucket, serve_store):
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


def test_a_newline(versitygw_bucket, serve_store):
    """moto cannot hold it."""
    _, client = serve_store({"default": versitygw_bucket.store()})
    keys = ["\n", "a\nb", "a\r\nb", "a\n"]
    for key in keys:
        client.put(key, content(key))
    assert witnessed(versitygw_bucket) == expected(keys)
    assert listed(client.walk()) == expected(keys)
    assert [client.get(key).data for key in keys] == [content(key) for key in keys]
    assert not any(result.HasField("error") for result in client.delete_many(keys))
    assert versitygw_bucket.keys() == []
