"""DeleteObject and DeleteObjects.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
"""

import base64
import hashlib

from comparing.cases import case
from comparing.checksums import checksum

XML = "<Delete><Object><Key>{}</Key></Object></Delete>"


def put(on, *keys):
    for key in keys:
        on.put_object(f"put {key}", Key=key, Body=b"x")


def delete(on, step, keys, **more):
    """Deletes keys with one call. Also records the result for each key, since S3 does not guarantee an order."""
    answer = on.delete_objects(step, Delete={"Objects": [{"Key": key} for key in keys], **more})
    return on.note(f"{step}: each", deleted=sorted(each["Key"] for each in answer.get("Deleted", [])),
                   errors=sorted((each["Key"], each["Code"]) for each in answer.get("Errors", [])))


def left(on, step):
    return on.note(step, keys=[found["Key"] for found in on.list_objects_v2(f"{step}, listed").get("Contents", [])])


@case()
def test_one(on):
    put(on, "a", "b")
    on.delete_object("delete", Key="a").says(status=204)
    on.delete_object("delete again", Key="a").says(status=204)
    on.delete_object("delete a key that never existed", Key="nothing").says(status=204)
    on.get_object("get", Key="a").refuses(404, "NoSuchKey")
    left(on, "left").says(keys=["b"])


@case()
def test_many(on):
    put(on, "a", "a+b", "c/b", "d")
    delete(on, "delete", ["a", "nothing", "a+b"]).says(deleted=["a", "a+b", "nothing"], errors=[])
    left(on, "left").says(keys=["c/b", "d"])


@case()
def test_quiet(on):
    put(on, "a", "b")
    delete(on, "delete", ["a", "nothing"], Quiet=True).says(deleted=[], errors=[])
    left(on, "left").says(keys=["b"])


@case()
def test_a_key_twice(on):
    put(on, "a")
    on.delete_objects("delete", Delete={"Objects": [{"Key": "a"}, {"Key": "a"}]}).says(status=200, Errors=None)
    left(on, "left").says(keys=[])


@case()
def test_a_thousand(on):
    keys = [f"{number:04}" for number in range(1001)]
    put(on, *keys[-2:])
    on.delete_objects("one more", Delete={"Objects": [{"Key": key} for key in keys]}).refuses(400, "MalformedXML")
    left(on, "none is gone").says(keys=keys[-2:])
    delete(on, "a thousand", keys[:-1]).says(deleted=keys[:-1])
    left(on, "one is left").says(keys=keys[-1:])


@case(judges=("versitygw",))
def test_keys_that_xml_escapes(on):
    """For some of them, moto's response is not valid XML."""
    keys = ["a&b", "a<b>", "a'b\"", " a ", "a%2Fb", "é", "e\u0301", "a\tb", "漢", "😀"]
    put(on, *keys, "left")
    delete(on, "delete", keys).says(deleted=sorted(keys), errors=[])
    left(on, "left").says(keys=["left"])


@case(judges=("versitygw",))
def test_bodies(on):
    """moto accepts most of them."""
    put(on, "a")

    def post(step, body, **headers):
        sent = body.encode()
        headers = headers or {"content-md5": base64.b64encode(hashlib.md5(sent).digest()).decode()}
        return on.http(step, "POST", query={"delete": ""}, body=sent, headers=headers)

    for step, body in (("not XML", "a"), ("another element", "<Remove/>"), ("no keys", "<Delete></Delete>"),
                       ("truncated", "<Delete><Object><Key>a</Key>")):
        post(step, body).refuses(400, "MalformedXML")
    right = XML.format("a")
    post("a wrong digest", right, **{"content-md5": "XrY7u+Ae7tCTyyK7j1rNww=="}).refuses(400, "BadDigest")
    post("a wrong checksum", right, **{"x-amz-checksum-crc32": checksum("CRC32", b"another")}).refuses(400, "BadDigest")
    on.head_object("still there", Key="a").says(status=200)
    post("a checksum", right, **{"x-amz-checksum-crc32": checksum("CRC32", right.encode())}).says(status=200)
    on.head_object("gone", Key="a").refuses(404, "404")


@case(judges=("versitygw",))
def test_no_digest(on):
    """API_DeleteObjects.html: Content-MD5 or a checksum is required."""
    put(on, "a")
    on.http("delete", "POST", query={"delete": ""}, body=XML.format("a").encode()).refuses(400, "InvalidRequest")
    on.head_object("still there", Key="a").says(status=200)
