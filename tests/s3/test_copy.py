"""Copies.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
"""

import datetime
import hashlib

from comparing.cases import case
from comparing.uploads import FIRST, LAST, Upload

SECOND = datetime.timedelta(seconds=1)
OTHER = '"d41d8cd98f00b204e9800998ecf8427e"'
BODY = b"harbour"
TAGS = [{"Key": "x", "Value": "1"}]


def put(on, key="from", **arguments):
    return on.put_object(f"put {key}", Key=key, Body=BODY, ContentType="text/plain", CacheControl="no-cache",
                         Metadata={"a": "b"}, Tagging="x=1", **arguments)["ETag"]


def copy(on, step, key="to", source="from", **arguments):
    return on.copy_object(step, Key=key, CopySource={"Bucket": on.bucket, "Key": source}, **arguments)


@case()
def test_copies_everything(on):
    etag = put(on)
    copied = copy(on, "copy").says(status=200)
    on.note("its ETag", etag=copied["CopyObjectResult"]["ETag"]).says(etag=etag)
    on.get_object("get", Key="to").says(
        Body=BODY, ETag=etag, ContentType="text/plain", CacheControl="no-cache", Metadata={"a": "b"})
    on.get_object_tagging("tags", Key="to").says(TagSet=TAGS)
    on.get_object("the source stays", Key="from").says(Body=BODY)


@case()
def test_metadata_directives(on):
    put(on)
    given = {"ContentType": "text/html", "Metadata": {"new": "yes"}, "ContentLanguage": "de"}
    copy(on, "replace", MetadataDirective="REPLACE", **given)
    on.get_object("replaced", Key="to").says(Body=BODY, CacheControl=None, **given)
    copy(on, "copy", MetadataDirective="COPY", **given)
    on.get_object("copied", Key="to").says(
        ContentType="text/plain", Metadata={"a": "b"}, CacheControl="no-cache", ContentLanguage=None)
    copy(on, "given without a directive", **given)
    on.get_object("still copied", Key="to").says(ContentType="text/plain", Metadata={"a": "b"})
    copy(on, "replace with nothing", MetadataDirective="REPLACE")
    on.get_object("replaced with nothing", Key="to").says(
        ContentType="binary/octet-stream", Metadata={}, CacheControl=None)
    on.get_object_tagging("tags are still copied", Key="to").says(TagSet=TAGS)
    copy(on, "another directive", MetadataDirective="MERGE").refuses(400, "InvalidArgument")


@case()
def test_tagging_directives(on):
    put(on)
    copy(on, "replace", TaggingDirective="REPLACE", Tagging="y=2&z=3")
    on.get_object_tagging("replaced", Key="to").says(
        TagSet=[{"Key": "y", "Value": "2"}, {"Key": "z", "Value": "3"}])
    copy(on, "copy", TaggingDirective="COPY", Tagging="y=2")
    on.get_object_tagging("copied", Key="to").says(TagSet=TAGS)
    copy(on, "replace with nothing", TaggingDirective="REPLACE")
    on.get_object_tagging("replaced with nothing", Key="to").says(TagSet=None)
    copy(on, "another directive", TaggingDirective="MERGE").refuses(400, "InvalidArgument")


@case()
def test_onto_itself(on):
    put(on)
    copy(on, "unchanged", key="from").refuses(400, "InvalidRequest")
    copy(on, "with other metadata", key="from", MetadataDirective="REPLACE", Metadata={"new": "yes"}).says(status=200)
    on.get_object("get", Key="from").says(Body=BODY, Metadata={"new": "yes"}, CacheControl=None)
    # github.com/localstack/localstack, test_s3_copy_object_in_place_storage_class
    copy(on, "with its class named", key="from", StorageClass="STANDARD").says(status=200)
    copy(on, "with another class", key="from", StorageClass="STANDARD_IA").says(status=200)
    on.head_object("head", Key="from").says(StorageClass="STANDARD_IA", Metadata={"new": "yes"})


@case()
def test_if_the_source_matches(on):
    """"Consider the following" below x-amz-copy-source-if-match: the ETag takes precedence over the date."""
    etag = put(on)
    modified = on.head_object("head", Key="from")["LastModified"]
    before = modified - SECOND
    given = {
        "its ETag": {"CopySourceIfMatch": etag},
        "not another ETag": {"CopySourceIfNoneMatch": OTHER},
        "modified since": {"CopySourceIfModifiedSince": before},
        "not modified since": {"CopySourceIfUnmodifiedSince": modified},
        "its ETag, yet modified since": {"CopySourceIfMatch": etag, "CopySourceIfUnmodifiedSince": before},
    }
    failed = {
        "another ETag": {"CopySourceIfMatch": OTHER},
        "not its ETag": {"CopySourceIfNoneMatch": etag},
        "modified since it was created": {"CopySourceIfModifiedSince": modified},
        "not modified since the second before": {"CopySourceIfUnmodifiedSince": before},
        "not its ETag, yet modified since": {"CopySourceIfNoneMatch": etag, "CopySourceIfModifiedSince": before},
    }
    for step, conditions in given.items():
        copy(on, step, key=step, **conditions).says(status=200)
    for step, conditions in failed.items():
        copy(on, step, key=step, **conditions).refuses(412, "PreconditionFailed")
        on.head_object(f"head of {step}", Key=step).refuses(404, "404")


@case()
def test_if_the_destination_matches(on):
    """The conditions of a write, and github.com/localstack/localstack, test_copy_object_precondition_write_validation.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """
    etag = put(on)
    copy(on, "create", IfNoneMatch="*").says(status=200)
    copy(on, "create again", IfNoneMatch="*").refuses(412, "PreconditionFailed")
    copy(on, "replace", IfMatch=etag, MetadataDirective="REPLACE").says(status=200)
    copy(on, "replace another", IfMatch=OTHER).refuses(412, "PreconditionFailed")
    on.head_object("the last successful copy", Key="to").says(status=200, Metadata={})
    copy(on, "If-None-Match with an ETag", IfNoneMatch=etag).refuses(501, "NotImplemented")
    copy(on, "If-Match with a star", IfMatch="*").refuses(501, "NotImplemented")
    copy(on, "both conditions", IfMatch=etag, IfNoneMatch="*").refuses(501, "NotImplemented")
    copy(on, "replace nothing", key="nothing", IfMatch=etag).refuses(404, "NoSuchKey")
    on.head_object("nothing was stored", Key="nothing").refuses(404, "404")


@case()
def test_sixteen_concurrent_creates(on):
    put(on)
    on.race("all concurrently", "copy_object", [
        {"Key": "to", "CopySource": {"Bucket": on.bucket, "Key": "from"}, "IfNoneMatch": "*"} for _ in range(16)]).says(
        **{"200": 1, "412 PreconditionFailed": 15})


@case()
def test_invalid_sources(on):
    put(on)
    copy(on, "no such key", source="nothing").refuses(404, "NoSuchKey")
    on.copy_object("no such bucket", Key="to", CopySource={"Bucket": "no-such-bucket-here", "Key": "k"}).refuses(
        404, "NoSuchBucket")
    on.http("no key", "PUT", "to", headers={"x-amz-copy-source": f"/{on.bucket}"}).refuses(400, "InvalidArgument")
    on.head_object("nothing was stored", Key="to").refuses(404, "404")


@case()
def test_from_another_bucket(on):
    other = on.new_bucket("other")
    put(other)
    on.copy_object("copy", Key="to", CopySource={"Bucket": other.bucket, "Key": "from"}).says(status=200)
    on.get_object("get", Key="to").says(Body=BODY, Metadata={"a": "b"})


@case()
def test_encoding_of_the_source(on):
    """URL-encoded, with or without a leading slash."""
    for key in ("a+b", "a b", "a%2Bb", "ä/€", "a/b"):
        on.put_object(f"put {key}", Key=key, Body=key.encode())
    written = {"a%2Bb": "a+b", "a%20b": "a b", "a%252Bb": "a%2Bb", "%C3%A4/%E2%82%AC": "ä/€", "a/b": "a/b",
               "a%2Fb": "a/b"}
    for source, key in written.items():
        for slash in ("", "/"):
            step = f"{slash}{source}"
            on.http(f"copy {step}", "PUT", "to", headers={"x-amz-copy-source": f"{slash}{on.bucket}/{source}"}).says(
                status=200)
            on.get_object(f"get {step}", Key="to").says(Body=key.encode())


@case()
def test_copy_of_a_multipart_object(on):
    upload = Upload(on, "from", ContentType="text/plain", Metadata={"a": "b"})
    upload.part(1, FIRST)
    upload.part(2, LAST)
    upload.complete()
    copy(on, "copy").says(status=200)
    # The copy has no parts: github.com/localstack/localstack, test_multipart_copy_object_etag.
    on.get_object("get", Key="to").says(
        ContentLength=len(FIRST + LAST), ContentType="text/plain", Metadata={"a": "b"},
        ETag=f'"{hashlib.md5(FIRST + LAST).hexdigest()}"')
    on.head_object("its first part is the whole object", Key="to", PartNumber=1).says(
        status=206, ContentLength=len(FIRST + LAST))
    copy(on, "with other metadata", MetadataDirective="REPLACE", Metadata={"new": "yes"})
    on.head_object("head", Key="to").says(ContentLength=len(FIRST + LAST), Metadata={"new": "yes"})


@case()
def test_copy_of_an_empty_object(on):
    on.put_object("put", Key="from", Body=b"")
    copy(on, "copy").says(status=200)
    on.head_object("head", Key="to").says(ContentLength=0)
