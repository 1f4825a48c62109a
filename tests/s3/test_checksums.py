"""Checksums of objects that are uploaded with a single Put: given, wrong, stored and returned.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

import base64
import hashlib

from comparing.cases import case
from comparing.checksums import ALGORITHMS, FIELDS, OF_BOTO3, checksum, field, header

BODY = b"harbour" * 100
# moto stores a checksum only if x-amz-sdk-checksum-algorithm names it, and verifies none.
JUDGES = ("versitygw",)


def returned(on, algorithm, key="k", body=BODY):
    """Checks that Head and Get return the checksum if it is requested."""
    said = {**field(algorithm, checksum(algorithm, body)), "ChecksumType": "FULL_OBJECT"}
    for operation in ("head_object", "get_object"):
        getattr(on, operation)(f"{operation} of {key}", Key=key, ChecksumMode="ENABLED").says(status=200, **said)


@case(JUDGES, also=FIELDS)
def test_given_as_a_header(on):
    for algorithm in ALGORITHMS:
        right = field(algorithm, checksum(algorithm, BODY))
        on.put_object(f"put {algorithm}", Key=algorithm, Body=BODY, **right).says(
            status=200, ChecksumType="FULL_OBJECT", **right)
        returned(on, algorithm, key=algorithm)
        on.head_object(f"head of {algorithm}, not requested", Key=algorithm).says(**{f"Checksum{algorithm}": None})
        # A range has the checksum only if it covers the whole object: github.com/localstack/localstack,
        # test_get_object_range.
        on.get_object(f"a range of {algorithm}", Key=algorithm, Range="bytes=0-1", ChecksumMode="ENABLED").says(
            status=206, ChecksumType=None, **{f"Checksum{algorithm}": None})
        on.get_object(f"all of {algorithm} as a range", Key=algorithm, Range="bytes=0-", ChecksumMode="ENABLED").says(
            status=206, ChecksumType="FULL_OBJECT", **right)


@case(JUDGES, also=FIELDS)
def test_wrong_in_a_header(on):
    for algorithm in ALGORITHMS:
        wrong = field(algorithm, checksum(algorithm, b"another"))
        on.put_object(f"put {algorithm}", Key=algorithm, Body=BODY, **wrong).refuses(400, "BadDigest")
        on.head_object(f"nothing was stored for {algorithm}", Key=algorithm).refuses(404, "404")


@case(JUDGES, also=FIELDS)
def test_malformed_in_a_header(on):
    for algorithm in ALGORITHMS:
        for what, value in (("not base64", "!"), ("too short", "AAA="), ("empty", "")):
            on.http(f"put {algorithm}, {what}", "PUT", "k", headers={header(algorithm): value}, body=BODY).refuses(
                400, "InvalidRequest")
    on.head_object("nothing was stored", Key="k").refuses(404, "404")


@case(JUDGES, also=FIELDS)
def test_two_checksums(on):
    on.put_object("put", Key="k", Body=BODY, ChecksumCRC32=checksum("CRC32", BODY),
                  ChecksumSHA256=checksum("SHA256", BODY)).refuses(400, "InvalidRequest")


@case(JUDGES, also=FIELDS)
def test_computed_by_boto3(on):
    for algorithm in OF_BOTO3:
        on.put_object(f"put {algorithm}", Key=algorithm, Body=BODY, ChecksumAlgorithm=algorithm).says(
            status=200, **field(algorithm, checksum(algorithm, BODY)))
        returned(on, algorithm, key=algorithm)


@case(JUDGES, also=FIELDS)
def test_announced_but_missing(on):
    on.http("put", "PUT", "k", headers={"x-amz-sdk-checksum-algorithm": "SHA256"}, body=BODY).refuses(
        400, "InvalidRequest")


@case(JUDGES, also=FIELDS)
def test_header_of_other_operations(on):
    """x-amz-checksum-algorithm is for CreateMultipartUpload and CopyObject. PutObject ignores it.

    As recorded in github.com/localstack/localstack, test_s3_checksum_no_automatic_sdk_calculation.
    """
    for value in ("SHA256", "none"):
        on.http(f"put {value}", "PUT", value, headers={"x-amz-checksum-algorithm": value}, body=BODY).says(status=200)
        returned(on, "CRC64NVME", key=value)


@case(JUDGES, also=FIELDS)
def test_of_an_empty_object(on):
    for algorithm in ALGORITHMS:
        on.put_object(f"put {algorithm}", Key=algorithm, Body=b"", **field(algorithm, checksum(algorithm, b""))).says(
            status=200)
        returned(on, algorithm, key=algorithm, body=b"")


@case(JUDGES, also=FIELDS)
def test_none_given(on):
    """S3 then computes CRC64NVME."""
    on.put_object("put", Key="k", Body=BODY)
    returned(on, "CRC64NVME")


@case(JUDGES, also=FIELDS)
def test_overwrite_replaces_the_checksum(on):
    on.put_object("put", Key="k", Body=b"old", ChecksumSHA256=checksum("SHA256", b"old"))
    on.put_object("put again", Key="k", Body=BODY, ChecksumCRC32=checksum("CRC32", BODY))
    returned(on, "CRC32")


@case(JUDGES, also=FIELDS + " Checksum")
def test_as_attributes(on):
    for algorithm in ALGORITHMS:
        right = field(algorithm, checksum(algorithm, BODY))
        on.put_object(f"put {algorithm}", Key=algorithm, Body=BODY, **right)
        on.get_object_attributes(f"attributes of {algorithm}", Key=algorithm, ObjectAttributes=[
            "Checksum", "ETag", "ObjectSize", "StorageClass"]).says(
            Checksum={**right, "ChecksumType": "FULL_OBJECT"}, ObjectSize=len(BODY), StorageClass="STANDARD",
            ETag=hashlib.md5(BODY).hexdigest())


@case(JUDGES, also=FIELDS)
def test_copy_keeps_the_checksum(on):
    source = {"Bucket": on.bucket, "Key": "k"}
    on.put_object("put", Key="k", Body=BODY, ChecksumSHA1=checksum("SHA1", BODY))
    on.copy_object("copy", Key="copy", CopySource=source).says(status=200)
    returned(on, "SHA1", key="copy")
    on.copy_object("copy with another", Key="another", CopySource=source, ChecksumAlgorithm="SHA256").says(status=200)
    returned(on, "SHA256", key="another")


@case(JUDGES, also=FIELDS + " ChecksumAlgorithm")
def test_listed(on):
    """API_Object.html: a listing has the algorithm, but not the checksum."""
    for algorithm in ALGORITHMS:
        on.put_object(f"put {algorithm}", Key=algorithm, Body=BODY, **field(algorithm, checksum(algorithm, BODY)))
    for operation in ("list_objects", "list_objects_v2"):
        found = getattr(on.client, operation)(Bucket=on.bucket)["Contents"]
        on.note(operation, algorithms={each["Key"]: (each.get("ChecksumAlgorithm"), each.get("ChecksumType"))
                                       for each in found}).says(
            algorithms={algorithm: ([algorithm], "FULL_OBJECT") for algorithm in ALGORITHMS})


@case(JUDGES)
def test_md5(on):
    right = base64.b64encode(hashlib.md5(BODY).digest()).decode()
    wrong = base64.b64encode(hashlib.md5(b"another").digest()).decode()
    on.put_object("right", Key="right", Body=BODY, ContentMD5=right).says(status=200)
    on.put_object("wrong", Key="wrong", Body=BODY, ContentMD5=wrong).refuses(400, "BadDigest")
    hexadecimal = hashlib.md5(BODY).hexdigest()
    for what, value in (("not base64", "!!!!"), ("too short", "AAAA"), ("empty", ""), ("hex", hexadecimal)):
        on.http(what, "PUT", "k", headers={"content-md5": value}, body=BODY).refuses(400, "InvalidDigest")
    on.list_objects_v2("only the right one was stored").says(KeyCount=1)


@case(JUDGES, also=FIELDS)
def test_unknown_algorithm(on):
    on.http("put", "PUT", "k", headers={"x-amz-sdk-checksum-algorithm": "MD7", "x-amz-checksum-md7": "AAAA"},
            body=BODY).refuses(400, "InvalidRequest")
