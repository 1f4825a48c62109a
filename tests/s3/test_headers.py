"""Headers that are stored and returned with an object.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
"""

import email.header

from comparing.cases import case

SYSTEM = {
    "CacheControl": "max-age=60, no-transform", "ContentDisposition": 'attachment; filename="a.txt"',
    "ContentEncoding": "gzip", "ContentLanguage": "en, de", "ContentType": "text/plain; charset=utf-8",
    "WebsiteRedirectLocation": "/elsewhere",
}


@case()
def test_system_headers(on):
    on.put_object("put", Key="k", Body=b"x", **SYSTEM)
    on.head_object("head", Key="k").says(status=200, **SYSTEM)
    on.get_object("get", Key="k").says(status=200, **SYSTEM)
    on.put_object("put again", Key="k", Body=b"x")
    on.head_object("all gone", Key="k").says(
        **{name: None for name in SYSTEM} | {"ContentType": "binary/octet-stream"})


@case()
def test_expires(on):
    """Stored as it was sent, whether it is a date or not."""
    for value in ("Wed, 21 Oct 2026 07:28:00 GMT", "0"):
        on.http(f"put {value}", "PUT", "k", headers={"expires": value}, body=b"x").says(status=200)
        on.http(f"head {value}", "HEAD", "k", shown="expires").says(status=200, expires=value)


@case()
def test_metadata(on):
    given = {"a": "b", "UPPER": "CASE", "empty": "", "with-dash_and.dot": "x", "list": "1, 2", "inner": "a  b"}
    kept = {name.lower(): value for name, value in given.items()}
    on.put_object("put", Key="k", Body=b"x", Metadata=given)
    on.head_object("head", Key="k").says(Metadata=kept)
    on.get_object("get", Key="k").says(Metadata=kept)


@case()
def test_non_ascii_metadata(on):
    """S3 returns it in the encoding of RFC 2047. boto3 refuses to send it."""
    text = "Grüße aus Łódź"
    on.put_object("boto3", Key="k", Body=b"x", Metadata={"a": text}).refuses("none", "ParamValidationError")
    on.http("put", "PUT", "k", headers={"x-amz-meta-a": text}, body=b"x").says(status=200)
    said = on.http("head", "HEAD", "k")["x-amz-meta-a"]
    on.note("decoded", text=str(email.header.make_header(email.header.decode_header(said)))).says(text=text)


@case()
def test_metadata_limit(on):
    """2 KiB for names and values together."""
    most = {"a": "x" * 1000, "b": "y" * 1046}
    on.put_object("the maximum", Key="k", Body=b"x", Metadata=most).says(status=200)
    on.head_object("head", Key="k").says(Metadata=most)
    on.put_object("one byte more", Key="k2", Body=b"x", Metadata={**most, "a": "x" * 1001}).refuses(
        400, "MetadataTooLarge")
    on.create_multipart_upload("one byte more, multipart", Key="k2", Metadata={**most, "a": "x" * 1001}).refuses(
        400, "MetadataTooLarge")
    on.head_object("nothing was stored", Key="k2").refuses(404, "404")


@case()
def test_storage_classes(on):
    for name in ("STANDARD_IA", "INTELLIGENT_TIERING", "REDUCED_REDUNDANCY", "ONEZONE_IA"):
        on.put_object(f"put {name}", Key=name, Body=b"x", StorageClass=name).says(status=200)
        on.head_object(f"head {name}", Key=name).says(StorageClass=name)
    on.put_object("put STANDARD", Key="s", Body=b"x", StorageClass="STANDARD")
    on.http("head STANDARD", "HEAD", "s", shown="x-amz-storage-class").says(**{"x-amz-storage-class": None})
    on.put_object("put another", Key="other", Body=b"x", StorageClass="COLD").refuses(400, "InvalidStorageClass")
    listed = on.list_objects_v2("list").get("Contents", [])
    on.note("listed", classes={found["Key"]: found["StorageClass"] for found in listed}).says(classes={
        "INTELLIGENT_TIERING": "INTELLIGENT_TIERING", "ONEZONE_IA": "ONEZONE_IA",
        "REDUCED_REDUNDANCY": "REDUCED_REDUNDANCY", "STANDARD_IA": "STANDARD_IA", "s": "STANDARD"})


@case()
def test_invalid_redirects(on):
    """API_PutObject.html: a redirect begins with `/`, `http://` or `https://`."""
    on.put_object("put", Key="k", Body=b"x", WebsiteRedirectLocation="elsewhere").refuses(
        400, "InvalidRedirectLocation")


@case()
def test_response_header_overrides(on):
    on.put_object("put", Key="k", Body=b"x", **SYSTEM)
    other = {"CacheControl": "no-store", "ContentDisposition": "inline", "ContentEncoding": "br",
             "ContentLanguage": "fr", "ContentType": "text/html"}
    asked = {f"Response{name}": value for name, value in other.items()}
    on.get_object("get", Key="k", **asked).says(status=200, **other)
    on.head_object("head", Key="k", **asked).says(status=200, **other)
    on.get_object("a range", Key="k", Range="bytes=0-0", **asked).says(status=206, **other)
    on.http("expires", "GET", "k", query={"response-expires": "Thu, 01 Dec 2033 16:00:00 GMT"}, shown="expires").says(
        status=200, expires="Thu, 01 Dec 2033 16:00:00 GMT")
    on.get_object("stored values are unchanged", Key="k").says(**SYSTEM)


@case()
def test_response_headers(on):
    on.put_object("put", Key="k", Body=b"harbour")
    on.http("get", "GET", "k", shown="accept-ranges content-length content-type etag").says(
        status=200, **{"accept-ranges": "bytes", "content-length": "7", "content-type": "binary/octet-stream",
                       "etag": '"08609bcf387d13162a529fbc0edff508"'})
    on.http("head", "HEAD", "k", shown="accept-ranges content-length content-type etag").says(
        status=200, **{"content-length": "7"})
    answer = on.http("put again", "PUT", "k", body=b"x")
    on.note("a request has an id", id=bool(answer.get("x-amz-request-id"))).says(id=True)


@case(judges=("versitygw",))
def test_body_of_unknown_length(on):
    """moto's server accepts it."""
    on.http("put", "PUT", "k", headers={"transfer-encoding": "chunked"}, body=b"7\r\nharbour\r\n0\r\n\r\n",
            sha256="UNSIGNED-PAYLOAD").refuses(411, "MissingContentLength")


@case()
def test_access_control(on):
    """In a new bucket, all objects belong to the bucket's owner, so no access control list can say anything else."""
    on.put_object("bucket-owner-full-control", Key="k", Body=b"x", ACL="bucket-owner-full-control").says(status=200)
    on.put_object("public-read", Key="k2", Body=b"x", ACL="public-read").refuses(
        400, "AccessControlListNotSupported")
