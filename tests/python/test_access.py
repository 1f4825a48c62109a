"""What every method needs of a caller's grants, over the wire: compared with what ExplainAccess says."""

import hashlib
import itertools

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from longshore.v1 import (
    admin_service_pb2, bucket_service_pb2, object_pb2, object_service_pb2, store_service_pb2, upload_service_pb2)
from support.client import upload_messages

ACCESS = ["read", "write", "delete", "list", "sign", "bucket_admin"]
KEY, SOURCE = "in/key", "in/source"


def caller(name, access, **grant):
    return {"name": name, "token_sha256": hashlib.sha256(name.encode()).hexdigest(), "access": access, **grant}


def grants():
    """Every set of accesses, and some limited to a store or a prefix."""
    sets = [list(chosen) for size in range(1, 7) for chosen in itertools.combinations(ACCESS, size)]
    callers = [caller("+".join(chosen), chosen) for chosen in sets]
    for name, limits in [("other-store", {"stores": ["archive"]}), ("this-store", {"stores": ["default"]}),
                         ("other-prefix", {"prefixes": ["out/"]}), ("this-prefix", {"prefixes": ["in/"]})]:
        callers.append(caller(name, ACCESS, **limits))
    return callers


def consume(messages):
    return list(messages)


def calls(upload_id):
    """Each method with a call of it. `probe` is CheckStore with `probe_writes`; Sign has a call for each HTTP method."""
    objects, stores, uploads = object_service_pb2, store_service_pb2, upload_service_pb2
    buckets = bucket_service_pb2
    write = [uploads.WriteUploadRequest(spec={"upload_id": upload_id, "offset": 0})]
    progress = [uploads.WriteUploadWithProgressRequest(spec={"upload_id": upload_id, "offset": 0})]
    named = {"destination": {"store": "", "key": KEY}, "source": {"store": "", "key": SOURCE}}

    def of(store):
        one = {"store": store, "key": KEY}
        copy = {**named, "destination": {"store": store, "key": KEY}}
        return {
            "Head": lambda c: c.objects.Head(objects.HeadRequest(**one)),
            "Get": lambda c: consume(c.objects.Get(objects.GetRequest(**one))),
            "GetRanges": lambda c: consume(c.objects.GetRanges(objects.GetRangesRequest(
                ranges=[{"bounded": {"start": 0, "end": 1}}], **one))),
            "Put": lambda c: c.objects.Put(objects.PutRequest(data=b"x", **one)),
            "Upload": lambda c: c.objects.Upload(upload_messages(KEY, [b"x"], store=store)),
            "List": lambda c: c.objects.List(objects.ListRequest(store=store, prefix=KEY)),
            "Walk": lambda c: consume(c.objects.Walk(objects.WalkRequest(store=store, prefix=KEY))),
            "ListVersions": lambda c: c.objects.ListVersions(objects.ListVersionsRequest(store=store, prefix=KEY)),
            "WalkVersions": lambda c: consume(c.objects.WalkVersions(objects.WalkVersionsRequest(
                store=store, prefix=KEY))),
            "Restore": lambda c: c.objects.Restore(objects.RestoreRequest(days=1, **one)),
            "Copy": lambda c: c.objects.Copy(objects.CopyRequest(**copy)),
            "Rename": lambda c: c.objects.Rename(objects.RenameRequest(**copy)),
            "CopyWithProgress": lambda c: consume(c.objects.CopyWithProgress(objects.CopyWithProgressRequest(**copy))),
            "RenameWithProgress": lambda c: consume(c.objects.RenameWithProgress(
                objects.RenameWithProgressRequest(**copy))),
            "CopyPrefix": lambda c: consume(c.objects.CopyPrefix(objects.CopyPrefixRequest(
                source={"prefix": SOURCE}, destination={"store": store, "prefix": KEY}, dry_run=True))),
            "DeletePrefix": lambda c: consume(c.objects.DeletePrefix(objects.DeletePrefixRequest(
                store=store, prefix=KEY, dry_run=True))),
            "Delete": lambda c: c.objects.Delete(objects.DeleteRequest(**one)),
            "DeleteMany": lambda c: consume(c.objects.DeleteMany(iter([objects.DeleteManyRequest(
                store=store, objects=[object_pb2.ObjectId(key=KEY)])]))),
            **{f"Sign {method}": lambda c, method=method: c.objects.Sign(objects.SignRequest(
                store=store, method=f"SIGN_METHOD_{method}", keys=[KEY], expires_in={"seconds": 60}))
               for method in ("GET", "HEAD", "PUT", "DELETE")},
            "SignPost": lambda c: c.objects.SignPost(objects.SignPostRequest(expires_in={"seconds": 60}, **one)),
            "GetTags": lambda c: c.objects.GetTags(objects.GetTagsRequest(**one)),
            "PutTags": lambda c: c.objects.PutTags(objects.PutTagsRequest(**one)),
            "DeleteTags": lambda c: c.objects.DeleteTags(objects.DeleteTagsRequest(**one)),
            "GetBucket": lambda c: c.buckets.GetBucket(buckets.GetBucketRequest(store=store)),
            "ListBuckets": lambda c: c.buckets.ListBuckets(buckets.ListBucketsRequest()),
            "GetBucketCors": lambda c: c.buckets.GetBucketCors(buckets.GetBucketCorsRequest(store=store)),
            "PutBucketCors": lambda c: c.buckets.PutBucketCors(buckets.PutBucketCorsRequest(
                store=store, rules=[{"allowed_origins": ["*"], "allowed_methods": ["GET"]}])),
            "DeleteBucketCors": lambda c: c.buckets.DeleteBucketCors(buckets.DeleteBucketCorsRequest(store=store)),
            "ListStores": lambda c: c.stores.ListStores(stores.ListStoresRequest()),
            "GetStore": lambda c: c.stores.GetStore(stores.GetStoreRequest(store=store)),
            "CheckStore": lambda c: c.stores.CheckStore(stores.CheckStoreRequest(store=store)),
            "probe": lambda c: c.stores.CheckStore(stores.CheckStoreRequest(store=store, probe_writes=True)),
            "StartUpload": lambda c: c.uploads.StartUpload(uploads.StartUploadRequest(**one)),
            "WriteUpload": lambda c: c.uploads.WriteUpload(iter(write)),
            "WriteUploadWithProgress": lambda c: consume(c.uploads.WriteUploadWithProgress(iter(progress))),
            "QueryUpload": lambda c: c.uploads.QueryUpload(uploads.QueryUploadRequest(upload_id=upload_id)),
            "SignParts": lambda c: c.uploads.SignParts(uploads.SignPartsRequest(
                upload_id=upload_id, parts=[{"part_number": 1}], expires_in={"seconds": 60})),
            "FinishUpload": lambda c: c.uploads.FinishUpload(uploads.FinishUploadRequest(
                upload_id=upload_id, size=1)),
            "FinishUploadWithProgress": lambda c: consume(c.uploads.FinishUploadWithProgress(
                uploads.FinishUploadWithProgressRequest(upload_id=upload_id, size=1))),
            "CancelUpload": lambda c: c.uploads.CancelUpload(uploads.CancelUploadRequest(upload_id=upload_id)),
            "ListUploads": lambda c: c.uploads.ListUploads(uploads.ListUploadsRequest(store=store, prefix=KEY)),
        }

    return of


def outcome(call, client):
    """`denied`, or `allowed` if the call got past the grants."""
    try:
        answer = call(client)
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.PERMISSION_DENIED and info(error).reason == "ACCESS_NOT_GRANTED":
            return "denied"
        assert error.code() not in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNKNOWN), error
        return "allowed"
    results = [result for message in answer if isinstance(answer, list) for result in getattr(message, "results", [])] \
        if isinstance(answer, list) else []
    return "denied" if any(result.error.reason == "ACCESS_NOT_GRANTED" for result in results) else "allowed"


def info(error):
    found = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(found) for detail in rpc_status.from_call(error).details)
    return found


@pytest.fixture
def world(serve, moto_bucket):
    store = {**moto_bucket.store(), "retry_config": {"max_retries": 0}}
    callers = [caller("root", ACCESS), *grants()]
    return serve({"acme": {"callers": callers, "stores": {name: store for name in ["default", "archive", "hidden-a"]}}},
                 AUTH="required")


@pytest.fixture
def upload_id(world):
    root = world.client("acme", "root")
    return root.uploads.StartUpload(upload_service_pb2.StartUploadRequest(key=KEY)).upload_id


def served_methods():
    files = [bucket_service_pb2, object_service_pb2, store_service_pb2, upload_service_pb2]
    services = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    return {method.name for service in services for method in service.methods}


def test_a_call_is_allowed_exactly_when_the_explanation_says_so(world, upload_id):
    every = calls(upload_id)("default")
    assert {name.split()[0] for name in every} - {"probe"} == served_methods(), "a method has no case here"
    admin = world.client(address=world.admin_address).admin

    def explained(name, method):
        source = {"source_key": SOURCE} if method.startswith(("Copy", "Rename")) else {}
        method, _, value = method.partition(" ")
        answer = admin.ExplainAccess(admin_service_pb2.ExplainAccessRequest(
            tenant="acme", caller=name, method="CheckStore" if method == "probe" else method, key=KEY, **source))
        assert answer.implemented
        needed = [one.allowed for one in answer.decisions
                  if method == "probe" or one.only_with in ("", f"method: {value}")]
        choices = [one.allowed for one in answer.decisions if one.only_with.startswith("method: ")]
        assert answer.allowed == (all(one.allowed for one in answer.decisions if not one.only_with)
                                  and (not choices or any(choices)))
        return "allowed" if all(needed) else "denied"

    wrong = []
    for grant in grants():
        client = world.client("acme", grant["name"])
        # Sent last, because later calls use the upload.
        for method, call in sorted(every.items(), key=lambda item: item[0] == "CancelUpload"):
            found, said = outcome(call, client), explained(grant["name"], method)
            if found != said:
                wrong.append((grant["name"], method, found, said))
        client.close()
    assert not wrong


def text(error, store):
    """Everything that a caller sees of an error, without the store's name and the request's id."""
    status = rpc_status.from_call(error)
    details = "".join(str(detail) for detail in status.details)
    found = info(error)
    metadata = {name: value.replace(store, "STORE") for name, value in found.metadata.items() if name != "request_id"}
    kinds = [detail.type_url for detail in status.details]
    assert details
    return error.code(), error.details().replace(store, "STORE"), found.reason, metadata, kinds


def test_a_hidden_store_and_a_missing_one_look_alike(world, upload_id):
    named = [method for method in calls(upload_id)("x")
             if method not in ("ListStores", "ListBuckets", "WriteUpload", "WriteUploadWithProgress", "QueryUpload",
                               "SignParts", "FinishUpload", "CancelUpload")]

    def failure(client, store, method):
        with pytest.raises(grpc.RpcError) as failed:
            calls(upload_id)(store)[method](client)
        return text(failed.value, store)

    for name in ["this-store", "other-store"]:
        client = world.client("acme", name)
        for method in named:
            assert failure(client, "hidden-a", method) == failure(client, "hidden-b", method), (name, method)
    client = world.client("acme", "this-store")
    for method in ("Copy", "Rename"):
        request = getattr(object_service_pb2, f"{method}Request")
        seen = []
        for store in ["hidden-a", "hidden-b"]:
            with pytest.raises(grpc.RpcError) as failed:
                getattr(client.objects, method)(request(
                    source={"store": store, "key": SOURCE}, destination={"key": KEY}))
            seen.append(text(failed.value, store))
        assert seen[0] == seen[1] and seen[0][0] == grpc.StatusCode.PERMISSION_DENIED
