"""BucketService and what GetStore shows, with boto3 as the judge of what S3 says about a bucket."""

import base64
import hashlib

import grpc
import pytest
from botocore.exceptions import ClientError
from longshore.v1 import bucket_service_pb2 as pb
from longshore.v1 import object_service_pb2, store_service_pb2, upload_service_pb2

from test_errors import failure, reason

RULES = [
    {"id": "uploads & more", "allowed_origins": ["https://*.example.com", "http://localhost:8080"],
     "allowed_methods": ["PUT", "POST"], "allowed_headers": ["*"], "expose_headers": ["ETag", "x-amz-version-id"],
     "max_age_seconds": 3000},
    {"allowed_origins": ["*"], "allowed_methods": ["GET", "HEAD"]},
]


def bucket_of(client, store=""):
    return client.buckets.GetBucket(pb.GetBucketRequest(store=store)).bucket


def cors(client, store=""):
    return client.buckets.GetBucketCors(pb.GetBucketCorsRequest(store=store)).rules


def put_cors(client, rules, store=""):
    client.buckets.PutBucketCors(pb.PutBucketCorsRequest(store=store, rules=rules))


def cors_by_boto3(bucket):
    try:
        return bucket.client.get_bucket_cors(Bucket=bucket.bucket)["CORSRules"]
    except ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchCORSConfiguration"
        return []


@pytest.fixture
def client(bucket, serve_store):
    return serve_store({"default": bucket.store()})[1]


def test_a_bucket_is_the_one_that_boto3_sees(bucket, client):
    listed = next(found for found in bucket.client.list_buckets()["Buckets"] if found["Name"] == bucket.bucket)
    found = bucket_of(client)
    assert found.name == bucket.bucket
    # versitygw's response to HeadBucket has the region, its response to GetBucketLocation too.
    assert found.region == bucket.client.head_bucket(Bucket=bucket.bucket)["BucketRegion"]
    assert found.create_time.seconds == int(listed["CreationDate"].timestamp())
    assert found.versioning == pb.BUCKET_VERSIONING_OFF


def test_versioning_is_shown(moto_bucket, serve_store):
    client = serve_store({"default": moto_bucket.store()})[1]
    for status, shown in [("Enabled", pb.BUCKET_VERSIONING_ENABLED), ("Suspended", pb.BUCKET_VERSIONING_SUSPENDED)]:
        moto_bucket.client.put_bucket_versioning(
            Bucket=moto_bucket.bucket, VersioningConfiguration={"Status": status})
        assert bucket_of(client).versioning == shown


def test_a_missing_bucket_and_one_without_access_have_different_reasons(versitygw_bucket, serve_store):
    store = versitygw_bucket.store()
    missing = {**store, "url": "s3://missing-bucket"}
    unknown = {**store, "config": {**store["config"], "access_key_id": "nobody"}}
    client = serve_store({"missing": missing, "unknown": unknown, "default": store})[1]
    assert reason(failure(bucket_of, client, "missing")).reason == "BUCKET_NOT_FOUND"
    assert reason(failure(bucket_of, client, "unknown")).reason == "CREDENTIALS_REJECTED"
    listed = client.buckets.ListBuckets(pb.ListBucketsRequest()).buckets
    assert [(list(found.stores), found.bucket.name, found.failure.reason) for found in listed] == [
        (["default", "unknown"], versitygw_bucket.bucket, ""), (["missing"], "missing-bucket", "BUCKET_NOT_FOUND")]
    assert listed[0].bucket == bucket_of(client) and listed[1].failure.message


def test_buckets_are_listed_page_by_page_each_once(moto, serve_store):
    buckets = [moto.make_bucket(f"page-{number}") for number in range(3)]
    stores = {f"store-{number}-{copy}": bucket.store(f"{copy}/")
              for number, bucket in enumerate(buckets) for copy in "ab"}
    client = serve_store(stores)[1]
    found, token = [], ""
    while True:
        page = client.buckets.ListBuckets(pb.ListBucketsRequest(page_size=2, page_token=token))
        assert len(page.buckets) <= 2
        found, token = [*found, *page.buckets], page.next_page_token
        if not token:
            break
    assert [(list(one.stores), one.bucket.name) for one in found] == [
        ([f"store-{number}-a", f"store-{number}-b"], f"page-{number}") for number in range(3)]
    assert reason(failure(client.buckets.ListBuckets, pb.ListBucketsRequest(page_token="x"))).reason == "INVALID_FIELD"


def test_rules_are_those_that_boto3_sees(bucket, client):
    assert list(cors(client)) == [] == cors_by_boto3(bucket)
    put_cors(client, RULES)
    first, second = cors_by_boto3(bucket)
    assert first["ID"] == "uploads & more" and first["MaxAgeSeconds"] == 3000
    assert (first["AllowedOrigins"], first["AllowedMethods"]) == (RULES[0]["allowed_origins"], ["PUT", "POST"])
    assert (first["AllowedHeaders"], first["ExposeHeaders"]) == (["*"], ["ETag", "x-amz-version-id"])
    assert (second["AllowedOrigins"], second["AllowedMethods"]) == (["*"], ["GET", "HEAD"])
    assert "MaxAgeSeconds" not in second
    assert [pb.CorsRule(**rule) for rule in RULES] == list(cors(client))
    for _ in range(2):
        client.buckets.DeleteBucketCors(pb.DeleteBucketCorsRequest())
        assert list(cors(client)) == [] == cors_by_boto3(bucket)


def test_rules_of_boto3_are_read(bucket, client):
    bucket.client.put_bucket_cors(Bucket=bucket.bucket, CORSConfiguration={"CORSRules": [
        {"AllowedHeaders": ["Authorization"], "AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["*"],
         "ExposeHeaders": ["ETag", "x-amz-request-id"], "MaxAgeSeconds": 3000}]})
    [rule] = cors(client)
    assert (list(rule.allowed_headers), list(rule.allowed_methods)) == (["Authorization"], ["GET", "PUT"])
    assert (list(rule.allowed_origins), rule.max_age_seconds) == (["*"], 3000)


def test_a_wrong_rule_is_named(client):
    wrong = failure(put_cors, client, [RULES[1], {"allowed_origins": ["*"], "allowed_methods": ["PATCH"]}])
    assert wrong.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert reason(wrong).metadata["field"] == "rules[1].allowed_methods[0]"


def test_a_store_with_a_prefix_changes_no_rules_unless_the_operator_allows_it(moto_bucket, serve_store):
    client = serve_store({"part": moto_bucket.store("part/"),
                          "allowed": moto_bucket.store("part/", allow_bucket_cors=True)})[1]
    put_cors(client, RULES, "allowed")
    for call in (lambda: put_cors(client, RULES, "part"),
                 lambda: client.buckets.DeleteBucketCors(pb.DeleteBucketCorsRequest(store="part"))):
        refused = failure(call)
        assert reason(refused).reason == "OPERATION_NOT_SUPPORTED"
        assert "allow_bucket_cors" in refused.details()
    assert len(cors(client, "part")) == len(cors_by_boto3(moto_bucket)) == 2


def caller(name, access, **grant):
    return {"name": name, "token_sha256": hashlib.sha256(name.encode()).hexdigest(), "access": access, **grant}


def test_only_administrators_learn_where_a_store_is(moto_bucket, serve):
    prefix = "secret-prefix/"
    store = moto_bucket.store(prefix, public_endpoint="https://public.example.com")
    callers = [caller("reader", ["read", "list", "write"]), caller("admin", ["bucket_admin"]),
               caller("part", ["bucket_admin"], prefixes=["a/"])]
    server = serve({"acme": {"callers": callers, "stores": {"default": store}}}, AUTH="required")
    shown = {name: server.client("acme", name).stores.GetStore(store_service_pb2.GetStoreRequest()).store
             for name in ["reader", "admin", "part"]}
    admin = shown["admin"]
    assert (admin.bucket, admin.prefix, admin.endpoint) == (moto_bucket.bucket, prefix, moto_bucket.endpoint)
    assert admin.config["public_endpoint"] == "https://public.example.com"
    for name in ["reader", "part"]:
        text = str(shown[name]) + str(server.client("acme", name).stores.ListStores(
            store_service_pb2.ListStoresRequest()))
        for hidden in [moto_bucket.bucket, "secret-prefix", moto_bucket.endpoint, "public.example.com"]:
            assert hidden not in text
        assert shown[name].region == moto_bucket.region
    assert list(server.client("acme", "reader").buckets.ListBuckets(pb.ListBucketsRequest()).buckets) == []


def test_page_tokens_do_not_contain_the_prefix(bucket, serve_store):
    client = serve_store({"default": bucket.store("secret-prefix/")})[1]
    for key in ["a", "b", "c"]:
        client.put(key, b"")
        client.uploads.StartUpload(upload_service_pb2.StartUploadRequest(key=key))
    tokens = [client.list(page_size=1).next_page_token,
              client.objects.ListVersions(object_service_pb2.ListVersionsRequest(page_size=1)).next_page_token,
              client.uploads.ListUploads(upload_service_pb2.ListUploadsRequest(page_size=1)).next_page_token]
    for token in filter(None, tokens):
        decoded = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        assert b"secret" not in decoded and b"prefix" not in decoded
    assert [found.key for found in client.list_all(page_size=1)[0]] == ["a", "b", "c"]

