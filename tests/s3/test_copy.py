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
def test_everything_comes_along(on):
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
    on.get_object("copied all the same", Key="to").says(ContentType="text/plain", Metadata={"a": "b"})
    copy(on, "replace by nothing", MetadataDirective="REPLACE")
    on.get_object("replaced by nothing", Key="to").says(
        ContentType="binary/octet-stream", Metadata={}, CacheControl=None)
    on.get_object_tagging("tags come along all the same", Key="to").says(TagSet=TAGS)
    copy(on, "another directive", MetadataDirective="MERGE").refuses(400, "InvalidArgument")


@case()
def test_tagging_directives(on):
    put(on)
    copy(on, "replace", TaggingDirective="REPLACE", Tagging="y=2&z=3")
    on.get_object_tagging("replaced", Key="to").says(
        TagSet=[{"Key": "y", "Value": "2"}, {"Key": "z", "Value": "3"}])
    copy(on, "copy", TaggingDirective="COPY", Tagging="y=2")
    on.get_object_tagging("copied", Key="to").says(TagSet=TAGS)
    copy(on, "replace by nothing", TaggingDirective="REPLACE")
    on.get_object_tagging("replaced by nothing", Key="to").says(TagSet=None)
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
    """"Consider the following" below x-amz-copy-source-if-match: the ETag decides over the date."""
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
        "modified since it was made": {"CopySourceIfModifiedSince": modified},
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
    """Those of a write, and github.com/localstack/localstack, test_copy_object_precondition_write_validation.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """
    etag = put(on)
    copy(on, "create", IfNoneMatch="*").says(status=200)
    copy(on, "create again", IfNoneMatch="*").refuses(412, "PreconditionFailed")
    copy(on, "replace", IfMatch=etag, MetadataDirective="REPLACE").says(status=200)
    copy(on, "replace another", IfMatch=OTHER).refuses(412, "PreconditionFailed")
    on.head_object("the last that went through", Key="to").says(status=200, Metadata={})
    copy(on, "unless an ETag", IfNoneMatch=etag).refuses(501, "NotImplemented")
    copy(on, "if there is any", IfMatch="*").refuses(501, "NotImplemented")
    copy(on, "both", IfMatch=etag, IfNoneMatch="*").refuses(501, "NotImplemented")
    copy(on, "replace nothing", key="nothing", IfMatch=etag).refuses(404, "NoSuchKey")
    on.head_object("nothing came of it", Key="nothing").refuses(404, "404")


@case()
def test_sixteen_creators(on):
    put(on)
    on.race("all at once", "copy_object", [
        {"Key": "to", "CopySource": {"Bucket": on.bucket, "Key": "from"}, "IfNoneMatch": "*"} for _ in range(16)]).says(
        **{"200": 1, "412 PreconditionFailed": 15})


@case()
def test_sources_that_are_none(on):
    put(on)
    copy(on, "no such key", source="nothing").refuses(404, "NoSuchKey")
    on.copy_object("no such bucket", Key="to", CopySource={"Bucket": "no-such-bucket-here", "Key": "k"}).refuses(
        404, "NoSuchBucket")
    on.http("no key", "PUT", "to", headers={"x-amz-copy-source": f"/{on.bucket}"}).refuses(400, "InvalidArgument")
    on.head_object("nothing came of it", Key="to").refuses(404, "404")


@case()
def test_from_another_bucket(on):
    other = on.new_bucket("other")
    put(other)
    on.copy_object("copy", Key="to", CopySource={"Bucket": other.bucket, "Key": "from"}).says(status=200)
    on.get_object("get", Key="to").says(Body=BODY, Metadata={"a": "b"})


@case()
def test_how_a_source_is_written(on):
    """URL-encoded, with or without a slash before."""
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
def test_of_what_came_by_parts(on):
    upload = Upload(on, "from", ContentType="text/plain", Metadata={"a": "b"})
    upload.part(1, FIRST)
    upload.part(2, LAST)
    upload.complete()
    copy(on, "copy").says(status=200)
    # The copy is one piece: github.com/localstack/localstack, test_multipart_copy_object_etag.
    on.get_object("get", Key="to").says(
        ContentLength=len(FIRST + LAST), ContentType="text/plain", Metadata={"a": "b"},
        ETag=f'"{hashlib.md5(FIRST + LAST).hexdigest()}"')
    on.head_object("its first part is all of it", Key="to", PartNumber=1).says(
        status=206, ContentLength=len(FIRST + LAST))
    copy(on, "with other metadata", MetadataDirective="REPLACE", Metadata={"new": "yes"})
    on.head_object("head", Key="to").says(ContentLength=len(FIRST + LAST), Metadata={"new": "yes"})


@case()
def test_of_an_empty_object(on):
    on.put_object("put", Key="from", Body=b"")
    copy(on, "copy").says(status=200)
    on.head_object("head", Key="to").says(ContentLength=0)
