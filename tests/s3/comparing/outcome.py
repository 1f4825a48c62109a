"""The parts of a response that are compared: status, error code and some fields. Values that differ from call to call are
replaced."""

import datetime
import hashlib
import json

from botocore.exceptions import ClientError

READ = """ETag ContentLength ContentRange ContentType AcceptRanges Metadata CacheControl ContentDisposition
    ContentEncoding ContentLanguage ExpiresString StorageClass TagCount PartsCount MissingMeta WebsiteRedirectLocation
    SSECustomerAlgorithm SSECustomerKeyMD5 Body LastModified"""

# The fields of an operation's response that are compared, in addition to those that a case names. All fields, if the
# operation is not listed.
COMPARED = {operation: frozenset(fields.split()) for operation, fields in {
    "abort_multipart_upload": "",
    "complete_multipart_upload": "Key ETag Bucket",
    "copy_object": "CopyObjectResult SSECustomerAlgorithm SSECustomerKeyMD5",
    "create_bucket": "Location",
    "create_multipart_upload": "Bucket Key UploadId SSECustomerAlgorithm SSECustomerKeyMD5",
    "delete_object": "",
    "delete_object_tagging": "",
    "delete_objects": "Deleted Errors",
    "get_object": READ,
    "get_object_tagging": "TagSet",
    "head_bucket": "",
    "head_object": READ,
    "list_parts": "Bucket Key UploadId PartNumberMarker NextPartNumberMarker MaxParts IsTruncated Parts StorageClass",
    "put_object_tagging": "",
    "put_object": "ETag SSECustomerAlgorithm SSECustomerKeyMD5",
    "upload_part": "ETag SSECustomerAlgorithm SSECustomerKeyMD5",
    "upload_part_copy": "CopyPartResult SSECustomerAlgorithm SSECustomerKeyMD5",
}.items()}

# Replaced at any depth: only their presence can be compared.
REPLACED = {
    "ContinuationToken": "(a token)", "ID": "(an id)", "Initiator": "(someone)", "NextContinuationToken": "(a token)",
    "Owner": "(someone)", "UploadId": "(an upload)", "UploadIdMarker": "(an upload)",
    "NextUploadIdMarker": "(an upload)",
}
# Omitted at any depth, unless a case names them.
LEFT_OUT = {
    "ResponseMetadata", "VersionId", "RequestCharged", "ChecksumAlgorithm", "ChecksumType", "ChecksumCRC32",
    "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256", "BucketKeyEnabled",
}


def of_answer(operation, answer, also, bucket):
    """Returns the outcome of a call that boto3 considers successful. `answer["Body"]` has already been read."""
    compared = COMPARED.get(operation)
    outcome = {"status": answer["ResponseMetadata"]["HTTPStatusCode"]}
    for name, value in answer.items():
        if name == "ResponseMetadata" or (compared is not None and name not in compared | also):
            continue
        # Some servers return the storage class of every object. S3 omits STANDARD.
        if (name, value) != ("StorageClass", "STANDARD") or compared is None or "Body" not in compared:
            outcome[name] = _plain(name, value, also, bucket)
    return outcome


def of_error(error: ClientError, also):
    """Returns the outcome of a failed call."""
    answer = error.response
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    outcome = {"status": status, "code": answer["Error"]["Code"]}
    # These two responses have headers that callers use.
    if status == 304:
        outcome["ETag"] = headers.get("etag")
    if status == 416:
        outcome["ContentRange"] = headers.get("content-range")
    for name, value in answer["Error"].items():
        if name in also and name not in ("Code", "Message"):
            outcome[name] = value
    return outcome


def shown_body(data):
    """Returns short bytes as they are, and long ones as their length and a hash."""
    if len(data) <= 200:
        return data
    return f"{len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()[:16]}"


def _plain(name, value, also, bucket):
    if name in REPLACED and value:
        return REPLACED[name]
    if isinstance(value, datetime.datetime):
        return "(a date)"
    if isinstance(value, bytes):
        return shown_body(value)
    if isinstance(value, dict):
        return {key: _plain(key, inner, also, bucket) for key, inner in value.items()
                if key in also or key not in LEFT_OUT}
    if name == "TagSet":
        # S3 does not guarantee the order of tags.
        return sorted(value, key=lambda tag: tag["Key"])
    if isinstance(value, list):
        return [_plain("", inner, also, bucket) for inner in value]
    if isinstance(value, str) and bucket:
        return value.replace(bucket, "(the bucket)")
    return value


def same(left, right):
    """Whether two values of a field are equal, whatever the order of keys in dicts."""
    return _sorted(left) == _sorted(right)


def _sorted(value):
    return json.dumps(value, sort_keys=True, default=repr)
