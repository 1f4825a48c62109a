"""Tags of objects.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
"""

from comparing.cases import case

LONGEST_KEY, LONGEST_VALUE = "k" * 128, "v" * 256


def tags(**values):
    return [{"Key": key, "Value": value} for key, value in values.items()]


def tagged(on, step, listed, key="k"):
    return on.put_object_tagging(step, Key=key, Tagging={"TagSet": listed})


def put(on, **arguments):
    return on.put_object("put", Key="k", Body=b"x", **arguments)


@case()
def test_put_get_delete(on):
    put(on)
    on.get_object_tagging("none", Key="k").says(status=200, TagSet=None)
    tagged(on, "tag", tags(a="1", b="")).says(status=200)
    on.get_object_tagging("get", Key="k").says(TagSet=tags(a="1", b=""))
    on.head_object("head", Key="k").says(TagCount=2)
    on.get_object("get the object", Key="k").says(TagCount=2)
    tagged(on, "tag again", tags(c="3"))
    on.get_object_tagging("replaced", Key="k").says(TagSet=tags(c="3"))
    on.delete_object_tagging("delete", Key="k").says(status=204)
    on.get_object_tagging("gone", Key="k").says(status=200, TagSet=None)
    on.delete_object_tagging("delete again", Key="k").says(status=204)
    tagged(on, "tag with none", []).says(status=200)
    on.head_object("head again", Key="k").says(TagCount=None)


@case()
def test_tags_in_the_put(on):
    put(on, Tagging="a=1&b=x%20y&c%2Bd=%C3%A9&e=x+y&f")
    on.get_object_tagging("get", Key="k").says(TagSet=tags(**{"a": "1", "b": "x y", "c+d": "é", "e": "x y", "f": ""}))
    on.get_object("get the object", Key="k").says(TagCount=5)
    on.put_object("put again", Key="k", Body=b"y")
    on.get_object_tagging("gone after the overwrite", Key="k").says(TagSet=None)


@case()
def test_missing_key(on):
    on.get_object_tagging("get", Key="nothing").refuses(404, "NoSuchKey")
    on.delete_object_tagging("delete", Key="nothing").refuses(404, "NoSuchKey")
    tagged(on, "tag", tags(a="1"), key="nothing").refuses(404, "NoSuchKey")


@case()
def test_limits(on):
    put(on)
    tagged(on, "ten", tags(**{f"k{number}": "v" for number in range(10)})).says(status=200)
    tagged(on, "eleven", tags(**{f"k{number}": "v" for number in range(11)})).refuses(400, "BadRequest")
    tagged(on, "the longest", [{"Key": LONGEST_KEY, "Value": LONGEST_VALUE}]).says(status=200)
    tagged(on, "too long a key", [{"Key": LONGEST_KEY + "k", "Value": "v"}]).refuses(400, "InvalidTag")
    tagged(on, "too long a value", [{"Key": "k", "Value": LONGEST_VALUE + "v"}]).refuses(400, "InvalidTag")
    on.get_object_tagging("the last successful tags", Key="k").says(
        TagSet=[{"Key": LONGEST_KEY, "Value": LONGEST_VALUE}])
    # The limits count characters, not bytes.
    tagged(on, "the longest, not ASCII", [{"Key": "ä" * 128, "Value": "é" * 256}]).says(status=200)


@case()
def test_limits_in_the_header(on):
    put(on, Tagging="&".join(f"k{number}=v" for number in range(10))).says(status=200)
    for step, given, code in (
            ("eleven", "&".join(f"k{number}=v" for number in range(11)), "BadRequest"),
            ("too long a key", f"{LONGEST_KEY}k=v", "InvalidTag"),
            ("too long a value", f"k={LONGEST_VALUE}v", "InvalidTag"),
            ("twice", "a=1&a=2", "InvalidArgument")):
        on.put_object(step, Key="other", Body=b"x", Tagging=given).refuses(400, code)
    on.head_object("nothing was stored", Key="other").refuses(404, "404")


@case()
def test_characters(on):
    """Letters, digits, spaces and + - = . _ : / @"""
    put(on)
    tagged(on, "all allowed characters", [{"Key": "aZ9 +-=._:/@", "Value": "aZ9 +-=._:/@ äöü 漢"}]).says(status=200)
    on.get_object_tagging("get", Key="k").says(TagSet=[{"Key": "aZ9 +-=._:/@", "Value": "aZ9 +-=._:/@ äöü 漢"}])
    for letter in "?#&!*<":
        tagged(on, f"key {letter}", [{"Key": f"a{letter}", "Value": "v"}]).refuses(400, "InvalidTag")
        tagged(on, f"value {letter}", [{"Key": "a", "Value": f"v{letter}"}]).refuses(400, "InvalidTag")


@case()
def test_invalid_tags(on):
    put(on)
    tagged(on, "twice", [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]).refuses(400, "InvalidTag")
    tagged(on, "AWS's own prefix", tags(**{"aws:a": "1"})).refuses(400, "InvalidTag")
    on.http("an empty key", "PUT", "k", query={"tagging": ""}, body=(
        b"<Tagging><TagSet><Tag><Key></Key><Value>v</Value></Tag></TagSet></Tagging>")).refuses(400, "InvalidTag")
    for step, body in (("not XML", b"a=1"),
                       ("no value", b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>"),
                       ("no key", b"<Tagging><TagSet><Tag><Value>a</Value></Tag></TagSet></Tagging>")):
        on.http(step, "PUT", "k", query={"tagging": ""}, body=body).refuses(400, "MalformedXML")
    tagged(on, "keys that differ in case", tags(a="1", A="2")).says(status=200)


@case()
def test_tags_change_nothing_else(on):
    put(on, Metadata={"a": "b"}, CacheControl="no-cache")
    before = on.head_object("head", Key="k")["LastModified"]
    tagged(on, "tag", tags(a="1"))
    after = on.head_object("head again", Key="k").says(Metadata={"a": "b"}, CacheControl="no-cache")["LastModified"]
    on.note("its date", same=before == after).says(same=True)
