"""Ranges of objects.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, "Range"; RFC 9110, 14.
"""

from comparing.cases import case

BODY = b"0123456789"

SATISFIED = {
    "bytes=0-3": (0, 4),
    "bytes=9-9": (9, 10),
    "bytes=5-": (5, 10),
    "bytes=0-": (0, 10),
    "bytes=-3": (7, 10),
    "bytes=-10": (0, 10),
    # Ranges that end beyond the object are shortened.
    "bytes=-100": (0, 10),
    "bytes=4-100": (4, 10),
    "bytes=9-99999999999999": (9, 10),
}
BEYOND = ["bytes=10-", "bytes=10-12", "bytes=100-200", "bytes=-0"]
# A Range header that S3 does not understand, or that asks for several ranges, is ignored.
IGNORED = ["bytes=3-2", "bytes=a-b", "bytes=-", "bytes=", "octets=0-1", "0-1", "bytes=1", "bytes=0-1,3-4"]


@case()
def test_satisfied(on):
    on.put_object("put", Key="k", Body=BODY)
    for asked, (start, end) in SATISFIED.items():
        said = {"status": 206, "ContentRange": f"bytes {start}-{end - 1}/10", "ContentLength": end - start}
        on.get_object(f"get {asked}", Key="k", Range=asked).says(**said, Body=BODY[start:end])
        on.head_object(f"head {asked}", Key="k", Range=asked).says(**said)


@case()
def test_beyond_the_end(on):
    """Content-Range is as in RFC 9110, 15.5.17."""
    on.put_object("put", Key="k", Body=BODY)
    for asked in BEYOND:
        on.get_object(f"get {asked}", Key="k", Range=asked).says(
            status=416, code="InvalidRange", ContentRange="bytes */10")
        on.head_object(f"head {asked}", Key="k", Range=asked).says(
            status=416, code="416", ContentRange="bytes */10")


@case()
def test_ignored(on):
    on.put_object("put", Key="k", Body=BODY)
    for asked in IGNORED:
        on.get_object(f"get {asked}", Key="k", Range=asked).says(status=200, Body=BODY, ContentLength=10, code=None)
        on.head_object(f"head {asked}", Key="k", Range=asked).says(status=200, ContentLength=10, code=None)


@case()
def test_ranges_of_an_empty_object(on):
    on.put_object("put", Key="k", Body=b"")
    on.get_object("whole", Key="k").says(status=200, ContentLength=0)
    for asked in ("bytes=0-", "bytes=0-0", "bytes=4-"):
        on.get_object(f"get {asked}", Key="k", Range=asked).says(
            status=416, code="InvalidRange", ContentRange="bytes */0")
    # RFC 9110 requires 416 here too, but S3, moto and versitygw return 200.
    on.get_object("get bytes=-1", Key="k", Range="bytes=-1").says(status=200, ContentLength=0, ContentRange=None)


@case(also="ActualObjectSize RangeRequested")
def test_elements_of_the_error(on):
    """S3 adds these elements to its InvalidRange error."""
    on.put_object("put", Key="k", Body=BODY)
    on.get_object("beyond", Key="k", Range="bytes=10-").says(ActualObjectSize="10", RangeRequested="bytes=10-")


@case()
def test_missing_key(on):
    on.get_object("get", Key="nothing", Range="bytes=0-1").refuses(404, "NoSuchKey")
    on.head_object("head", Key="nothing", Range="bytes=0-1").refuses(404, "404")


@case()
def test_headers_of_a_range(on):
    """A range has the same headers as the whole object."""
    on.put_object("put", Key="k", Body=BODY, ContentType="text/plain", CacheControl="no-cache", Metadata={"a": "b"})
    on.get_object("get", Key="k", Range="bytes=1-2").says(
        status=206, ContentType="text/plain", CacheControl="no-cache", Metadata={"a": "b"})
