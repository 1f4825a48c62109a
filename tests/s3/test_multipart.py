"""Multipart uploads, and reading objects that were uploaded in parts.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

import hashlib

from comparing.cases import case
from comparing.uploads import FIRST, LAST, LEAST, NO_UPLOAD, SECOND, Upload, etag_of


@case()
def test_complete_upload(on):
    upload = Upload(on, ContentType="text/plain", Metadata={"a": "b"}, CacheControl="no-cache",
                    ContentDisposition="inline", ContentLanguage="de", ContentEncoding="gzip", Tagging="x=1&y=2")
    upload.part(1, FIRST).says(ETag=f'"{hashlib.md5(FIRST).hexdigest()}"')
    upload.part(2, SECOND)
    upload.part(3, LAST)
    upload.list().says(status=200)
    on.head_object("no object yet", Key="k").refuses(404, "404")
    on.list_objects_v2("no object listed yet").says(KeyCount=0)
    upload.complete().says(ETag=etag_of(FIRST, SECOND, LAST), Key="k", Bucket="(the bucket)")
    on.head_object("head", Key="k").says(
        ETag=etag_of(FIRST, SECOND, LAST), ContentLength=len(FIRST + SECOND + LAST), ContentType="text/plain",
        Metadata={"a": "b"}, CacheControl="no-cache", ContentDisposition="inline", ContentLanguage="de",
        ContentEncoding="gzip")
    on.get_object_tagging("tags", Key="k").says(TagSet=[{"Key": "x", "Value": "1"}, {"Key": "y", "Value": "2"}])
    on.get_object("get", Key="k")
    on.get_object("across the boundary of two parts", Key="k", Range=f"bytes={LEAST - 4}-{LEAST + 3}").says(
        status=206, Body=b"irst" + b"2nd,", ContentRange=f"bytes {LEAST - 4}-{LEAST + 3}/{2 * LEAST + 8}")
    on.list_objects_v2("listed")
    on.list_multipart_uploads("no upload is left")


@case()
def test_by_part_number(on):
    upload = Upload(on)
    upload.part(1, FIRST)
    upload.part(2, LAST)
    upload.complete()
    size = LEAST + len(LAST)
    for number, start, end in ((1, 0, LEAST), (2, LEAST, size)):
        said = {"status": 206, "PartsCount": 2, "ContentLength": end - start,
                "ContentRange": f"bytes {start}-{end - 1}/{size}", "ETag": etag_of(FIRST, LAST)}
        on.get_object(f"get {number}", Key="k", PartNumber=number).says(**said)
        on.head_object(f"head {number}", Key="k", PartNumber=number).says(**said)
    on.get_object("get 3", Key="k", PartNumber=3).refuses(416, "InvalidPartNumber")
    on.head_object("head 3", Key="k", PartNumber=3).refuses(416, "416")
    on.get_object("and a range", Key="k", PartNumber=1, Range="bytes=0-1").refuses(400, "InvalidRequest")


@case()
def test_part_numbers_of_an_object_without_parts(on):
    on.put_object("put", Key="k", Body=b"harbour")
    on.get_object("get 1", Key="k", PartNumber=1).says(status=206, Body=b"harbour", ContentRange="bytes 0-6/7")
    on.get_object("get 2", Key="k", PartNumber=2).refuses(416, "InvalidPartNumber")


@case()
def test_gaps_in_the_part_numbers(on):
    upload = Upload(on)
    upload.part(2, FIRST)
    upload.part(7, SECOND)
    upload.part(10000, LAST)
    upload.list()
    upload.complete().says(ETag=etag_of(FIRST, SECOND, LAST))
    on.get_object("get", Key="k").says(ContentLength=len(FIRST + SECOND + LAST))


@case()
def test_omitted_parts(on):
    """Parts that the completion does not name are discarded."""
    upload = Upload(on)
    upload.part(1, FIRST)
    upload.part(2, SECOND)
    upload.part(3, LAST)
    upload.complete(parts=[1, 3]).says(ETag=etag_of(FIRST, LAST))
    on.head_object("head", Key="k").says(ContentLength=len(FIRST + LAST))


@case()
def test_overwritten_part(on):
    upload = Upload(on)
    old = upload.part(1, b"old", step="old part")["ETag"]
    upload.part(1, b"new")
    upload.list("one part is listed")
    upload.complete("with the old part", parts=[(1, old)]).refuses(400, "InvalidPart")
    upload.complete("with the new part").says(status=200)
    on.get_object("get", Key="k").says(Body=b"new")


@case()
def test_an_empty_part(on):
    upload = Upload(on)
    upload.part(1, b"")
    upload.complete().says(ETag=etag_of(b""))
    on.head_object("head", Key="k").says(ContentLength=0)


@case()
def test_invalid_part_numbers(on):
    upload = Upload(on)
    for number in (0, 10001, -1):
        upload.part(number).refuses(400, "InvalidArgument")


@case()
def test_abort(on):
    upload = Upload(on)
    upload.part(1)
    upload.abort().says(status=204)
    upload.abort("abort again").refuses(404, "NoSuchUpload")
    upload.part(2).refuses(404, "NoSuchUpload")
    upload.list().refuses(404, "NoSuchUpload")
    upload.complete(parts=[1]).refuses(404, "NoSuchUpload")
    on.list_multipart_uploads("none is listed")


@case()
def test_unknown_uploads(on):
    """An upload belongs to one key."""
    upload = Upload(on)
    upload.part(1)
    for key, id in (("k", NO_UPLOAD), ("another", upload.id)):
        of = f"{key}, {'no id' if id == NO_UPLOAD else 'the id of another'}"
        on.upload_part(f"part of {of}", Key=key, UploadId=id, PartNumber=1, Body=b"").refuses(404, "NoSuchUpload")
        on.list_parts(f"list {of}", Key=key, UploadId=id).refuses(404, "NoSuchUpload")
        on.abort_multipart_upload(f"abort {of}", Key=key, UploadId=id).refuses(404, "NoSuchUpload")
        on.complete_multipart_upload(
            f"complete {of}", Key=key, UploadId=id,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": upload.etags[1]}]}).refuses(404, "NoSuchUpload")
    upload.complete().says(status=200, ETag=etag_of(LAST))


@case()
def test_old_object_stays_until_completion(on):
    on.put_object("put", Key="k", Body=b"old")
    upload = Upload(on)
    upload.part(1, b"new")
    on.get_object("old", Key="k").says(Body=b"old")
    upload.complete()
    on.get_object("new", Key="k").says(Body=b"new")


@case()
def test_two_uploads_of_a_key(on):
    first, second = Upload(on), Upload(on, step="create again")
    first.part(1, b"first")
    second.part(1, b"second", step="part 1 again")
    second.complete("second").says(status=200)
    on.get_object("of the second", Key="k").says(Body=b"second")
    first.complete("first").says(status=200)
    on.get_object("of the first", Key="k").says(Body=b"first")


@case()
def test_a_part_with_a_wrong_digest(on):
    upload = Upload(on)
    upload.part(1, b"x", step="wrong", ContentMD5="XrY7u+Ae7tCTyyK7j1rNww==").refuses(400, "BadDigest")
    upload.part(1, b"x", step="malformed", ContentMD5="x").refuses(400, "InvalidDigest")
    upload.list("no part was stored").says(Parts=None, NextPartNumberMarker=0)
