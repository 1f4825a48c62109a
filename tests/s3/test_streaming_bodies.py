"""Bodies in signed and unsigned chunks, with and without a trailer.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

import io

from comparing.cases import case
from comparing.checksums import ALGORITHMS, FIELDS, OF_BOTO3, checksum, field, header
from comparing.uploads import Upload

# More than one chunk.
BODY = b"harbour" * 20_000
# moto checks neither signatures nor trailers.
JUDGES = ("versitygw",)
TRAILED = ("chunks, trailer", "unsigned, trailer")


def by_trailer(on):
    """Returns a view whose client sends trailers. By default, boto3 does so only over TLS, since the body is unsigned."""

    def as_trailer(params, **_):
        asked = params["context"].get("checksum", {}).get("request_algorithm")
        if isinstance(asked, dict):
            asked["in"] = "trailer"

    view = on.with_client(user_agent_extra="trailers")
    view.client.meta.events.register("before-call.s3", as_trailer, unique_id="trailers")
    return view


@case(JUDGES, also=FIELDS)
def test_trailers_of_boto3(on):
    trailing = by_trailer(on)
    for algorithm in OF_BOTO3:
        right = field(algorithm, checksum(algorithm, BODY))
        trailing.put_object(f"put {algorithm}", Key=algorithm, Body=io.BytesIO(BODY), ChecksumAlgorithm=algorithm,
                            ContentEncoding="gzip").says(status=200, **right)
        on.get_object(f"get {algorithm}", Key=algorithm, ChecksumMode="ENABLED").says(
            ContentLength=len(BODY), ContentEncoding="gzip", **right)


@case(JUDGES, also=FIELDS)
def test_trailers_of_a_part(on):
    upload = Upload(by_trailer(on), ChecksumAlgorithm="SHA256")
    right = checksum("SHA256", BODY)
    upload.part(1, io.BytesIO(BODY), ChecksumAlgorithm="SHA256").says(ChecksumSHA256=right)
    upload.complete(parts=[{"PartNumber": 1, "ChecksumSHA256": right}]).says(status=200)
    on.get_object("get", Key="k").says(ContentLength=len(BODY))


@case(JUDGES, also=FIELDS)
def test_every_form(on):
    for form in ("signed", "unsigned", "chunks"):
        on.http(f"put {form}", "PUT", form, body=BODY, form=form).says(status=200)
        # aws-chunked is the encoding of the transfer, and is not stored.
        on.get_object(f"get {form}", Key=form).says(ContentLength=len(BODY), ContentEncoding=None)
    for form in TRAILED:
        for algorithm in ALGORITHMS:
            key, right = f"{form}, {algorithm}", checksum(algorithm, BODY)
            on.http(f"put {key}", "PUT", key, body=BODY, form=form, trailer=(header(algorithm), right)).says(status=200)
            on.get_object(f"get {key}", Key=key, ChecksumMode="ENABLED").says(
                ContentLength=len(BODY), ContentEncoding=None, **field(algorithm, right))


@case(JUDGES)
def test_empty_bodies(on):
    for form in ("signed", "unsigned", "chunks"):
        on.http(f"put {form}", "PUT", form, form=form).says(status=200)
        on.get_object(f"get {form}", Key=form).says(ContentLength=0)
    for form in TRAILED:
        on.http(f"put {form}", "PUT", form, form=form, trailer=(header("CRC32"), checksum("CRC32", b""))).says(
            status=200)
        on.get_object(f"get {form}", Key=form).says(ContentLength=0)


@case(JUDGES)
def test_wrong_trailers(on):
    for form in TRAILED:
        for algorithm in ALGORITHMS:
            wrong = (header(algorithm), checksum(algorithm, b"another"))
            on.http(f"{form}, {algorithm}", "PUT", "k", body=BODY, form=form, trailer=wrong).refuses(400, "BadDigest")
    on.head_object("nothing was stored", Key="k").refuses(404, "404")


@case(JUDGES)
def test_wrong_signatures(on):
    right = (header("CRC32"), checksum("CRC32", BODY))
    refused = (403, "SignatureDoesNotMatch")
    on.http("of a chunk", "PUT", "k", body=BODY, form="chunks", spoil="chunk").refuses(*refused)
    on.http("of a chunk before a trailer", "PUT", "k", body=BODY, form="chunks, trailer", trailer=right,
            spoil="chunk").refuses(*refused)
    on.http("of a trailer", "PUT", "k", body=BODY, form="chunks, trailer", trailer=right,
            spoil="trailer signature").refuses(*refused)
    on.http("of the request", "PUT", "k", body=BODY, form="chunks", spoil="signature").refuses(*refused)
    on.head_object("nothing was stored", Key="k").refuses(404, "404")


@case(JUDGES)
def test_wrong_hash_of_the_body(on):
    on.http("put", "PUT", "k", body=BODY, sha256="0" * 64).refuses(400, "XAmzContentSHA256Mismatch")
    on.http("not a hash", "PUT", "k", body=BODY, sha256="harbour").refuses(400, "InvalidArgument")
    on.head_object("nothing was stored", Key="k").refuses(404, "404")


@case(JUDGES)
def test_other_content_encodings(on):
    for encoding in ("gzip", "gzip,br"):
        for form in ("signed", "chunks"):
            key = f"{encoding} {form}"
            on.http(f"put {key}", "PUT", key, body=BODY, form=form, headers={"content-encoding": encoding}).says(
                status=200)
            on.head_object(f"head {key}", Key=key).says(ContentEncoding=encoding, ContentLength=len(BODY))


@case(JUDGES)
def test_missing_trailer(on):
    """x-amz-trailer announces it, but the body does not have it."""
    for form in TRAILED:
        on.http(f"put {form}", "PUT", "k", body=BODY, form=form,
                headers={"x-amz-trailer": header("CRC32")}).refuses(400, "MalformedTrailerError")
    on.head_object("nothing was stored", Key="k").refuses(404, "404")
