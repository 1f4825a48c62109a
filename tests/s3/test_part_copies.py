"""UploadPartCopy: parts that are copies.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
"""

import datetime
import hashlib

from comparing.cases import case
from comparing.uploads import FIRST, LAST, NO_UPLOAD, Upload

BODY = b"0123456789"
OTHER = '"d41d8cd98f00b204e9800998ecf8427e"'
SECOND = datetime.timedelta(seconds=1)


def source(on):
    on.put_object("put", Key="from", Body=BODY)
    return {"Bucket": on.bucket, "Key": "from"}


@case()
def test_whole_and_by_range(on):
    big = {"Bucket": on.bucket, "Key": "big"}
    on.put_object("put big", Key="big", Body=FIRST + LAST)
    upload = Upload(on)
    upload.copied_part(1, big, CopySourceRange=f"bytes=0-{len(FIRST) - 1}")
    upload.copied_part(2, big)
    upload.copied_part(3, source(on), CopySourceRange="bytes=2-4")
    upload.list()
    upload.complete()
    on.get_object("get", Key="k").says(ContentLength=2 * len(FIRST) + len(LAST) + 3)
    on.get_object("its end", Key="k", Range="bytes=-11").says(Body=LAST + b"234")


@case()
def test_etag_of_a_part(on):
    upload = Upload(on)
    answer = upload.copied_part(1, source(on), CopySourceRange="bytes=2-4")
    on.note("its ETag", etag=answer.get("CopyPartResult", {}).get("ETag")).says(
        etag=f'"{hashlib.md5(b"234").hexdigest()}"')


@case()
def test_ranges(on):
    """A range has the form bytes=first-last, and must lie within the source."""
    upload, of = Upload(on), source(on)
    for number, (asked, body) in enumerate({"bytes=0-0": b"0", "bytes=9-9": b"9", "bytes=0-9": BODY}.items(), 1):
        upload.copied_part(number, of, step=asked, CopySourceRange=asked).says(status=200)
        each = Upload(on, f"k{number}", step=f"create {asked}")
        each.copied_part(1, of, step=f"{asked} again", CopySourceRange=asked)
        each.complete(f"complete {asked}")
        on.get_object(f"get {asked}", Key=f"k{number}").says(Body=body)
    for asked in ("bytes=0-10", "bytes=5-20"):
        upload.copied_part(4, of, step=asked, CopySourceRange=asked).refuses(400, "InvalidArgument")
    # S3's response as recorded in github.com/localstack/localstack, test_upload_part_copy_range.
    upload.copied_part(4, of, step="entirely beyond the end", CopySourceRange="bytes=100-200").refuses(
        400, "InvalidRequest")
    for asked in ("bytes=2-1", "bytes=2-", "bytes=-2", "0-2", "bytes=a-b", "bytes=0-1,3-4", "bytes=0--1"):
        upload.copied_part(4, of, step=asked, CopySourceRange=asked).refuses(400, "InvalidArgument")


@case()
def test_if_the_source_matches(on):
    upload, of = Upload(on), source(on)
    head = on.head_object("head", Key="from")
    etag, modified = head["ETag"], head["LastModified"]
    given = {
        "its ETag": {"CopySourceIfMatch": etag},
        "not another ETag": {"CopySourceIfNoneMatch": OTHER},
        "modified since": {"CopySourceIfModifiedSince": modified - SECOND},
        "not modified since": {"CopySourceIfUnmodifiedSince": modified},
        "its ETag, yet modified since": {"CopySourceIfMatch": etag, "CopySourceIfUnmodifiedSince": modified - SECOND},
    }
    failed = {
        "another ETag": {"CopySourceIfMatch": OTHER},
        "not its ETag": {"CopySourceIfNoneMatch": etag},
        "modified since it was created": {"CopySourceIfModifiedSince": modified},
        "not modified since the second before": {"CopySourceIfUnmodifiedSince": modified - SECOND},
    }
    for step, conditions in given.items():
        upload.copied_part(1, of, step=step, **conditions).says(status=200)
    for step, conditions in failed.items():
        upload.copied_part(2, of, step=step, **conditions).refuses(412, "PreconditionFailed")
    listed = upload.list("one part was stored").says(NextPartNumberMarker=1).get("Parts", [])
    on.note("the parts", numbers=[part["PartNumber"] for part in listed]).says(numbers=[1])


@case()
def test_missing_source_or_upload(on):
    upload, of = Upload(on), source(on)
    upload.copied_part(1, {"Bucket": on.bucket, "Key": "nothing"}, step="no such key").refuses(404, "NoSuchKey")
    upload.copied_part(1, {"Bucket": "no-such-bucket-here", "Key": "k"}, step="no such bucket").refuses(
        404, "NoSuchBucket")
    on.upload_part_copy("no such upload", Key="k", UploadId=NO_UPLOAD, PartNumber=1, CopySource=of).refuses(
        404, "NoSuchUpload")


@case()
def test_copy_of_a_multipart_object(on):
    """The range refers to the whole object, across the boundaries of its parts."""
    first = Upload(on, "from", step="create the source")
    first.part(1, FIRST, step="source part 1")
    first.part(2, LAST, step="source part 2")
    first.complete("complete the source")
    upload = Upload(on)
    start, end = len(FIRST) - 3, len(FIRST) + 2
    upload.copied_part(1, {"Bucket": on.bucket, "Key": "from"}, CopySourceRange=f"bytes={start}-{end}")
    upload.complete()
    on.get_object("get", Key="k").says(Body=(FIRST + LAST)[start:end + 1])
