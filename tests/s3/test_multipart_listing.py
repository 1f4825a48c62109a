"""Listings of parts and of uploads.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html
"""

from comparing.cases import case
from comparing.uploads import Upload

# moto does not page these listings, and ignores the delimiter.
JUDGES = ("versitygw",)
KEYS = ["a", "a/1", "a/2", "a/b/3", "b", "c/1", "é"]


@case(JUDGES)
def test_parts_by_pages(on):
    upload = Upload(on)
    for number in (1, 3, 5, 7, 9):
        upload.part(number, b"x" * number)
    upload.list("all").says(IsTruncated=False)
    upload.list("the first two", MaxParts=2).says(IsTruncated=True, NextPartNumberMarker=3, MaxParts=2)
    upload.list("the next two", MaxParts=2, PartNumberMarker=3).says(
        IsTruncated=True, NextPartNumberMarker=7, PartNumberMarker=3)
    upload.list("the rest", MaxParts=2, PartNumberMarker=7).says(IsTruncated=False)
    upload.list("after a missing number", PartNumberMarker=4).says(IsTruncated=False)
    upload.list("after the last", PartNumberMarker=9).says(IsTruncated=False, Parts=None)
    upload.list("exactly all", MaxParts=5).says(IsTruncated=False)


@case(JUDGES)
def test_no_parts(on):
    Upload(on).list().says(status=200, IsTruncated=False, Parts=None)


def uploads(on):
    return {key: Upload(on, key, step=f"create {key}") for key in KEYS}


def named(on, step, **arguments):
    """Lists uploads. Also records the keys and prefixes of the listing."""
    answer = on.list_multipart_uploads(step, **arguments)
    on.note(f"{step}: names", uploads=[each["Key"] for each in answer.get("Uploads", [])],
            prefixes=[each["Prefix"] for each in answer.get("CommonPrefixes", [])])
    return answer


@case(JUDGES)
def test_uploads(on):
    uploads(on)
    # S3 returns the markers of the last upload even if there are no more: github.com/localstack/localstack,
    # test_list_multiparts_next_marker.
    named(on, "all").says(IsTruncated=False, NextKeyMarker="é", NextUploadIdMarker="(an upload)")
    named(on, "by prefix", Prefix="a/").says(IsTruncated=False, Prefix="a/", NextKeyMarker="a/b/3")
    named(on, "by delimiter", Delimiter="/").says(Delimiter="/", NextKeyMarker="é")
    named(on, "by prefix and delimiter", Prefix="a/", Delimiter="/")
    named(on, "after a key", KeyMarker="a/2").says(KeyMarker="a/2")
    named(on, "none", Prefix="z").says(NextKeyMarker=None, NextUploadIdMarker=None)


@case(JUDGES)
def test_uploads_by_pages(on):
    uploads(on)
    marker = id_marker = None
    seen = []
    for page in range(1, len(KEYS) + 1):
        more = {"KeyMarker": marker, "UploadIdMarker": id_marker} if marker else {}
        answer = on.list_multipart_uploads(f"page {page}", MaxUploads=2, **more).says(status=200, MaxUploads=2)
        seen += [each["Key"] for each in answer.get("Uploads", [])]
        if not answer.get("IsTruncated"):
            break
        marker, id_marker = answer["NextKeyMarker"], answer["NextUploadIdMarker"]
    on.note("all pages", keys=seen, pages=page).says(keys=KEYS, pages=4)


@case(JUDGES)
def test_uploads_by_pages_with_prefixes(on):
    uploads(on)
    seen, more = [], {}
    for page in range(1, len(KEYS) + 1):
        answer = on.list_multipart_uploads(f"page {page}", MaxUploads=1, Delimiter="/", **more).says(
            status=200, MaxUploads=1, Delimiter="/")
        seen += [each["Key"] for each in answer.get("Uploads", [])]
        seen += [each["Prefix"] for each in answer.get("CommonPrefixes", [])]
        if not answer.get("IsTruncated"):
            break
        more = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer.get("NextUploadIdMarker", "")}
    on.note("all pages", seen=seen, pages=page).says(seen=["a", "a/", "b", "c/", "é"], pages=5)


@case(JUDGES)
def test_uploads_of_one_key(on):
    """In the order in which they were created."""
    begun = [Upload(on, step=f"create {number}").id for number in range(4)]
    listed = on.list_multipart_uploads("all")
    ids = [each["UploadId"] for each in listed["Uploads"]]
    on.note("each once", same=sorted(ids) == sorted(begun)).says(same=True)
    first = on.list_multipart_uploads("the first", MaxUploads=1).says(IsTruncated=True, NextKeyMarker="k")
    rest = on.list_multipart_uploads("the rest", KeyMarker="k", UploadIdMarker=first["NextUploadIdMarker"])
    on.note("the rest, each once", same=[each["UploadId"] for each in first["Uploads"] + rest["Uploads"]] == ids).says(
        same=True)


@case(JUDGES)
def test_after_an_upload(on):
    """Without a key marker, S3 ignores the upload id marker."""
    begun = uploads(on)
    named(on, "only an upload id", UploadIdMarker=begun["b"].id).says(IsTruncated=False)
    named(on, "only a key", KeyMarker="b").says(IsTruncated=False)
    named(on, "an upload id of another key", KeyMarker="a", UploadIdMarker=begun["b"].id).refuses(400, "InvalidArgument")


@case(JUDGES)
def test_invalid_limits(on):
    upload = Upload(on)
    for value in ("-1", "x"):
        on.http(f"max-parts={value}", "GET", "k", query={"uploadId": upload.id, "max-parts": value}).refuses(
            400, "InvalidArgument")
        on.http(f"max-uploads={value}", "GET", query={"uploads": "", "max-uploads": value}).refuses(
            400, "InvalidArgument")
