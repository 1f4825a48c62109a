"""Authentication: signatures in headers and in URLs.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

import datetime
import re
from urllib.parse import quote

from comparing import signing
from comparing.cases import case

BODY = b"harbour"
# moto does not check signatures.
JUDGES = ("versitygw",)


def put(on):
    on.put_object("put", Key="k", Body=BODY)


def ago(**span):
    return datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**span)


@case(JUDGES)
def test_credentials(on):
    put(on)
    on.with_client(secret="another").get_object("another secret", Key="k").refuses(403, "SignatureDoesNotMatch")
    on.with_client(key_id="AKIAANOTHER000000000").get_object("another key", Key="k").refuses(
        403, "InvalidAccessKeyId")
    on.with_client(secret="another").list_buckets("another secret, buckets").refuses(403, "SignatureDoesNotMatch")
    on.with_client(secret="another").put_object("another secret, put", Key="k", Body=b"x").refuses(
        403, "SignatureDoesNotMatch")
    on.with_client(secret="another").head_object("another secret, head", Key="k").refuses(403, "403")
    on.http("anonymous get", "GET", "k", sign=False).refuses(403, "AccessDenied")
    on.http("anonymous put", "PUT", "k", sign=False, body=b"x").refuses(403, "AccessDenied")
    on.get_object("unchanged", Key="k").says(Body=BODY)


@case(JUDGES)
def test_clock_skew(on):
    """S3 accepts a clock that is up to 15 minutes fast or slow."""
    put(on)
    for minutes in (14, -14):
        on.http(f"{minutes} min. ago", "GET", "k", at=ago(minutes=minutes)).says(status=200, Body=BODY)
    for minutes in (17, -17, 24 * 60):
        on.http(f"{minutes} min. ago", "GET", "k", at=ago(minutes=minutes)).refuses(403, "RequestTimeTooSkewed")


@case(JUDGES)
def test_another_region(on):
    put(on)
    on.with_server(region="eu-central-1").http("get", "GET", "k").refuses(400, "AuthorizationHeaderMalformed")


def a_second_off(stamp):
    """Changes the second, but not the minute, so that the day stays the same."""
    seconds = int(stamp[-3:-1])
    return f"{stamp[:-3]}{seconds - 1 if seconds else 1:02}Z"


@case(JUDGES)
def test_changes_after_signing(on):
    """Every change to a signed request is detected."""
    put(on)
    on.http("as signed", "GET", "k", headers={"x-amz-meta-a": "1"}).says(status=200)
    on.http("another signature", "GET", "k", spoil="signature").refuses(403, "SignatureDoesNotMatch")
    there = on.server.endpoint
    for step, change in {
            "another key": lambda path, headers: (path.replace("/k", "/k2"), headers),
            "another query": lambda path, headers: (path + "?tagging", headers),
            "another header": lambda path, headers: (path, {**headers, "x-amz-meta-a": "2"}),
            "another second": lambda path, headers: (
                path, {**headers, "x-amz-date": a_second_off(headers["x-amz-date"])}),
    }.items():
        path, headers = f"/{on.bucket}/k", {"host": there.split("//")[1], "x-amz-meta-a": "1"}
        signing.sign(on.server, "GET", path, {}, headers, b"", "signed")
        path, headers = change(path, headers)
        on.fetch(step, "GET", there + path, headers=headers).refuses(403, "SignatureDoesNotMatch")


@case(JUDGES)
def test_malformed_headers(on):
    put(on)
    endpoint = f"{on.server.endpoint}/{on.bucket}/k"
    date = ago().strftime("%Y%m%dT%H%M%SZ")
    for step, value in {
            "not a method": "harbour", "another method": "Basic aGFyYm91cg==", "no parameters": "AWS4-HMAC-SHA256",
            "no scope": "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=b"}.items():
        on.fetch(step, "GET", endpoint, headers={
            "authorization": value, "x-amz-date": date, "x-amz-content-sha256": signing.EMPTY}).says(status=400)


@case(JUDGES)
def test_signature_version_2(on):
    put(on)
    on.with_client(signature_version="s3").get_object("in headers", Key="k").refuses(400, "InvalidRequest")
    url = on.with_client(signature_version="s3").client.generate_presigned_url(
        "get_object", Params={"Bucket": on.bucket, "Key": "k"})
    on.fetch("in a URL", "GET", url).refuses(400, "InvalidRequest")


def presigned(on, operation="get_object", **more):
    view = on.with_client(signature_version="s3v4")
    return view.client.generate_presigned_url(
        operation, Params={"Bucket": on.bucket, "Key": "k", **more}, ExpiresIn=60)


def presigned_ago(on, seconds, expires):
    """Returns a URL that was signed some time ago. It is signed here, since boto3 only signs for the current time."""
    at = ago(seconds=seconds)
    scope = f"{at:%Y%m%d}/{on.server.region}/s3/aws4_request"
    query = {"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{on.server.access_key_id}/{scope}",
             "X-Amz-Date": f"{at:%Y%m%dT%H%M%SZ}", "X-Amz-Expires": str(expires), "X-Amz-SignedHeaders": "host"}
    path = f"/{on.bucket}/k"
    signature = signing.of_url(on.server, "GET", path, query, scope)
    return f"{on.server.endpoint}{path}?{signing.canonical_query(query)}&X-Amz-Signature={signature}"


@case(JUDGES)
def test_presigned_urls(on):
    put(on)
    on.fetch("get", "GET", presigned(on), shown="etag content-length").says(status=200, Body=BODY)
    on.fetch("head", "HEAD", presigned(on, "head_object"), shown="content-length").says(
        status=200, **{"content-length": "7"})
    on.fetch("a range", "GET", presigned(on), headers={"range": "bytes=1-2"}).says(status=206, Body=b"ar")
    on.fetch("with another type", "GET", presigned(on, ResponseContentType="text/html"), shown="content-type").says(
        status=200, **{"content-type": "text/html"})
    on.fetch("put by URL", "PUT", presigned(on, "put_object"), body=b"new").says(status=200)
    on.get_object("what was put", Key="k").says(Body=b"new")
    on.fetch("delete", "DELETE", presigned(on, "delete_object")).says(status=204)
    on.fetch("gone", "GET", presigned(on)).refuses(404, "NoSuchKey")


@case(JUDGES)
def test_changed_urls(on):
    put(on)
    url = presigned(on)
    on.fetch("to put", "PUT", url, body=b"x").refuses(403, "SignatureDoesNotMatch")
    on.fetch("another key", "GET", url.replace("/k?", "/k2?")).refuses(403, "SignatureDoesNotMatch")
    on.fetch("a longer time", "GET", url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")).refuses(
        403, "SignatureDoesNotMatch")
    on.fetch("more in the query", "GET", url + "&response-content-type=text/html").refuses(
        403, "SignatureDoesNotMatch")
    flipped = re.sub("X-Amz-Signature=(.)", lambda found: "X-Amz-Signature=" + ("1" if found[1] == "0" else "0"), url)
    on.fetch("another signature", "GET", flipped).refuses(403, "SignatureDoesNotMatch")
    on.fetch("another key id", "GET", url.replace(quote(on.server.access_key_id), "AKIAANOTHER000000000")).refuses(
        403, "InvalidAccessKeyId")
    on.fetch("no signature", "GET", re.sub("&X-Amz-Signature=[0-9a-f]+", "", url)).refuses(
        400, "AuthorizationQueryParametersError")
    on.get_object("unchanged", Key="k").says(Body=BODY)


@case(JUDGES)
def test_expiry_of_urls(on):
    put(on)
    on.fetch("as signed here", "GET", presigned_ago(on, 0, 60)).says(status=200, Body=BODY)
    on.fetch("within its time", "GET", presigned_ago(on, 3600, 7200)).says(status=200)
    on.fetch("expired", "GET", presigned_ago(on, 3600, 60)).refuses(403, "AccessDenied")
    on.fetch("of seven days", "GET", presigned_ago(on, 0, 604800)).says(status=200)
    for step, expires in (("over seven days", 604801), ("negative", -1), ("not a number", "x")):
        on.fetch(step, "GET", presigned_ago(on, 0, expires)).refuses(400, "AuthorizationQueryParametersError")


@case(JUDGES)
def test_signed_headers_of_urls(on):
    url = presigned(on, "put_object", ContentType="text/plain", Metadata={"a": "b"})
    on.fetch("without the headers", "PUT", url, body=b"x").refuses(403, "SignatureDoesNotMatch")
    on.fetch("with other headers", "PUT", url, body=b"x", headers={
        "content-type": "text/html", "x-amz-meta-a": "b"}).refuses(403, "SignatureDoesNotMatch")
    on.fetch("with the headers", "PUT", url, body=b"x", headers={"content-type": "text/plain", "x-amz-meta-a": "b"}).says(
        status=200)
    on.head_object("head", Key="k").says(ContentType="text/plain", Metadata={"a": "b"})
