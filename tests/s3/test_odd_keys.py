"""Keys that naive servers get wrong. Each is a separate object, stored under exactly the given key.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
"""

import hashlib

from comparing.cases import case
from support.odd_keys import BESIDE, LONG, ODD

# versitygw treats keys as paths, so only moto can judge. moto does not support newlines.
JUDGES = ("moto",)
PATHS = [".", "..", "./x", "../x", "a/../b", "a/./b", "//", "/x", "x/", "x//", "a//b", "a/b/", "...", "a/..", "~",
         "//x//"]
# XML 1.0 cannot contain these, so listings are read with encoding-type=url, which boto3 requests.
CONTROLS = ["\x01", "\x1f", "a\x7fb", "\t", "a\r", "\ufffe"]
ESCAPES = ["%2F", "%2f", "%", "%zz", "a%2Fb", "a%20b", "+", "a+b", "a b", " a", "a ", "  ", "?", "a?b=c", "#", "a#b",
           "&", "&amp;", "a=b", "<", ">", '"', "'", "`", "\\", "|", "^", "{}", "[]", "*", "@:,;!$()", "?versions",
           "a?acl"]
LETTERS = ["é", "e\u0301", "漢字", "😀", "\u202e", "\u00a0", "ß", "İ", "ǆ", "A", "a"]


def content(key):
    return hashlib.md5(key.encode()).hexdigest().encode()


def named(key):
    """Returns a short name for the key."""
    return repr(key) if len(key) < 40 else f"{key[:5]!r} of {len(key)}"


def moved(on, keys):
    """Puts, reads, lists, copies and deletes each key, and checks that no other key is affected."""
    expected = sorted(keys, key=str.encode)
    for key in keys:
        on.put_object(f"put {named(key)}", Key=key, Body=content(key)).says(status=200)
    on.note("listed", keys=listed(on, "list")).says(keys=expected)
    for key in keys:
        on.get_object(f"get {named(key)}", Key=key).says(status=200, Body=content(key))
        on.head_object(f"head {named(key)}", Key=key).says(status=200, ContentLength=len(content(key)))
        on.note(f"prefix {named(key)}", keys=listed(on, f"list {named(key)}", Prefix=key)).says(
            keys=[found for found in expected if found.startswith(key)])
        on.copy_object(f"copy {named(key)}", Key="copy", CopySource={"Bucket": on.bucket, "Key": key}).says(status=200)
        on.get_object(f"get the copy of {named(key)}", Key="copy").says(Body=content(key))
        on.copy_object(f"copy back {named(key)}", Key=key, CopySource={"Bucket": on.bucket, "Key": "copy"}).says(
            status=200)
    on.client.delete_object(Bucket=on.bucket, Key="copy")
    on.note("still the same keys", keys=listed(on, "list again")).says(keys=expected)
    for key in keys[::2]:
        on.delete_object(f"delete {named(key)}", Key=key).says(status=204)
        on.get_object(f"get {named(key)}, deleted", Key=key).refuses(404, "NoSuchKey")
    on.note("the others are left", keys=listed(on, "list the others")).says(
        keys=[key for key in expected if key not in keys[::2]])
    answer = on.client.delete_objects(Bucket=on.bucket, Delete={"Objects": [{"Key": key} for key in keys[1::2]]})
    on.note("deleted at once", keys=sorted(found["Key"] for found in answer.get("Deleted", []))).says(
        keys=sorted(keys[1::2]))
    on.note("nothing is left", keys=listed(on, "list the rest")).says(keys=[])


def listed(on, step, **arguments):
    return [found["Key"] for found in on.client.list_objects_v2(Bucket=on.bucket, **arguments).get("Contents", [])]


@case(JUDGES)
def test_keys_that_look_like_paths(on):
    moved(on, PATHS)


@case(JUDGES)
def test_keys_that_are_also_folders(on):
    """A file system has either a file or a folder of a name."""
    moved(on, BESIDE)


@case(JUDGES)
def test_keys_that_look_escaped(on):
    moved(on, ESCAPES)


@case(JUDGES)
def test_letters(on):
    """Keys that differ in Unicode normalisation or case are different keys."""
    moved(on, LETTERS)


@case(judges=())
def test_controls(on):
    """DeleteObjects cannot name keys that XML cannot contain, so each is deleted alone. moto's listings are invalid XML."""
    for key in CONTROLS:
        on.put_object(f"put {named(key)}", Key=key, Body=content(key)).says(status=200)
    expected = sorted(CONTROLS, key=str.encode)
    on.note("listed", keys=listed(on, "list")).says(keys=expected)
    for key in CONTROLS:
        on.get_object(f"get {named(key)}", Key=key).says(status=200, Body=content(key))
        on.copy_object(f"copy {named(key)}", Key="copy", CopySource={"Bucket": on.bucket, "Key": key}).says(status=200)
        on.get_object(f"get the copy of {named(key)}", Key="copy").says(Body=content(key))
        on.delete_object(f"delete {named(key)}", Key=key).says(status=204)
        on.head_object(f"head {named(key)}", Key=key).refuses(404, "404")


@case(judges=())
def test_newlines(on):
    moved(on, ["\n", "a\nb", "a\r\nb", "a\n", "a"])


@case(JUDGES)
def test_longest_keys(on):
    moved(on, LONG)


@case(JUDGES)
def test_too_long(on):
    """The maximum is 1,024 bytes, however many characters they are."""
    for what, key in (("letters", "l" * 1025), ("bytes", "é" * 512 + "l"), ("of a path", "s/" * 512 + "s")):
        on.put_object(f"put {what}", Key=key, Body=b"x").refuses(400, "KeyTooLongError")
        on.get_object(f"get {what}", Key=key).refuses(400, "KeyTooLongError")
        on.create_multipart_upload(f"create {what}", Key=key).refuses(400, "KeyTooLongError")
    on.note("nothing was stored", keys=listed(on, "list")).says(keys=[])


@case(JUDGES)
def test_folders_of_odd_keys(on):
    """The delimiter is looked up in the key itself, not in its encoded form."""
    keys = ["%2F", "a%2Fb", "a/%2F", "a/b", "//", "/", "é/e", "e\u0301/e"]
    for key in keys:
        on.put_object(f"put {named(key)}", Key=key, Body=b"x")
    answer = on.client.list_objects_v2(Bucket=on.bucket, Delimiter="/")
    on.note("by folders", keys=[found["Key"] for found in answer["Contents"]],
            folders=[found["Prefix"] for found in answer["CommonPrefixes"]]).says(
        keys=["%2F", "a%2Fb"], folders=["/", "a/", "e\u0301/", "é/"])


@case(JUDGES)
def test_multipart_uploads(on):
    keys = [key for key in dict.fromkeys(ODD) if key.isprintable() or key == "\u202e"]
    begun = {}
    for key in keys:
        begun[key] = on.create_multipart_upload(f"create {named(key)}", Key=key).says(status=200, Key=key)["UploadId"]
    found = on.client.list_multipart_uploads(Bucket=on.bucket).get("Uploads", [])
    on.note("uploads", keys=[each["Key"] for each in found]).says(keys=sorted(keys, key=str.encode))
    for key in keys:
        part = on.client.upload_part(Bucket=on.bucket, Key=key, UploadId=begun[key], PartNumber=1, Body=content(key))
        on.complete_multipart_upload(f"complete {named(key)}", Key=key, UploadId=begun[key], MultipartUpload={
            "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}).says(status=200, Key=key)
        on.get_object(f"get {named(key)}", Key=key).says(Body=content(key))
