"""Versions and restores of archived objects, with boto3 as the judge of what is in S3."""

import grpc
import pytest
from botocore.exceptions import ClientError
from longshore.v1 import object_service_pb2 as objects

from test_errors import failure, reason


@pytest.fixture
def versioned(moto_bucket):
    moto_bucket.client.put_bucket_versioning(
        Bucket=moto_bucket.bucket, VersioningConfiguration={"Status": "Enabled"})
    return moto_bucket


@pytest.fixture
def client(versioned, serve_store):
    return serve_store({"default": versioned.store("in/")})[1]


def list_versions(client, **fields):
    return client.objects.ListVersions(objects.ListVersionsRequest(**fields))


def all_versions(client, **fields):
    """Returns the versions of all pages, and the number of pages."""
    found, token, pages = [], "", 0
    while True:
        page = list_versions(client, page_token=token, **fields)
        assert page.skipped == 0
        found, token, pages = [*found, *page.versions], page.next_page_token, pages + 1
        if not token:
            return found, pages


def walk_versions(client, **fields):
    messages = client.objects.WalkVersions(objects.WalkVersionsRequest(**fields))
    return [version for message in messages for version in message.versions]


def told(bucket):
    """What boto3 says about every version below `in/`: key, version, whether it is the latest, whether it is a marker."""
    answer = bucket.client.list_object_versions(Bucket=bucket.bucket, Prefix="in/")
    both = [(found, False) for found in answer.get("Versions", [])]
    both += [(found, True) for found in answer.get("DeleteMarkers", [])]
    return {(found["Key"].removeprefix("in/"), found["VersionId"], found["IsLatest"], marker)
            for found, marker in both}


def seen(versions):
    return [(found.meta.key, found.meta.version, found.is_latest, found.delete_marker) for found in versions]


@pytest.fixture
def history(versioned, client):
    """Two keys with versions, one of them deleted, and one outside the store."""
    versions = {}
    for key in ["a", "b/c"]:
        versions[key] = [client.put(key, f"{key} {number}".encode()).version for number in range(3)]
    versions["deleted"] = client.delete("b/c").version
    versioned.client.put_object(Bucket=versioned.bucket, Key="out", Body=b"x")
    return versions


def test_versions_and_delete_markers_are_those_that_boto3_sees(versioned, client, history):
    found, pages = all_versions(client)
    assert pages == 1
    assert set(seen(found)) == told(versioned) and len(found) == 7
    assert seen(found)[0] == ("a", history["a"][2], True, False)
    assert ("b/c", history["deleted"], True, True) in seen(found)
    for version in found:
        if not version.delete_marker:
            head = client.head(version.meta.key, version=version.meta.version).meta
            assert (head.size, head.etag) == (version.meta.size, version.meta.etag)
    assert seen(walk_versions(client)) == seen(found)


@pytest.mark.parametrize("page_size", [1, 2, 3])
def test_pages_of_versions_join_up(client, history, page_size):
    found, pages = all_versions(client, page_size=page_size)
    assert sorted(seen(found)) == sorted(seen(all_versions(client)[0]))
    assert pages >= 7 // page_size


def test_a_walk_continues_after_a_version(client, history):
    every = seen(walk_versions(client))
    for number, (key, version, _, _) in enumerate(every):
        rest = walk_versions(client, start_after=key, start_after_version=version)
        assert seen(rest) == every[number + 1:]
    assert seen(walk_versions(client, limit=2)) == every[:2]
    assert {key for key, *_ in seen(walk_versions(client, start_after="a"))} == {"b/c"}
    assert {key for key, *_ in seen(walk_versions(client, prefix="b/"))} == {"b/c"}


def test_a_delimiter_groups_keys(client, history):
    page = list_versions(client, delimiter="/")
    assert list(page.common_prefixes) == ["b/"]
    assert {found.meta.key for found in page.versions} == {"a"}


def test_a_token_of_another_listing_is_rejected(client, history):
    token = list_versions(client, page_size=1).next_page_token
    failed = failure(list_versions, client, prefix="a", page_token=token)
    assert (reason(failed).reason, reason(failed).metadata["field"]) == ("INVALID_FIELD", "page_token")
    failed = failure(walk_versions, client, start_after_version="v")
    assert reason(failed).metadata["field"] == "start_after_version"


def test_an_older_version_is_restored_by_a_copy_onto_its_own_key(versioned, client):
    old = client.put("k", b"old", attributes={"content_type": "text/old", "metadata": {"age": "old"}},
                     tags={"age": "old"}).version
    client.put("k", b"new")
    restored = client.objects.Copy(objects.CopyRequest(
        source={"key": "k", "version": old}, destination={"key": "k"})).meta
    assert restored.version not in ("", old)
    got = client.get("k")
    assert (got.data, got.info.meta.version) == (b"old", restored.version)
    found = versioned.head("in/k")
    assert (found["ContentType"], found["Metadata"]) == ("text/old", {"age": "old"})
    assert client.tags("k") == {"age": "old"}
    assert len(told(versioned)) == 3


def test_a_deleted_object_is_restored_by_deleting_its_marker(versioned, client):
    client.put("k", b"x")
    marker = client.delete("k")
    assert marker.delete_marker
    client.delete("k", version=marker.version)
    assert client.get("k").data == b"x"


def restore(client, key, **fields):
    return client.objects.Restore(objects.RestoreRequest(key=key, **fields)).outcome


def test_an_archived_object_is_restored(moto_bucket, serve_store):
    client = serve_store({"default": moto_bucket.store()})[1]
    client.put("k", b"x", attributes={"storage_class": "GLACIER"})
    before = client.objects.Head(objects.HeadRequest(key="k"))
    assert not before.HasField("restore")
    assert reason(failure(client.get, "k")).reason == "OBJECT_ARCHIVED"
    assert restore(client, "k", days=3, tier=objects.RESTORE_TIER_BULK) == objects.RESTORE_OUTCOME_STARTED
    head = client.objects.Head(objects.HeadRequest(key="k"))
    said = moto_bucket.head("k")["Restore"]
    assert head.restore.in_progress == ('ongoing-request="true"' in said)
    # moto restores an object by the second request that concerns it.
    client.objects.Head(objects.HeadRequest(key="k"))
    done = client.objects.Head(objects.HeadRequest(key="k")).restore
    said = moto_bucket.head("k")["Restore"]
    assert not done.in_progress and done.HasField("expire_time")
    assert done.expire_time.ToDatetime().strftime("%a, %d %b %Y %H:%M:%S GMT") in said
    assert client.get("k").data == b"x"
    assert restore(client, "k", days=5) == objects.RESTORE_OUTCOME_EXTENDED


def test_what_cannot_be_restored_fails(moto_bucket, serve_store):
    client = serve_store({"default": moto_bucket.store()})[1]
    client.put("k", b"x")
    with pytest.raises(ClientError) as said:
        moto_bucket.client.restore_object(Bucket=moto_bucket.bucket, Key="k", RestoreRequest={"Days": 1})
    failed = failure(restore, client, "k", days=1)
    assert failed.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(failed).reason == "INVALID_REQUEST"
    assert reason(failed).metadata["s3_code"] == said.value.response["Error"]["Code"]
    assert reason(failure(restore, client, "missing", days=1)).reason == "OBJECT_NOT_FOUND"
    for fields, field in [({"days": -1}, "days"), ({"tier": 9, "days": 1}, "tier")]:
        failed = failure(restore, client, "k", **fields)
        assert reason(failed).metadata["field"] == field
