"""Buckets, and Requester Pays.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from comparing.cases import case
from comparing.uploads import NO_UPLOAD, Upload

NONE = "no-such-bucket-here"


@case()
def test_create_head_list_delete(on):
    other = f"{on.bucket}-other"
    on.head_bucket("not there", Bucket=other).refuses(404, "404")
    on.create_bucket("create", Bucket=other).says(status=200)
    on.head_bucket("head", Bucket=other).says(status=200)
    listed = [found["Name"] for found in on.client.list_buckets()["Buckets"]]
    on.note("listed", both=other in listed and on.bucket in listed, sorted=listed == sorted(listed)).says(
        both=True, sorted=True)
    on.delete_bucket("delete", Bucket=other).says(status=204)
    on.head_bucket("gone", Bucket=other).refuses(404, "404")
    on.delete_bucket("delete again", Bucket=other).refuses(404, "NoSuchBucket")


@case()
def test_create_again(on):
    """In us-east-1, S3 allows this to the owner: API_CreateBucket.html, BucketAlreadyOwnedByYou. The objects stay."""
    on.put_object("put", Key="k", Body=b"x")
    on.create_bucket("create again").says(status=200)
    on.head_object("still there", Key="k").says(status=200)


@case()
def test_list_by_prefix(on):
    for name in ("one", "two"):
        on.create_bucket(f"create {name}", Bucket=f"{on.bucket}-{name}")
    answer = on.client.list_buckets(Prefix=f"{on.bucket}-")
    on.note("by prefix", names=[found["Name"].removeprefix(on.bucket) for found in answer["Buckets"]]).says(
        names=["-one", "-two"])
    first = on.client.list_buckets(Prefix=f"{on.bucket}-", MaxBuckets=1)
    more = {"ContinuationToken": first["ContinuationToken"]} if "ContinuationToken" in first else {}
    rest = on.client.list_buckets(Prefix=f"{on.bucket}-", MaxBuckets=1, **more)
    on.note("by pages", names=[found["Name"].removeprefix(on.bucket) for found in first["Buckets"] + rest["Buckets"]],
            more="ContinuationToken" in rest).says(names=["-one", "-two"], more=False)


@case()
def test_delete_a_bucket_that_is_not_empty(on):
    on.put_object("put", Key="k", Body=b"x")
    on.delete_bucket("delete").refuses(409, "BucketNotEmpty")
    on.head_object("still there", Key="k").says(status=200)
    on.delete_object("empty it", Key="k")
    on.delete_bucket("delete again").says(status=204)


@case()
def test_missing_bucket(on):
    calls = {
        "get_object": {"Key": "k"}, "put_object": {"Key": "k", "Body": b"x"}, "delete_object": {"Key": "k"},
        "list_objects": {}, "list_objects_v2": {}, "list_multipart_uploads": {},
        "create_multipart_upload": {"Key": "k"}, "get_bucket_location": {}, "get_bucket_cors": {},
        "delete_objects": {"Delete": {"Objects": [{"Key": "k"}]}}, "get_object_tagging": {"Key": "k"},
        "list_parts": {"Key": "k", "UploadId": NO_UPLOAD},
        "upload_part": {"Key": "k", "UploadId": NO_UPLOAD, "PartNumber": 1, "Body": b"x"},
        "copy_object": {"Key": "k", "CopySource": f"{on.bucket}/k"},
    }
    on.put_object("put", Key="k", Body=b"x")
    gone = on.in_bucket(NONE)
    for operation, arguments in calls.items():
        getattr(gone, operation)(operation, **arguments).refuses(404, "NoSuchBucket")
    gone.head_object("head_object", Key="k").refuses(404, "404")
    gone.head_bucket("head_bucket").refuses(404, "404")


@case()
def test_bucket_names(on):
    for name in ("ab", "Harbour", "har_bour", "har..bour", "-harbour", "harbour-", "192.168.5.4", "h" * 64,
                 "xn--harbour", "harbour-s3alias", ".harbour"):
        on.in_bucket(name).http(name, "PUT").refuses(400, "InvalidBucketName")
    for name in ("abc", "1harbour", "har.bour", "har-bour", "h" * 63):
        on.create_bucket(name, Bucket=name).says(status=200)
        on.client.delete_bucket(Bucket=name)


@case()
def test_location(on):
    """us-east-1 has no location constraint: API_GetBucketLocation.html."""
    on.get_bucket_location("get").says(status=200, LocationConstraint=None)


@case()
def test_region_of_a_bucket(on):
    on.http("head", "HEAD", shown="x-amz-bucket-region").says(status=200, **{"x-amz-bucket-region": "us-east-1"})


@case()
def test_versioning_is_off(on):
    on.get_bucket_versioning("get").says(status=200, Status=None)


@case()
def test_delete_with_an_upload_in_progress(on):
    """An upload is not an object, so the bucket is empty. The upload ends with the bucket."""
    upload = Upload(on)
    on.delete_bucket("delete").says(status=204)
    upload.list().refuses(404, "NoSuchBucket")


@case(judges=())
def test_requester_pays_setting(on):
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/RequesterPaysBuckets.html

    moto forgets the setting, and versitygw does not support it.
    """
    on.get_bucket_request_payment("initially").says(Payer="BucketOwner")
    on.put_bucket_request_payment("set", RequestPaymentConfiguration={"Payer": "Requester"}).says(status=200)
    on.get_bucket_request_payment("after set").says(Payer="Requester")
    on.put_bucket_request_payment("another payer", RequestPaymentConfiguration={"Payer": "Nobody"}).refuses(
        400, "MalformedXML")
    on.put_bucket_request_payment("set back", RequestPaymentConfiguration={"Payer": "BucketOwner"}).says(status=200)
    on.get_bucket_request_payment("after set back").says(Payer="BucketOwner")


@case(judges=())
def test_requester_pays_is_enforced(on):
    """moto and versitygw do not enforce it. S3 exempts the bucket's owner, but a demo has no other caller."""
    on.put_object("put", Key="k", Body=b"x")
    on.put_bucket_request_payment("set", RequestPaymentConfiguration={"Payer": "Requester"}).says(status=200)
    paying = {"RequestPayer": "requester"}
    for step, operation, arguments in (
            ("get", "get_object", {"Key": "k"}), ("put", "put_object", {"Key": "k", "Body": b"x"}),
            ("list", "list_objects_v2", {}), ("create", "create_multipart_upload", {"Key": "k"}),
            ("tags", "get_object_tagging", {"Key": "k"}),
            ("copy", "copy_object", {"Key": "k2", "CopySource": f"{on.bucket}/k"})):
        getattr(on, operation)(f"{step} without RequestPayer", **arguments).refuses(403, "AccessDenied")
        answer = getattr(on, operation)(f"{step} with RequestPayer", **arguments, **paying).says(status=200)
        if step == "get":
            on.note("charged", charged=answer.get("RequestCharged")).says(charged="requester")
    on.head_object("head without RequestPayer", Key="k").refuses(403, "403")
    on.head_object("head with RequestPayer", Key="k", **paying).says(status=200)
    on.delete_object("delete without RequestPayer", Key="k").refuses(403, "AccessDenied")
    on.delete_object("delete with RequestPayer", Key="k", **paying).says(status=204)


@case(judges=())
def test_unsupported_operations(on):
    """S3, moto and versitygw support these. A server that does not must say so: ErrorResponses.html, NotImplemented."""
    on.put_object("put", Key="k", Body=b"x")
    for operation, arguments in {
            "put_bucket_acl": {"ACL": "private"},
            "put_object_acl": {"Key": "k", "ACL": "private"},
            "put_bucket_lifecycle_configuration": {"LifecycleConfiguration": {"Rules": [
                {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]}},
            "get_bucket_lifecycle_configuration": {},
            "put_bucket_policy": {"Policy": "{}"}, "get_bucket_policy": {},
            "put_object_lock_configuration": {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}},
            "put_object_retention": {"Key": "k", "Retention": {"Mode": "GOVERNANCE"}},
            "put_object_legal_hold": {"Key": "k", "LegalHold": {"Status": "ON"}},
            "put_bucket_encryption": {"ServerSideEncryptionConfiguration": {"Rules": [
                {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}},
            "put_bucket_website": {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "index.html"}}},
            "put_bucket_tagging": {"Tagging": {"TagSet": []}},
            "put_bucket_logging": {"BucketLoggingStatus": {}},
            "put_bucket_notification_configuration": {"NotificationConfiguration": {}},
            "put_bucket_replication": {"ReplicationConfiguration": {"Role": "arn:aws:iam::1:role/a", "Rules": [
                {"Status": "Enabled", "Priority": 1, "DeleteMarkerReplication": {"Status": "Disabled"},
                 "Filter": {"Prefix": ""}, "Destination": {"Bucket": "arn:aws:s3:::a"}}]}},
            "get_object_torrent": {"Key": "k"},
            "select_object_content": {"Key": "k", "Expression": "SELECT 1", "ExpressionType": "SQL",
                                      "InputSerialization": {"CSV": {}}, "OutputSerialization": {"CSV": {}}},
    }.items():
        getattr(on, operation)(operation, **arguments).refuses(501, "NotImplemented")
    on.get_object("nothing was changed", Key="k").says(Body=b"x")
