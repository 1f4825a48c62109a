"""Completion of multipart uploads: why it is rejected, and what a rejected completion leaves behind.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
"""

from comparing.cases import case
from comparing.uploads import FIRST, LAST, LEAST, SECOND, Upload, etag_of

OTHER = '"d41d8cd98f00b204e9800998ecf8427e"'


@case()
def test_order(on):
    upload = Upload(on)
    upload.part(1, FIRST)
    upload.part(2, SECOND)
    upload.complete("backwards", parts=[2, 1]).refuses(400, "InvalidPartOrder")
    upload.complete("twice", parts=[1, 1]).refuses(400, "InvalidPartOrder")
    upload.complete("in order").says(status=200, ETag=etag_of(FIRST, SECOND))


@case()
def test_invalid_parts(on):
    upload = Upload(on)
    upload.part(1, FIRST)
    upload.complete("a part that was never uploaded", parts=[1, 2]).refuses(400, "InvalidPart")
    upload.complete("another ETag", parts=[(1, OTHER)]).refuses(400, "InvalidPart")
    upload.complete("no parts", parts=[]).says(status=400)
    upload.complete("an ETag without quotes", parts=[(1, upload.etags[1].strip('"'))]).says(status=200)


@case(also="MinSizeAllowed ProposedSize")
def test_too_small_parts(on):
    upload = Upload(on)
    upload.part(1, FIRST[:LEAST - 1])
    upload.part(2, LAST)
    upload.complete("one byte too short").says(
        status=400, code="EntityTooSmall", MinSizeAllowed=str(LEAST), ProposedSize=str(LEAST - 1))
    on.head_object("nothing was stored", Key="k").refuses(404, "404")
    upload.part(1, FIRST, step="long enough")
    upload.complete("again").says(status=200)


@case()
def test_malformed_xml(on):
    upload = Upload(on)
    upload.part(1)
    for step, body in (("not XML", b"parts"), ("another element", b"<Parts><Part/></Parts>"),
                       ("truncated", b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>")):
        on.http(step, "POST", "k", query={"uploadId": upload.id}, body=body).refuses(400, "MalformedXML")
    # S3's response as recorded in github.com/localstack/localstack, test_multipart_complete_multipart_too_small.
    on.http("empty", "POST", "k", query={"uploadId": upload.id}).refuses(400, "InvalidRequest")
    upload.complete("the upload still exists").says(status=200)


@case()
def test_repeated(on):
    """For some time, S3 answers a repeated completion as it answered the first one."""
    upload = Upload(on)
    upload.part(1)
    first = upload.complete()
    upload.complete("again").says(status=200, ETag=first["ETag"])
    upload.part(2).refuses(404, "NoSuchUpload")
    upload.list().refuses(404, "NoSuchUpload")
    on.get_object("get", Key="k").says(Body=LAST)


@case()
def test_if_none_match(on):
    upload = Upload(on)
    upload.part(1)
    on.put_object("in between", Key="k", Body=b"there")
    upload.complete("taken", IfNoneMatch="*").refuses(412, "PreconditionFailed")
    on.get_object("unchanged", Key="k").says(Body=b"there", ETag='"d850f04cdb48312a9be171e214c0b4ee"', ContentLength=5)
    on.delete_object("delete", Key="k")
    upload.complete("free", IfNoneMatch="*").says(status=200)
    on.get_object("the upload's", Key="k").says(Body=LAST)


@case()
def test_if_match(on):
    etag = on.put_object("put", Key="k", Body=b"there")["ETag"]
    upload = Upload(on)
    upload.part(1)
    upload.complete("another ETag", IfMatch=OTHER).refuses(412, "PreconditionFailed")
    on.get_object("unchanged", Key="k").says(Body=b"there", ETag='"d850f04cdb48312a9be171e214c0b4ee"', ContentLength=5)
    upload.complete("its ETag", IfMatch=etag).says(status=200)
    on.get_object("the upload's", Key="k").says(Body=LAST)


@case()
def test_if_match_of_a_missing_key(on):
    upload = Upload(on)
    upload.part(1)
    upload.complete("of a missing key", IfMatch=OTHER).refuses(404, "NoSuchKey")
    on.head_object("nothing was stored", Key="k").refuses(404, "404")


@case()
def test_sixteen_concurrent_creates(on):
    uploads = [Upload(on, step=f"create {number}") for number in range(16)]
    for number, upload in enumerate(uploads):
        upload.part(1, f"{number}".encode(), step=f"part of {number}")
    on.race("all concurrently", "complete_multipart_upload", [
        {"Key": "k", "UploadId": upload.id, "IfNoneMatch": "*",
         "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": upload.etags[1]}]}} for upload in uploads]).says(
        **{"200": 1, "412 PreconditionFailed": 15})


@case()
def test_the_size_of_the_object(on):
    upload = Upload(on)
    upload.part(1)
    upload.complete("another size", MpuObjectSize=len(LAST) + 1).refuses(400, "InvalidRequest")
    on.head_object("nothing was stored", Key="k").refuses(404, "404")
    upload.complete("its size", MpuObjectSize=len(LAST)).says(status=200)
