"""Objects in a bucket without versioning have one version, named null.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html, and S3's responses as recorded in
github.com/localstack/localstack, test_get_object_with_version_unversioned_bucket and test_delete_object.
"""

from comparing.cases import case

OTHER = "HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD"


# moto accepts any version id, and versitygw supports versions only if it is configured to.
@case(judges=())
def test_null_is_the_only_version(on):
    on.put_object("put", Key="k", Body=b"harbour", Tagging="a=1")
    source = f"{on.bucket}/k?versionId="
    on.get_object("get", Key="k", VersionId="null").says(status=200, Body=b"harbour")
    on.head_object("head", Key="k", VersionId="null").says(status=200, ContentLength=7)
    on.get_object_tagging("tags", Key="k", VersionId="null").says(status=200, TagSet=[{"Key": "a", "Value": "1"}])
    on.copy_object("copy", Key="copy", CopySource=source + "null").says(status=200)
    on.get_object("get another", Key="k", VersionId=OTHER).refuses(400, "InvalidArgument")
    on.head_object("head of another", Key="k", VersionId=OTHER).refuses(400, "400")
    on.copy_object("copy another", Key="copy", CopySource=source + OTHER).refuses(400, "InvalidArgument")
    on.delete_object("delete another", Key="k", VersionId=OTHER).refuses(400, "InvalidArgument")
    answer = on.delete_objects("delete another of many", Delete={"Objects": [{"Key": "k", "VersionId": OTHER}]})
    on.note("another of many", errors=[each["Code"] for each in answer.get("Errors", [])],
            deleted=[each["Key"] for each in answer.get("Deleted", [])]).says(errors=["NoSuchVersion"], deleted=[])
    on.head_object("still there after that", Key="k").says(status=200)
    on.delete_object("delete", Key="k", VersionId="null").says(status=204)
    on.head_object("gone", Key="k").refuses(404, "404")


@case(judges=())
def test_unsupported_headers_are_rejected(on):
    """A caller that sends these relies on them. S3, moto and versitygw each support some of them."""
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": "2099-01-01T00:00:00Z"}
    someone = 'id="111122223333"'
    for step, arguments in {
            "a lock": lock, "a legal hold": {"ObjectLockLegalHoldStatus": "ON"}, "an ACL": {"ACL": "public-read"},
            "a grant": {"GrantRead": someone}, "appending": {"WriteOffsetBytes": 1},
    }.items():
        status = on.put_object(step, Key=step, Body=b"x", **arguments).recorded["status"]
        on.steps.pop(step)
        on.note(step, refused=status in (400, 403, 501)).says(refused=True)
        on.head_object(f"{step}: nothing was stored", Key=step).refuses(404, "404")
    for step, arguments in {
            "a bucket with locks": {"ObjectLockEnabledForBucket": True}, "a bucket with a list": {"ACL": "public-read"},
    }.items():
        name = f"{on.bucket}-{'l' if 'list' in step else 'o'}"
        status = on.create_bucket(step, Bucket=name, **arguments).recorded["status"]
        on.steps.pop(step)
        on.note(step, refused=status in (400, 403, 501)).says(refused=True)
