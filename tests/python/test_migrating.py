"""Every row of docs/MIGRATING.md: the call of boto3 or obstore and Longshore's, on the same bucket, with the same outcome."""

import datetime
import io
import json
import re
import socket
import sys

import boto3
import grpc
import obstore
import pytest
from botocore.exceptions import ClientError
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from longshore.v1 import bucket_service_pb2, object_service_pb2, store_service_pb2

from support import process, stubs
from support.client import MIB
from support.paths import ROOT
from support.wait import eventually
from support.web import post_form, send

PAGE = ROOT / "docs/MIGRATING.md"
LARGE = bytes(range(256)) * (9 * MIB // 256)
TEXT = b"a manifest"


def rows():
    """The first cell of each row of the tables."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [line.split(" | ")[0].removeprefix("| ") for line in lines]
    return [cell for cell in cells if cell.startswith("`")]


CASES = {}


def row(cell):
    """Marks the function that runs the row with this first cell."""

    def add(case):
        assert cell not in CASES
        CASES[cell] = case
        return case

    return add


class World:
    """A bucket, its stores in boto3 and obstore, and a client of Longshore."""

    def __init__(self, bucket, serve, tmp_path):
        self.bucket, self.serve, self.tmp_path = bucket, serve, tmp_path
        self.boto3, self.name = bucket.client, bucket.bucket
        self.session = boto3.Session(
            aws_access_key_id=bucket.access_key_id, aws_secret_access_key=bucket.secret_access_key,
            region_name=bucket.region)
        self.resource = self.session.resource("s3", endpoint_url=bucket.endpoint)
        self.obstore = self.s3_store()
        self.client = self.longshore(bucket.store())

    def s3_store(self, **arguments):
        keys = {"access_key_id": self.bucket.access_key_id, "secret_access_key": self.bucket.secret_access_key}
        if {"credential_provider", "skip_signature"} & arguments.keys():
            keys = {}
        arguments = {"client_options": {"allow_http": True}, **keys, **arguments}
        return obstore.store.S3Store(
            self.name, endpoint=self.bucket.endpoint, region=self.bucket.region, **arguments)

    def longshore(self, store, **settings):
        """A client of a server with this store."""
        return self.serve({"acme": {"stores": {"default": store}}}, **settings).client("acme")

    def place(self, prefix="", **config):
        """A store without credentials."""
        config = {"endpoint": self.bucket.endpoint, "region": self.bucket.region, **config}
        prefix = {"prefix": prefix} if prefix else {}
        return {"bucket": self.name, **prefix, "config": config, "client_options": {"allow_http": True}}

    def file(self, data=LARGE):
        file = self.tmp_path / "file"
        file.write_bytes(data)
        return file


@pytest.fixture
def world(moto_bucket, serve, tmp_path):
    return World(moto_bucket, serve, tmp_path)


@pytest.mark.parametrize("cell", rows())
def test_both_sides_of_the_row_do_the_same(world, cell):
    CASES[cell](world)


def test_no_case_is_left_without_a_row():
    assert sorted(CASES) == sorted(rows())


def same_object(world, key="there", other="here"):
    """Two objects have the same bytes and attributes, as boto3 sees them."""
    one, two = world.bucket.head(key), world.bucket.head(other)
    for name in ("ContentLength", "ETag", "ContentType", "Metadata"):
        assert one.get(name) == two.get(name), name
    assert world.bucket.get(key) == world.bucket.get(other)


def reason(error):
    for detail in rpc_status.from_call(error).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info
    raise AssertionError("the error has no ErrorInfo")


# Clients and settings


@row('`boto3.client("s3", …)`, `boto3.resource("s3", …)`')
def clients(world):
    world.session.client("s3", endpoint_url=world.bucket.endpoint).put_object(
        Bucket=world.name, Key="k", Body=TEXT)
    assert world.resource.Object(world.name, "k").get()["Body"].read() == TEXT
    assert world.client.get("k").data == TEXT


@row("`boto3.Session(profile_name=…)`")
def profile(world):
    keys = world.tmp_path / "credentials"
    keys.write_text(f"[dev-profile]\naws_access_key_id = {world.bucket.access_key_id}\n"
                    f"aws_secret_access_key = {world.bucket.secret_access_key}\n")
    script = ("import boto3, sys\n"
              "client = boto3.Session(profile_name='dev-profile').client('s3', endpoint_url=sys.argv[1], region_name=sys.argv[2])\n"
              "client.put_object(Bucket=sys.argv[3], Key='k', Body=b'a manifest')\n")
    environment = process.bare_environment(AWS_SHARED_CREDENTIALS_FILE=str(keys))
    running = process.start(
        [sys.executable, "-c", script, world.bucket.endpoint, world.bucket.region, world.name], env=environment)
    assert running.wait(60) == 0
    store = {**world.place(), "credential_provider": {
        "type": "profile", "profile": "dev-profile", "shared_credentials_file": str(keys), "config_file": str(keys)}}
    assert world.longshore(store).get("k").data == TEXT


@row("`boto3.Session(aws_access_key_id=…, …)`")
def session(world):
    world.session.client("s3", endpoint_url=world.bucket.endpoint).put_object(Bucket=world.name, Key="k", Body=TEXT)
    store = world.place(access_key_id=world.bucket.access_key_id,
                        secret_access_key=world.bucket.secret_access_key, session_token="session")
    assert world.longshore(store).get("k").data == TEXT


@row("`S3Store(bucket, prefix=…, config=…)`")
def s3_store(world):
    config = {"access_key_id": world.bucket.access_key_id, "secret_access_key": world.bucket.secret_access_key,
              "endpoint": world.bucket.endpoint, "region": world.bucket.region}
    there = obstore.store.S3Store(
        world.name, prefix="inside", config=config, client_options={"allow_http": True})
    obstore.put(there, "k", TEXT)
    here = world.longshore({**world.place("inside"), "config": config})
    assert here.get("k").data == TEXT
    assert world.bucket.keys() == ["inside/k"]


@row("`S3Store.from_url(url)`")
def from_url(world):
    url = f"s3://{world.name}/inside"
    config = {"access_key_id": world.bucket.access_key_id, "secret_access_key": world.bucket.secret_access_key,
              "endpoint": world.bucket.endpoint, "region": world.bucket.region}
    options = {"allow_http": True}
    there = obstore.store.S3Store.from_url(url, config=config, client_options=options)
    obstore.put(there, "k", TEXT)
    here = world.longshore({"url": url, "config": config, "client_options": options})
    assert here.get("k").data == TEXT


@row("`S3Store(client_options=…, retry_config=…)`")
def options(world):
    there = world.s3_store(client_options={"allow_http": True, "timeout": "20s"}, retry_config={"max_retries": 2})
    obstore.put(there, "k", TEXT)
    store = {**world.bucket.store(), "client_options": {"allow_http": True, "timeout": "20s"},
             "retry_config": {"max_retries": 2}}
    assert world.longshore(store).get("k").data == TEXT


@row("`S3Store(credential_provider=…)`")
def callback(world):
    keys = {"access_key_id": world.bucket.access_key_id, "secret_access_key": world.bucket.secret_access_key}
    there = world.s3_store(credential_provider=lambda: {**keys, "expires_at": None})
    obstore.put(there, "k", TEXT)
    file = world.tmp_path / "keys.json"
    file.write_text(json.dumps({"acme/default": keys}))
    [port] = process.free_ports(1)
    running = process.start(
        [sys.executable, ROOT / "examples/credential_provider.py", file, f"localhost:{port}"],
        env=process.bare_environment(TOKEN="example-token-5d41402abc4b2a76", PYTHONPATH=stubs.generate()))
    try:
        def listens():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        eventually("the provider listens", listens, within=15)
        token = world.tmp_path / "token"
        token.write_text("example-token-5d41402abc4b2a76")
        provider = {"type": "grpc", "endpoint": f"http://localhost:{port}", "token_file": str(token)}
        here = world.longshore({**world.place(), "credential_provider": provider})
        assert here.get("k").data == TEXT
    finally:
        process.end(running)


@row("`S3Store(skip_signature=True)`")
def anonymous(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=TEXT, ACL="public-read")
    there = world.s3_store(skip_signature=True)
    assert bytes(obstore.get(there, "k").bytes()) == TEXT
    assert world.longshore(world.place(skip_signature=True)).get("k").data == TEXT


@row("`store.prefix`, `store.config`, `store.client_options`, `store.retry_config`")
def properties(world):
    there = world.s3_store(prefix="inside", retry_config={"max_retries": 2})
    store = {**world.bucket.store("inside"), "retry_config": {"max_retries": 2}}
    stores = world.longshore(store).stores
    here = stores.GetStore(store_service_pb2.GetStoreRequest()).store
    assert here.prefix.rstrip("/") == there.prefix == "inside"
    assert here.region == there.config["region"]
    assert here.endpoint == there.config["endpoint"]
    assert here.client_options["allow_http"] == "true" and there.client_options["allow_http"]
    assert here.retry_config.max_retries == there.retry_config["max_retries"] == 2


# boto3


@row("`client.put_object`")
def put_object(world):
    world.boto3.put_object(
        Bucket=world.name, Key="there", Body=TEXT, ContentType="text/plain", Metadata={"a": "b"})
    world.client.put("here", TEXT, attributes={"content_type": "text/plain", "metadata": {"a": "b"}})
    same_object(world)


@row("`client.get_object`")
def get_object(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=TEXT, ContentType="text/plain")
    there, here = world.boto3.get_object(Bucket=world.name, Key="k"), world.client.get("k")
    assert there["Body"].read() == here.data == TEXT
    assert there["ContentType"] == here.info.attributes.content_type
    assert there["ETag"] == here.info.meta.etag


@row("`client.head_object`, `Object.load`")
def head_object(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=TEXT)
    there, here = world.boto3.head_object(Bucket=world.name, Key="k"), world.client.head("k").meta
    loaded = world.resource.Object(world.name, "k")
    loaded.load()
    assert there["ContentLength"] == loaded.content_length == here.size
    assert there["ETag"] == loaded.e_tag == here.etag
    assert there["LastModified"] == loaded.last_modified
    assert int(there["LastModified"].timestamp()) == here.last_modified.seconds


@row("`client.delete_object`")
def delete_object(world):
    for key in ["there", "here", "kept"]:
        world.client.put(key, b"")
    world.boto3.delete_object(Bucket=world.name, Key="there")
    world.client.delete("here")
    assert world.bucket.keys() == ["kept"]


@row("`client.delete_objects`")
def delete_objects(world):
    for key in ["there/1", "there/2", "here/1", "here/2", "kept"]:
        world.client.put(key, b"")
    there = world.boto3.delete_objects(
        Bucket=world.name, Delete={"Objects": [{"Key": "there/1"}, {"Key": "there/2"}]})
    here = world.client.delete_many(["here/1", "here/2"])
    assert len(there["Deleted"]) == len(here) == 2 and "Errors" not in there
    assert not any(result.HasField("error") for result in here)
    assert world.bucket.keys() == ["kept"]


@row("`client.copy_object`")
def copy_object(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=TEXT, ContentType="text/plain")
    world.boto3.copy_object(Bucket=world.name, Key="there", CopySource={"Bucket": world.name, "Key": "k"})
    world.client.copy("k", "here")
    same_object(world)


@row("`client.copy`")
def copy(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=LARGE, ContentType="text/plain")
    world.boto3.copy({"Bucket": world.name, "Key": "k"}, world.name, "there")
    world.client.copy("k", "here")
    assert world.bucket.get("there") == world.bucket.get("here") == LARGE


KEYS = ["a/1", "a/2", "a/b/3", "c"]


def fill(world):
    for key in KEYS:
        world.boto3.put_object(Bucket=world.name, Key=key, Body=key.encode())


@row("`client.list_objects_v2`")
def list_objects(world):
    fill(world)
    there = world.boto3.list_objects_v2(Bucket=world.name, Prefix="a/", Delimiter="/", MaxKeys=10)
    here = world.client.list(prefix="a/", delimiter="/", page_size=10)
    assert [found["Key"] for found in there["Contents"]] == [found.key for found in here.objects] == ["a/1", "a/2"]
    assert [found["ETag"] for found in there["Contents"]] == [found.etag for found in here.objects]
    assert [found["Prefix"] for found in there["CommonPrefixes"]] == list(here.common_prefixes) == ["a/b/"]


@row('`client.get_paginator("list_objects_v2")`')
def paginator(world):
    fill(world)
    there = world.bucket.keys(Prefix="a/", PaginationConfig={"PageSize": 1})
    assert there == [found.key for found in world.client.walk(prefix="a/")] == KEYS[:3]


@row("`client.upload_file`, `Bucket.upload_file`, `Object.upload_file`")
def upload_file(world):
    file = world.file()
    world.boto3.upload_file(str(file), world.name, "there")
    world.resource.Bucket(world.name).upload_file(str(file), "bucket")
    world.resource.Object(world.name, "object").upload_file(str(file))
    with file.open("rb") as opened:
        world.client.upload("here", iter(lambda: opened.read(MIB), b""), size=len(LARGE))
    for key in ["there", "bucket", "object", "here"]:
        assert world.bucket.get(key) == LARGE


@row("`client.upload_fileobj`")
def upload_fileobj(world):
    world.boto3.upload_fileobj(io.BytesIO(LARGE), world.name, "there")
    opened = io.BytesIO(LARGE)
    world.client.upload("here", iter(lambda: opened.read(MIB), b""))
    assert world.bucket.get("there") == world.bucket.get("here") == LARGE


@row("`client.download_file`, `Bucket.download_file`, `Object.download_file`")
def download_file(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=LARGE)
    files = [world.tmp_path / name for name in ["there", "bucket", "object", "here"]]
    world.boto3.download_file(world.name, "k", str(files[0]))
    world.resource.Bucket(world.name).download_file("k", str(files[1]))
    world.resource.Object(world.name, "k").download_file(str(files[2]))
    with files[3].open("wb") as opened:
        for message in world.client.objects.Get(object_service_pb2.GetRequest(key="k")):
            opened.write(message.chunk.data)
    assert all(file.read_bytes() == LARGE for file in files)


@row("`client.download_fileobj`")
def download_fileobj(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=LARGE)
    there, here = io.BytesIO(), io.BytesIO()
    world.boto3.download_fileobj(world.name, "k", there)
    for message in world.client.objects.Get(object_service_pb2.GetRequest(key="k")):
        here.write(message.chunk.data)
    assert there.getvalue() == here.getvalue() == LARGE


def tagged(world, key):
    answer = world.boto3.get_object_tagging(Bucket=world.name, Key=key)
    return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}


def tags_here(world, key):
    return dict(world.client.objects.GetTags(object_service_pb2.GetTagsRequest(key=key)).tags)


@row("`client.get_object_tagging`")
def get_tags(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=TEXT, Tagging="team=harbour&berth=12")
    assert tagged(world, "k") == tags_here(world, "k") == {"team": "harbour", "berth": "12"}


@row("`client.put_object_tagging`")
def put_tags(world):
    for key in ["there", "here"]:
        world.client.put(key, TEXT, tags={"old": "tag"})
    world.boto3.put_object_tagging(
        Bucket=world.name, Key="there", Tagging={"TagSet": [{"Key": "team", "Value": "harbour"}]})
    world.client.objects.PutTags(object_service_pb2.PutTagsRequest(key="here", tags={"team": "harbour"}))
    assert tagged(world, "there") == tagged(world, "here") == {"team": "harbour"}


@row("`client.delete_object_tagging`")
def delete_tags(world):
    for key in ["there", "here"]:
        world.client.put(key, TEXT, tags={"old": "tag"})
    world.boto3.delete_object_tagging(Bucket=world.name, Key="there")
    world.client.objects.DeleteTags(object_service_pb2.DeleteTagsRequest(key="here"))
    assert tagged(world, "there") == tagged(world, "here") == {}


@row("`client.list_object_versions`")
def list_versions(world):
    world.boto3.put_bucket_versioning(Bucket=world.name, VersioningConfiguration={"Status": "Enabled"})
    for data in [b"1", b"2"]:
        world.client.put("k", data)
    world.client.delete("k")
    answer = world.boto3.list_object_versions(Bucket=world.name)
    there = {found["VersionId"] for found in answer["Versions"] + answer["DeleteMarkers"]}
    page = world.client.objects.ListVersions(object_service_pb2.ListVersionsRequest())
    walked = world.client.objects.WalkVersions(object_service_pb2.WalkVersionsRequest())
    assert there == {found.meta.version for found in page.versions} and len(there) == 3
    assert there == {found.meta.version for message in walked for found in message.versions}


@row("`client.head_bucket`, `Bucket.load`")
def load_bucket(world):
    there = world.resource.Bucket(world.name)
    there.load()
    here = world.client.buckets.GetBucket(bucket_service_pb2.GetBucketRequest()).bucket
    assert (here.name, here.create_time.seconds) == (there.name, int(there.creation_date.timestamp()))
    assert here.region == world.boto3.head_bucket(Bucket=world.name)["BucketRegion"]
    missing = world.longshore({**world.bucket.store(), "url": "s3://missing-bucket"})
    with pytest.raises(ClientError) as there:
        world.boto3.head_bucket(Bucket="missing-bucket")
    with pytest.raises(grpc.RpcError) as here:
        missing.buckets.GetBucket(bucket_service_pb2.GetBucketRequest())
    assert (there.value.response["Error"]["Code"], reason(here.value).reason) == ("404", "BUCKET_NOT_FOUND")


@row("`client.list_buckets`")
def list_buckets(world):
    there = {found["Name"]: int(found["CreationDate"].timestamp()) for found in world.boto3.list_buckets()["Buckets"]}
    [here] = world.client.buckets.ListBuckets(bucket_service_pb2.ListBucketsRequest()).buckets
    assert there[here.bucket.name] == here.bucket.create_time.seconds


def cors_here(world):
    return list(world.client.buckets.GetBucketCors(bucket_service_pb2.GetBucketCorsRequest()).rules)


@row("`client.get_bucket_cors`")
def get_bucket_cors(world):
    with pytest.raises(ClientError) as missing:
        world.boto3.get_bucket_cors(Bucket=world.name)
    assert missing.value.response["Error"]["Code"] == "NoSuchCORSConfiguration"
    assert cors_here(world) == []
    world.boto3.put_bucket_cors(Bucket=world.name, CORSConfiguration={
        "CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "MaxAgeSeconds": 3000}]})
    [there] = world.boto3.get_bucket_cors(Bucket=world.name)["CORSRules"]
    [here] = cors_here(world)
    assert there["AllowedMethods"] == list(here.allowed_methods) == ["GET"]
    assert there["MaxAgeSeconds"] == here.max_age_seconds


@row("`client.put_bucket_cors`")
def put_bucket_cors(world):
    world.boto3.put_bucket_cors(Bucket=world.name, CORSConfiguration={
        "CORSRules": [{"AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["*"], "ExposeHeaders": ["ETag"]}]})
    there = world.boto3.get_bucket_cors(Bucket=world.name)["CORSRules"]
    world.boto3.delete_bucket_cors(Bucket=world.name)
    world.client.buckets.PutBucketCors(bucket_service_pb2.PutBucketCorsRequest(rules=[
        {"allowed_methods": ["GET", "PUT"], "allowed_origins": ["*"], "expose_headers": ["ETag"]}]))
    assert world.boto3.get_bucket_cors(Bucket=world.name)["CORSRules"] == there


@row("`client.delete_bucket_cors`")
def delete_bucket_cors(world):
    for delete in (lambda: world.boto3.delete_bucket_cors(Bucket=world.name),
                   lambda: world.client.buckets.DeleteBucketCors(bucket_service_pb2.DeleteBucketCorsRequest())):
        world.boto3.put_bucket_cors(Bucket=world.name, CORSConfiguration={
            "CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]})
        delete()
        assert cors_here(world) == []


@row("`client.restore_object`")
def restore(world):
    for key in ["there", "here"]:
        world.boto3.put_object(Bucket=world.name, Key=key, Body=TEXT, StorageClass="GLACIER")
    world.boto3.restore_object(Bucket=world.name, Key="there", RestoreRequest={"Days": 2})
    world.client.objects.Restore(object_service_pb2.RestoreRequest(key="here", days=2))
    assert "Restore" in world.bucket.head("there") and "Restore" in world.bucket.head("here")


def sign(world, method, key, **fields):
    request = object_service_pb2.SignRequest(
        method=f"SIGN_METHOD_{method}", keys=[key], expires_in={"seconds": 60}, **fields)
    [signed] = world.client.objects.Sign(request).urls
    return signed


@row("`client.generate_presigned_url`")
def presigned_url(world):
    there = world.boto3.generate_presigned_url(
        "put_object", Params={"Bucket": world.name, "Key": "there", "ContentType": "text/plain"}, ExpiresIn=60)
    here = sign(world, "PUT", "here", write={"attributes": {"content_type": "text/plain"}})
    for url, headers in [(there, {"content-type": "text/plain"}), (here.url, here.headers)]:
        assert send("PUT", url, headers, TEXT).status == 200
    same_object(world)
    there = world.boto3.generate_presigned_url("get_object", Params={"Bucket": world.name, "Key": "here"}, ExpiresIn=60)
    assert send("GET", there).body == send("GET", sign(world, "GET", "there").url).body == TEXT


@row("`client.generate_presigned_post`")
def presigned_post(world):
    there = world.boto3.generate_presigned_post(world.name, "there", ExpiresIn=60)
    here = world.client.objects.SignPost(object_service_pb2.SignPostRequest(key="here", expires_in={"seconds": 60}))
    assert here.url == there["url"]
    assert post_form(there["url"], there["fields"].items(), TEXT).status == 204
    assert post_form(here.url, [(field.name, field.value) for field in here.fields], TEXT).status == 204
    same_object(world)


@row('`ClientError`, `e.response["Error"]["Code"]`')
def errors(world):
    with pytest.raises(ClientError) as there:
        world.boto3.get_object(Bucket=world.name, Key="missing")
    with pytest.raises(grpc.RpcError) as here:
        world.client.get("missing")
    assert here.value.code() == grpc.StatusCode.NOT_FOUND
    info = reason(here.value)
    assert info.reason == "OBJECT_NOT_FOUND"
    assert info.metadata["s3_code"] == there.value.response["Error"]["Code"] == "NoSuchKey"


# obstore


@row("`obstore.put`")
def obstore_put(world):
    obstore.put(world.obstore, "there", TEXT)
    world.client.put("here", TEXT)
    assert world.bucket.get("there") == world.bucket.get("here") == TEXT
    obstore.put(world.obstore, "there", io.BytesIO(LARGE))
    world.client.upload("here", [LARGE[:MIB], LARGE[MIB:2 * MIB], *[LARGE[MIB * n:MIB * (n + 1)] for n in range(2, 9)]])
    assert world.bucket.get("there") == world.bucket.get("here") == LARGE


@row('`obstore.put(mode="create")`')
def obstore_create(world):
    obstore.put(world.obstore, "k", TEXT, mode="create")
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(world.obstore, "k", b"other", mode="create")
    with pytest.raises(grpc.RpcError) as here:
        world.client.put("k", b"other", mode={"create": {}})
    assert reason(here.value).reason == "ALREADY_EXISTS"
    assert world.bucket.get("k") == TEXT


@row('`obstore.put(mode={"e_tag": …})`')
def obstore_update(world):
    etag = world.client.put("k", b"1").etag
    obstore.put(world.obstore, "k", b"2", mode={"e_tag": etag})
    with pytest.raises(obstore.exceptions.PreconditionError):
        obstore.put(world.obstore, "k", b"3", mode={"e_tag": etag})
    with pytest.raises(grpc.RpcError) as here:
        world.client.put("k", b"3", mode={"update": {"etag": etag}})
    assert here.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    etag = world.client.head("k").meta.etag
    world.client.put("k", b"3", mode={"update": {"etag": etag}})
    assert world.bucket.get("k") == b"3"


@row("`obstore.get`")
def obstore_get(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=LARGE)
    there, here = obstore.get(world.obstore, "k"), world.client.get("k")
    assert there.meta["e_tag"] == here.info.meta.etag
    assert there.meta["size"] == here.info.meta.size == len(LARGE)
    assert bytes(there.bytes()) == here.data == LARGE


@row('`obstore.get(options={"range": …})`')
def obstore_get_options(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=TEXT)
    for there, here, data in [((2, 5), {"bounded": {"start": 2, "end": 5}}, TEXT[2:5]),
                              ({"offset": 4}, {"offset": 4}, TEXT[4:]), ({"suffix": 3}, {"suffix": 3}, TEXT[-3:])]:
        assert bytes(obstore.get(world.obstore, "k", options={"range": there}).bytes()) == data
        assert world.client.get("k", range=here).data == data


@row("`obstore.get_range`")
def obstore_get_range(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=TEXT)
    there = bytes(obstore.get_range(world.obstore, "k", start=2, end=5))
    assert there == world.client.get("k", range={"bounded": {"start": 2, "end": 5}}).data == TEXT[2:5]


@row("`obstore.get_ranges`")
def obstore_get_ranges(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=LARGE)
    starts, ends = [5 * MIB, 0, 10], [5 * MIB + 7, 4, 20]
    there = obstore.get_ranges(world.obstore, "k", starts=starts, ends=ends)
    ranges = [{"bounded": {"start": start, "end": end}} for start, end in zip(starts, ends)]
    here = world.client.get_ranges("k", ranges)
    assert [bytes(data) for data in there] == here == [LARGE[start:end] for start, end in zip(starts, ends)]


@row("`obstore.head`")
def obstore_head(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=TEXT)
    there, here = obstore.head(world.obstore, "k"), world.client.head("k").meta
    assert (there["path"], there["size"], there["e_tag"]) == (here.key, here.size, here.etag)
    assert int(there["last_modified"].timestamp()) == here.last_modified.seconds


@row("`obstore.list`")
def obstore_list(world):
    fill(world)
    there = obstore.list(world.obstore, prefix="a").collect()
    here = world.client.walk(prefix="a/")
    assert [found["path"] for found in there] == [found.key for found in here] == KEYS[:3]


@row("`obstore.list_with_delimiter`")
def obstore_list_with_delimiter(world):
    fill(world)
    there = obstore.list_with_delimiter(world.obstore, prefix="a")
    here = world.client.list(prefix="a/", delimiter="/")
    assert [found["path"] for found in there["objects"]] == [found.key for found in here.objects] == KEYS[:2]
    assert [f"{prefix}/" for prefix in there["common_prefixes"]] == list(here.common_prefixes) == ["a/b/"]


@row("`obstore.copy`")
def obstore_copy(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=TEXT, ContentType="text/plain")
    obstore.copy(world.obstore, "k", "there")
    world.client.copy("k", "here")
    same_object(world)


@row("`obstore.copy(overwrite=False)`")
def obstore_copy_if_not_exists(world):
    world.boto3.put_object(Bucket=world.name, Key="k", Body=TEXT)
    world.boto3.put_object(Bucket=world.name, Key="taken", Body=b"kept")
    there = world.s3_store(config={"copy_if_not_exists": "multipart"})
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.copy(there, "k", "taken", overwrite=False)
    with pytest.raises(grpc.RpcError) as here:
        world.client.copy("k", "taken", mode={"create": {}})
    assert reason(here.value).reason == "ALREADY_EXISTS"
    assert world.bucket.get("taken") == b"kept"


@row("`obstore.rename`")
def obstore_rename(world):
    for key in ["1", "2"]:
        world.boto3.put_object(Bucket=world.name, Key=key, Body=TEXT)
    obstore.rename(world.obstore, "1", "there")
    world.client.rename("2", "here")
    assert sorted(world.bucket.keys()) == ["here", "there"]
    same_object(world)


@row("`obstore.delete`")
def obstore_delete(world):
    for key in ["there/1", "there/2", "there/3", "here/1", "here/2", "here/3"]:
        world.boto3.put_object(Bucket=world.name, Key=key, Body=b"")
    obstore.delete(world.obstore, "there/1")
    obstore.delete(world.obstore, ["there/2", "there/3"])
    world.client.delete("here/1")
    world.client.delete_many(["here/2", "here/3"])
    assert world.bucket.keys() == []


@row("`obstore.sign`")
def obstore_sign(world):
    minute = datetime.timedelta(seconds=60)
    assert send("PUT", obstore.sign(world.obstore, "PUT", "there", minute), body=TEXT).status == 200
    assert send("PUT", sign(world, "PUT", "here").url, body=TEXT).status == 200
    same_object(world)
    [there] = obstore.sign(world.obstore, "GET", ["here"], minute)
    assert send("GET", there).body == send("GET", sign(world, "GET", "there").url).body == TEXT
