"""Server-side encryption: which headers are echoed, and keys that the caller provides.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/serv-side-encryption.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
"""

import base64
import hashlib

from comparing.cases import case
from comparing.checksums import checksum
from comparing.uploads import FIRST, LAST, Upload

KEY, OTHER = b"k" * 32, b"o" * 32
WITH_KEY = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
WITH_OTHER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": OTHER}
SAID = {"SSECustomerAlgorithm": "AES256", "SSECustomerKeyMD5": base64.b64encode(hashlib.md5(KEY).digest()).decode()}
KMS_KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ALSO = "ServerSideEncryption SSEKMSKeyId BucketKeyEnabled"
# Neither supports keys from the caller: moto accepts the headers and ignores them, and versitygw returns 501.
NO_JUDGES = ()


@case(judges=("moto",), also=ALSO)
def test_keys_of_the_server(on):
    """versitygw ignores the headers."""
    for algorithm in ("AES256", "aws:kms", "aws:kms:dsse"):
        on.put_object(f"put {algorithm}", Key="k", Body=b"x", ServerSideEncryption=algorithm).says(
            status=200, ServerSideEncryption=algorithm)
        on.head_object(f"head {algorithm}", Key="k").says(ServerSideEncryption=algorithm)
        on.get_object(f"get {algorithm}", Key="k").says(ServerSideEncryption=algorithm, Body=b"x")
    on.put_object("put with a key id", Key="k", Body=b"x", ServerSideEncryption="aws:kms",
                  SSEKMSKeyId=KMS_KEY).says(ServerSideEncryption="aws:kms", SSEKMSKeyId=KMS_KEY)
    on.head_object("head with a key id", Key="k").says(ServerSideEncryption="aws:kms", SSEKMSKeyId=KMS_KEY)
    on.copy_object("copy", Key="k2", CopySource={"Bucket": on.bucket, "Key": "k"}, ServerSideEncryption="AES256")
    on.head_object("head of the copy", Key="k2").says(ServerSideEncryption="AES256", SSEKMSKeyId=None)


@case(judges=NO_JUDGES)
def test_multipart_with_a_key_of_the_server(on):
    upload = on.create_multipart_upload("create", Key="k", ServerSideEncryption="aws:kms", SSEKMSKeyId=KMS_KEY)
    on.note("created", algorithm=upload.get("ServerSideEncryption"), key=upload.get("SSEKMSKeyId")).says(
        algorithm="aws:kms", key=KMS_KEY)
    part = on.upload_part("part", Key="k", UploadId=upload["UploadId"], PartNumber=1, Body=b"x")
    done = on.complete_multipart_upload("complete", Key="k", UploadId=upload["UploadId"], MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    head = on.head_object("head", Key="k")
    for name, answer in (("part", part), ("completed", done), ("head", head)):
        on.note(f"{name}: algorithm", algorithm=answer.get("ServerSideEncryption")).says(algorithm="aws:kms")


@case(judges=NO_JUDGES)
def test_invalid_methods(on):
    on.put_object("another", Key="k", Body=b"x", ServerSideEncryption="ROT13").refuses(400, "InvalidArgument")
    on.put_object("a key id for another method", Key="k", Body=b"x", ServerSideEncryption="AES256",
                  SSEKMSKeyId=KMS_KEY).refuses(400, "InvalidArgument")
    on.put_object("another method for a customer key", Key="k", Body=b"x", SSECustomerAlgorithm="ROT13",
                  SSECustomerKey=KEY).refuses(400, "InvalidEncryptionAlgorithmError")
    on.put_object("both", Key="k", Body=b"x", ServerSideEncryption="AES256", **WITH_KEY).refuses(
        400, "InvalidArgument")
    on.head_object("nothing was stored", Key="k").refuses(404, "404")


def said(answer, status=200, **more):
    """States that the response names the algorithm and the key's MD5."""
    return answer.says(status=status, **SAID, **more)


@case(judges=NO_JUDGES)
def test_customer_key(on):
    said(on.put_object("put", Key="k", Body=b"harbour", **WITH_KEY))
    said(on.get_object("get", Key="k", **WITH_KEY), Body=b"harbour", ContentLength=7)
    said(on.head_object("head", Key="k", **WITH_KEY), ContentLength=7)
    said(on.get_object("a range", Key="k", Range="bytes=1-2", **WITH_KEY), status=206, Body=b"ar")
    on.get_object("get with another", Key="k", **WITH_OTHER).refuses(403, "AccessDenied")
    on.head_object("head with another", Key="k", **WITH_OTHER).refuses(403, "403")
    on.get_object("get with none", Key="k").refuses(400, "InvalidRequest")
    on.head_object("head with none", Key="k").refuses(400, "400")
    listed = on.list_objects_v2("list", Prefix="k")["Contents"][0]
    on.note("listed", size=listed["Size"]).says(size=7)
    # github.com/localstack/localstack, test_put_object_default_checksum_with_sse_c
    checked = on.client.head_object(Bucket=on.bucket, Key="k", ChecksumMode="ENABLED", **WITH_KEY)
    on.note("its checksum", value=checked.get("ChecksumCRC64NVME")).says(value=checksum("CRC64NVME", b"harbour"))
    on.delete_object("delete needs none", Key="k").says(status=204)


@case(judges=NO_JUDGES)
def test_customer_key_for_an_object_without_one(on):
    on.put_object("put", Key="k", Body=b"harbour")
    on.get_object("get", Key="k", **WITH_KEY).refuses(400, "InvalidRequest")
    on.head_object("head", Key="k", **WITH_KEY).refuses(400, "400")


@case(judges=NO_JUDGES)
def test_invalid_customer_keys(on):
    name = "x-amz-server-side-encryption-customer"
    right = {f"{name}-algorithm": "AES256", f"{name}-key": base64.b64encode(KEY).decode(),
             f"{name}-key-md5": SAID["SSECustomerKeyMD5"]}
    for step, changes in {
            "the MD5 of another key": {f"{name}-key-md5": base64.b64encode(hashlib.md5(OTHER).digest()).decode()},
            "no MD5": {f"{name}-key-md5": None},
            "no key": {f"{name}-key": None, f"{name}-key-md5": None},
            "no algorithm": {f"{name}-algorithm": None},
            "too short a key": {f"{name}-key": base64.b64encode(b"k").decode(),
                                f"{name}-key-md5": base64.b64encode(hashlib.md5(b"k").digest()).decode()},
            "a key that is not base64": {f"{name}-key": "!"},
    }.items():
        headers = {header: value for header, value in {**right, **changes}.items() if value}
        on.http(step, "PUT", "k", headers=headers, body=b"x").refuses(400, "InvalidArgument")
    on.head_object("nothing was stored", Key="k").refuses(404, "404")
    on.http("valid", "PUT", "k", headers=right, body=b"x").says(status=200)


@case(judges=NO_JUDGES)
def test_copies_with_customer_keys(on):
    source = {"Bucket": on.bucket, "Key": "from"}
    of_source = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": KEY}
    on.put_object("put", Key="from", Body=b"harbour", **WITH_KEY)
    on.copy_object("without the source's key", Key="to", CopySource=source).refuses(400, "InvalidRequest")
    on.copy_object("with another key for the source", Key="to", CopySource=source, CopySourceSSECustomerAlgorithm="AES256",
                   CopySourceSSECustomerKey=OTHER).refuses(403, "AccessDenied")
    on.copy_object("to an object without a key", Key="to", CopySource=source, **of_source).says(status=200)
    on.get_object("get", Key="to").says(Body=b"harbour", SSECustomerAlgorithm=None)
    on.copy_object("to another customer key", Key="to", CopySource=source, **of_source, **WITH_OTHER).says(
        status=200, SSECustomerAlgorithm="AES256")
    on.get_object("get with the other key", Key="to", **WITH_OTHER).says(Body=b"harbour")
    on.get_object("get with none", Key="to").refuses(400, "InvalidRequest")
    on.copy_object("onto itself with another key", Key="from", CopySource=source, **of_source, **WITH_OTHER).says(
        status=200)
    on.get_object("get after the copy onto itself", Key="from", **WITH_OTHER).says(Body=b"harbour")


@case(judges=NO_JUDGES)
def test_multipart_with_a_customer_key(on):
    upload = Upload(on, **WITH_KEY)
    said(upload.answer)
    upload.part(1, FIRST, step="without").refuses(400, "InvalidRequest")
    upload.part(1, FIRST, step="with another", **WITH_OTHER).refuses(400, "InvalidRequest")
    said(upload.part(1, FIRST, **WITH_KEY))
    said(upload.part(2, LAST, **WITH_KEY))
    upload.complete().says(status=200)
    said(on.get_object("get", Key="k", Range="bytes=-8", **WITH_KEY), status=206, Body=LAST)
    on.get_object("get with none", Key="k").refuses(400, "InvalidRequest")
