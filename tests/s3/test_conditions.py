"""Conditional reads, writes and deletions.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
"""

import datetime

from comparing.cases import case

BODY = b"harbour"
OTHER = '"d41d8cd98f00b204e9800998ecf8427e"'
SECOND = datetime.timedelta(seconds=1)


def put(on, key="k", body=BODY):
    """Puts a new object. Returns its ETag and date."""
    etag = on.put_object(f"put {key}", Key=key, Body=body)["ETag"]
    return etag, on.head_object(f"head {key}", Key=key)["LastModified"]


def both(on, step, **conditions):
    """Get and Head behave alike, but Head has no error code other than its status."""
    return (on.get_object(f"get, {step}", Key="k", **conditions),
            on.head_object(f"head, {step}", Key="k", **conditions))


def given(on, step, **conditions):
    for answer in both(on, step, **conditions):
        answer.says(status=200, code=None)


def not_modified(on, step, etag, **conditions):
    for answer in both(on, step, **conditions):
        answer.says(status=304, code="304", ETag=etag)


def failed(on, step, **conditions):
    got, head = both(on, step, **conditions)
    got.refuses(412, "PreconditionFailed")
    head.refuses(412, "412")


@case()
def test_if_match(on):
    etag, _ = put(on)
    given(on, "its ETag", IfMatch=etag)
    given(on, "its ETag without quotes", IfMatch=etag.strip('"'))
    given(on, "any", IfMatch="*")
    given(on, "a list with its ETag", IfMatch=f"{OTHER}, {etag}")
    failed(on, "another ETag", IfMatch=OTHER)
    failed(on, "a list without its ETag", IfMatch=f'{OTHER}, "x"')


@case()
def test_if_none_match(on):
    etag, _ = put(on)
    not_modified(on, "its ETag", etag, IfNoneMatch=etag)
    not_modified(on, "any", etag, IfNoneMatch="*")
    not_modified(on, "a list with its ETag", etag, IfNoneMatch=f"{OTHER}, {etag}")
    not_modified(on, "its ETag, weak", etag, IfNoneMatch=f"W/{etag}")
    given(on, "another ETag", IfNoneMatch=OTHER)
    given(on, "a list without its ETag", IfNoneMatch=f'{OTHER}, "x"')


@case()
def test_dates(on):
    etag, modified = put(on)
    not_modified(on, "since it was created", etag, IfModifiedSince=modified)
    given(on, "since the second before", IfModifiedSince=modified - SECOND)
    given(on, "not since it was created", IfUnmodifiedSince=modified)
    given(on, "not since a second later", IfUnmodifiedSince=modified + SECOND)
    failed(on, "not since the second before", IfUnmodifiedSince=modified - SECOND)


@case()
def test_future_dates(on):
    """S3 ignores them: github.com/localstack/localstack, test_s3_get_object_preconditions."""
    _, modified = put(on)
    given(on, "since tomorrow", IfModifiedSince=modified + datetime.timedelta(days=1))


@case(also="Condition")
def test_the_error_names_the_condition(on):
    """The element `Condition`: github.com/localstack/localstack, test_s3_get_object_preconditions."""
    etag, modified = put(on)
    on.get_object("get", Key="k", IfMatch=OTHER).says(Condition="If-Match")
    on.get_object("get by date", Key="k", IfUnmodifiedSince=modified - SECOND).says(Condition="If-Unmodified-Since")
    on.put_object("put", Key="k", Body=b"2", IfNoneMatch="*").says(Condition="If-None-Match")
    on.copy_object("copy", Key="k2", CopySource={"Bucket": on.bucket, "Key": "k"}, CopySourceIfNoneMatch=etag).says(
        Condition="x-amz-copy-source-If-None-Match")


@case()
def test_precedence(on):
    """The ETag takes precedence over the date: notes on If-Match and If-None-Match in API_GetObject.html."""
    etag, modified = put(on)
    before = modified - SECOND
    given(on, "its ETag, yet modified since", IfMatch=etag, IfUnmodifiedSince=before)
    failed(on, "another ETag, yet not modified since", IfMatch=OTHER, IfUnmodifiedSince=modified)
    not_modified(on, "If-None-Match: its ETag, yet modified since", etag, IfNoneMatch=etag, IfModifiedSince=before)
    given(on, "If-None-Match: another ETag, yet not modified since", IfNoneMatch=OTHER, IfModifiedSince=modified)
    not_modified(on, "If-Match and If-None-Match both hold its ETag", etag, IfMatch=etag, IfNoneMatch=etag)
    failed(on, "If-Match another ETag, If-None-Match its ETag", IfMatch=OTHER, IfNoneMatch=etag)
    not_modified(on, "its ETag, and not modified since", etag, IfMatch=etag, IfModifiedSince=modified)


@case()
def test_invalid_dates(on):
    """RFC 9110, 13.1.3 and 13.1.4: such a header is ignored."""
    put(on)
    for header in ("if-modified-since", "if-unmodified-since"):
        on.http(header, "GET", "k", headers={header: "yesterday"}).says(status=200, Body=BODY)


@case()
def test_missing_key(on):
    """A missing key is 404, whatever the conditions."""
    for condition in ("IfMatch", "IfNoneMatch"):
        for value in (OTHER, "*"):
            on.get_object(f"get, {condition} {value}", Key="nothing", **{condition: value}).refuses(404, "NoSuchKey")
            on.head_object(f"head, {condition} {value}", Key="nothing", **{condition: value}).refuses(404, "404")


@case()
def test_with_a_range(on):
    etag, _ = put(on)
    on.get_object("given", Key="k", Range="bytes=1-2", IfMatch=etag).says(
        status=206, ContentRange="bytes 1-2/7", Body=b"ar")
    on.get_object("refused", Key="k", Range="bytes=1-2", IfMatch=OTHER).refuses(412, "PreconditionFailed")
    on.get_object("not modified", Key="k", Range="bytes=1-2", IfNoneMatch=etag).says(status=304)
    on.get_object("not modified, beyond the end", Key="k", Range="bytes=7-", IfNoneMatch=etag).says(status=304)


@case()
def test_writes(on):
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html"""
    first = on.put_object("create", Key="k", Body=b"1", IfNoneMatch="*").says(status=200)
    on.put_object("create again", Key="k", Body=b"2", IfNoneMatch="*").refuses(412, "PreconditionFailed")
    on.get_object("still the first", Key="k").says(Body=b"1")
    second = on.put_object("replace", Key="k", Body=b"3", IfMatch=first["ETag"]).says(status=200)
    on.put_object("replace with a stale ETag", Key="k", Body=b"4", IfMatch=first["ETag"]).refuses(
        412, "PreconditionFailed")
    on.get_object("still the second", Key="k").says(Body=b"3", ETag=second["ETag"])
    on.put_object("replace nothing", Key="nothing", Body=b"5", IfMatch=first["ETag"]).refuses(404, "NoSuchKey")
    on.head_object("nothing was stored", Key="nothing").refuses(404, "404")
    on.delete_object("delete", Key="k")
    on.put_object("create after a deletion", Key="k", Body=b"6", IfNoneMatch="*").says(status=200)


@case()
def test_unsupported_write_conditions(on):
    """If-None-Match accepts only `*`, If-Match only an ETag, and a request can have only one of them.

    As recorded in github.com/localstack/localstack, test_put_object_if_match_validation and the tests after it.
    """
    etag, _ = put(on)
    on.put_object("If-None-Match with an ETag", Key="k", Body=b"2", IfNoneMatch=etag).refuses(501, "NotImplemented")
    on.put_object("If-Match with a star", Key="k", Body=b"4", IfMatch="*").refuses(501, "NotImplemented")
    on.put_object("both conditions", Key="k", Body=b"3", IfMatch=etag, IfNoneMatch="*").refuses(501, "NotImplemented")
    on.get_object("unchanged", Key="k").says(Body=BODY, ETag=etag, ContentLength=len(BODY))


@case()
def test_sixteen_concurrent_creates(on):
    on.race("all concurrently", "put_object", [
        {"Key": "k", "Body": f"{number}".encode() * 1000, "IfNoneMatch": "*"} for number in range(16)]).says(
        **{"200": 1, "412 PreconditionFailed": 15})


@case()
def test_sixteen_concurrent_replaces(on):
    etag, _ = put(on)
    on.race("all concurrently", "put_object", [
        {"Key": "k", "Body": f"{number}".encode() * 1000, "IfMatch": etag} for number in range(16)]).says(
        **{"200": 1, "412 PreconditionFailed": 15})


@case()
def test_deletions(on):
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html and, for the size,
    github.com/localstack/localstack, test_delete_object_if_match_size_non_express.
    """
    etag, _ = put(on)
    on.delete_object("another ETag", Key="k", IfMatch=OTHER).refuses(412, "PreconditionFailed")
    on.head_object("still there", Key="k").says(status=200)
    on.delete_object("its ETag", Key="k", IfMatch=etag).says(status=204)
    on.head_object("gone", Key="k").refuses(404, "404")
    on.delete_object("already deleted", Key="k", IfMatch=etag).refuses(404, "NoSuchKey")
    on.delete_object("already deleted, if it exists", Key="k", IfMatch="*").refuses(404, "NoSuchKey")
    on.delete_object("of a size, for directory buckets only", Key="k", IfMatchSize=7).refuses(501, "NotImplemented")
    put(on, "any")
    on.delete_object("if it exists", Key="any", IfMatch="*").says(status=204)
    on.head_object("gone too", Key="any").refuses(404, "404")


@case()
def test_deletions_of_many(on):
    etag, _ = put(on)
    put(on, "other")
    answer = on.delete_objects("by ETag", Delete={"Objects": [
        {"Key": "k", "ETag": OTHER}, {"Key": "other", "ETag": etag}]}).says(Deleted=[{"Key": "other"}])
    on.note("refused", refused=[(each["Key"], each["Code"]) for each in answer.get("Errors", [])]).says(
        refused=[("k", "PreconditionFailed")])
    on.head_object("one is left", Key="k").says(status=200)
    on.head_object("one is gone", Key="other").refuses(404, "404")
