"""Listings of objects, versions 1 and 2.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html
"""

import re
from urllib.parse import unquote_plus

from comparing.cases import case

# S3's response as recorded in github.com/localstack/localstack, tests/aws/services/s3/*.snapshot.json.
RECORDED = "test_list_objects_marker_common_prefixes"
KEYS = ["A", "a", "b/1", "b/2", "b/c/3", "b/c/4", "c--1", "c--2", "c-1", "d/", "d/1", "e f", "g+h", "z", "é"]
KEYS_WITHOUT_FOLDERS = [key for key in KEYS if not key.endswith("/")]


def put(on, keys=None):
    for key in KEYS_WITHOUT_FOLDERS if keys is None else keys:
        on.put_object(f"put {key}", Key=key, Body=key.encode())


def both(on, step, **arguments):
    """Lists with both versions. Also records the keys and prefixes in the order in which they are returned."""
    for version, operation in (("v1", "list_objects"), ("v2", "list_objects_v2")):
        answer = getattr(on, operation)(f"{version}, {step}", **arguments)
        on.note(f"{version}, {step}: names", **names(answer))


def names(answer):
    return {"keys": [found["Key"] for found in answer.get("Contents", [])],
            "prefixes": [found["Prefix"] for found in answer.get("CommonPrefixes", [])]}


@case()
def test_all(on):
    both(on, "nothing")
    put(on)
    both(on, "all")
    on.note("in byte order", **names(on.list_objects_v2("again"))).says(keys=KEYS_WITHOUT_FOLDERS)


@case()
def test_prefixes_and_delimiters(on):
    put(on)
    for step, arguments in {
            "a prefix": {"Prefix": "b/"},
            "a prefix that is not a folder": {"Prefix": "b/c"},
            "a whole key": {"Prefix": "b/1"},
            "no such prefix": {"Prefix": "no"},
            "a delimiter": {"Delimiter": "/"},
            "both": {"Prefix": "b/", "Delimiter": "/"},
            "both, without a folder": {"Prefix": "b", "Delimiter": "/"},
            "two letters": {"Delimiter": "--"},
            "a prefix and two letters": {"Prefix": "c", "Delimiter": "--"},
            "no such delimiter": {"Delimiter": "%"},
            "a space": {"Delimiter": " "},
            "a letter": {"Delimiter": "c"},
            "an empty one": {"Delimiter": "", "Prefix": ""},
    }.items():
        both(on, step, **arguments)


@case(judges=("moto",))
def test_folders_as_objects(on):
    """versitygw creates a folder for each."""
    put(on, ["d/", "d/1", "d//", "/", "/x"])
    for prefix in ("", "d/", "d//", "/"):
        both(on, f"below {prefix}", Prefix=prefix, Delimiter="/")


@case()
def test_start_after(on):
    put(on)
    for after in ("a", "b/", "b/c/3", "b/c", "zz", "é", "A", " "):
        step = f"after {after!r}"
        answer = on.list_objects_v2(f"v2, {step}", StartAfter=after).says(StartAfter=after, ContinuationToken=None)
        on.note(f"v2, {step}: names", **names(answer)).says(
            keys=[key for key in KEYS_WITHOUT_FOLDERS if key.encode() > after.encode()])
        on.note(f"v1, {step}: names", **names(on.list_objects(f"v1, {step}", Marker=after))).says(
            keys=[key for key in KEYS_WITHOUT_FOLDERS if key.encode() > after.encode()])
    # The folder that contains the marker is skipped: see `RECORDED`.
    for version, operation, named in (("v1", on.list_objects, "Marker"), ("v2", on.list_objects_v2, "StartAfter")):
        answer = operation(f"{version}, after b/2 by folders", Delimiter="/", **{named: "b/2"})
        on.note(f"{version}, past the folder that contains the marker", **names(answer)).says(
            keys=["c--1", "c--2", "c-1", "e f", "g+h", "z", "é"], prefixes=["d/"])
    on.note("past a folder", **names(on.list_objects_v2("after b/ by folders", StartAfter="b/", Delimiter="/")))
    on.note("with a prefix", **names(on.list_objects_v2("after b/1 below b/", StartAfter="b/1", Prefix="b/")))


@case()
def test_max_keys(on):
    put(on, ["a", "b", "c"])
    both(on, "none", MaxKeys=0)
    both(on, "one", MaxKeys=1, Delimiter="/")
    both(on, "exactly all", MaxKeys=3)
    both(on, "more than exist", MaxKeys=5000)
    for version in ("1", "2"):
        for value in ("-1", "x", "99999999999"):
            on.http(f"v{version}, {value}", "GET", query={"list-type": version, "max-keys": value}).refuses(
                400, "InvalidArgument")


def by_pages(on, version, size, **arguments):
    """Lists page by page. Records all names, and the number of names on each page."""
    found, sizes, more = [], [], {}
    for page in range(1, 30):
        step = f"v{version}, {size} per page, page {page}"
        operation = on.list_objects if version == 1 else on.list_objects_v2
        answer = operation(step, MaxKeys=size, **arguments, **more)
        if version == 1 and "Delimiter" not in arguments:
            answer.says(NextMarker=None)
        said = names(answer)
        found += sorted(said["keys"] + said["prefixes"], key=str.encode)
        sizes.append(len(said["keys"]) + len(said["prefixes"]))
        if not answer.get("IsTruncated"):
            break
        if version == 2:
            more = {"ContinuationToken": answer["NextContinuationToken"]}
        else:
            # The last key, if S3 returns no next marker.
            more = {"Marker": answer.get("NextMarker") or said["keys"][-1]}
    return on.note(f"v{version}, {size} per page", found=found, sizes=sizes)


@case()
def test_pages(on):
    put(on)
    count = len(KEYS_WITHOUT_FOLDERS)
    for version in (1, 2):
        for size in (1, 4, count):
            whole = [size] * (count // size) + ([count % size] if count % size else [])
            by_pages(on, version, size).says(found=KEYS_WITHOUT_FOLDERS, sizes=whole)


@case(judges=("versitygw",))
def test_pages_of_folders(on):
    """A folder counts as one name and is returned once, however many keys are in it.

    moto counts only keys, and returns every folder on every page.
    """
    put(on)
    folded = ["A", "a", "b/", "c--1", "c--2", "c-1", "d/", "e f", "g+h", "z", "é"]
    for version in (1, 2):
        for size in (1, 2, 3):
            whole = [size] * (len(folded) // size) + ([len(folded) % size] if len(folded) % size else [])
            by_pages(on, version, size, Delimiter="/").says(found=folded, sizes=whole)


@case(judges=("versitygw",))
def test_pages_below_a_prefix(on):
    put(on)
    for version in (1, 2):
        by_pages(on, version, 1, Prefix="b/", Delimiter="/").says(found=["b/1", "b/2", "b/c/"], sizes=[1, 1, 1])


@case()
def test_tokens(on):
    put(on, ["a", "b", "c", "d"])
    token = on.list_objects_v2("one", MaxKeys=1)["NextContinuationToken"]
    on.note("a token wins over start-after", **names(on.list_objects_v2(
        "both", ContinuationToken=token, StartAfter="c").says(StartAfter="c"))).says(keys=["b", "c", "d"])
    on.list_objects_v2("invalid token", ContinuationToken="no token").refuses(400, "InvalidArgument")
    on.put_object("put between", Key="aa", Body=b"")
    on.note("keys added since", **names(on.list_objects_v2("continue", ContinuationToken=token))).says(
        keys=["aa", "b", "c", "d"])


@case(judges=())
def test_url_encoding(on):
    """boto3 decodes a listing if it requested the encoding itself, but not if the caller did.

    versitygw ignores encoding-type, and moto supports it only in part. Servers may differ in the characters that they
    escape, but must yield the same text when it is decoded as boto3 does.
    """
    keys = ["a b", "a+b", "a%2Fb", "a/b c/d", "ä", "a&b", "a(1)", "a~*'", "a\tb", "a<b"]
    put(on, keys)
    for version, operation in (("v1", on.list_objects), ("v2", on.list_objects_v2)):
        found = names(operation(f"{version}, all", EncodingType="url").says(status=200, EncodingType="url"))["keys"]
        on.note(f"{version}, escaped keys",
                strange=[key for key in found if re.search(r"[^!-;=?-~]|%(?![0-9A-F]{2})", key)],
                keys=[unquote_plus(key) for key in found]).says(strange=[], keys=sorted(keys, key=str.encode))
        answer = operation(f"{version}, below", EncodingType="url", Prefix="a/b ", Delimiter="/")
        on.note(f"{version}, the rest", prefix=unquote_plus(answer["Prefix"]), delimiter=unquote_plus(
            answer["Delimiter"]), prefixes=[unquote_plus(prefix) for prefix in names(answer)["prefixes"]],
            plain=" " in answer["Prefix"]).says(prefix="a/b ", delimiter="/", prefixes=["a/b c/"], plain=False)
    for value in ("xml", ""):
        on.http(f"encoding {value!r}", "GET", query={"list-type": "2", "encoding-type": value}).refuses(
            400, "InvalidArgument")


@case()
def test_owners(on):
    put(on, ["a"])
    for step, operation, arguments, owned in (
            ("v1", "list_objects", {}, True), ("v2", "list_objects_v2", {}, False),
            ("v2, asked for", "list_objects_v2", {"FetchOwner": True}, True)):
        answer = getattr(on, operation)(step, **arguments)
        found = answer["Contents"][0].get("Owner", {})
        on.note(f"{step}: whether there is an owner", owner=bool(found.get("ID"))).says(owner=owned)


@case()
def test_a_thousand_and_one(on):
    """No page has more than 1,000 keys, whatever was requested."""
    keys = [f"{number:04}" for number in range(1001)]
    for key in keys:
        on.client.put_object(Bucket=on.bucket, Key=key, Body=b"")
    for version, operation in ((1, on.list_objects), (2, on.list_objects_v2)):
        for size in (None, 1000, 5000):
            asked = {"MaxKeys": size} if size else {}
            answer = operation(f"v{version}, {size}", **asked)
            on.note(f"v{version}, {size}: count", count=len(answer["Contents"]), more=answer["IsTruncated"],
                    limit=answer["MaxKeys"]).says(count=1000, more=True, limit=1000)
    by_pages(on, 2, 1000).says(found=keys, sizes=[1000, 1])
