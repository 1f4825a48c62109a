"""Checksums of parts and of multipart objects: composite (of the parts' checksums) or of the full object.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

import hashlib

from comparing.cases import case
from comparing.checksums import ALGORITHMS, FIELDS, checksum, composite, field
from comparing.uploads import FIRST, LAST, Upload, etag_of

# moto verifies no checksums, and does not support checksum types.
JUDGES = ("versitygw",)
ALSO = FIELDS + " ChecksumAlgorithm Checksum"
COMPOSITE = tuple(name for name in ALGORITHMS if name != "CRC64NVME")
FULL_OBJECT = ("CRC32", "CRC32C", "CRC64NVME")


def uploaded(on, algorithm, **arguments):
    """Uploads two parts with checksums. Returns the upload, and the parts as the completion lists them."""
    upload = Upload(on, algorithm, step=f"create {algorithm}", ChecksumAlgorithm=algorithm, **arguments)
    listed = []
    for number, body in enumerate((FIRST, LAST), 1):
        right = field(algorithm, checksum(algorithm, body))
        upload.part(number, body, step=f"{algorithm} part {number}", **right).says(status=200, **right)
        listed.append({"PartNumber": number, **right})
    return upload, listed


@case(JUDGES, also=ALSO)
def test_composite(on):
    for algorithm in COMPOSITE:
        upload, listed = uploaded(on, algorithm)
        upload.answer.says(ChecksumAlgorithm=algorithm, ChecksumType="COMPOSITE")
        upload.list(f"list {algorithm}").says(ChecksumAlgorithm=algorithm, ChecksumType="COMPOSITE")
        whole = {**field(algorithm, composite(algorithm, [FIRST, LAST])), "ChecksumType": "COMPOSITE"}
        found = on.list_multipart_uploads(f"uploads of {algorithm}")["Uploads"][0]
        on.note(f"upload of {algorithm}", algorithm=found.get("ChecksumAlgorithm"), type=found.get(
            "ChecksumType")).says(algorithm=algorithm, type="COMPOSITE")
        upload.complete(f"complete {algorithm}", parts=listed).says(status=200, **whole)
        on.head_object(f"head {algorithm}", Key=algorithm, ChecksumMode="ENABLED").says(**whole)


@case(JUDGES, also=ALSO)
def test_copy_of_a_multipart_object(on):
    """The copy has no parts, and its checksum is that of the full object: API_CopyObject.html, Checksum."""
    upload, listed = uploaded(on, "CRC64NVME")
    upload.complete(parts=listed)
    on.copy_object("copy", Key="copy", CopySource={"Bucket": on.bucket, "Key": "CRC64NVME"}).says(status=200)
    on.head_object("head", Key="copy", ChecksumMode="ENABLED").says(
        status=200, ChecksumType="FULL_OBJECT", ChecksumCRC64NVME=checksum("CRC64NVME", FIRST + LAST),
        ETag=f'"{hashlib.md5(FIRST + LAST).hexdigest()}"')


@case(JUDGES, also=ALSO)
def test_full_object(on):
    for algorithm in FULL_OBJECT:
        upload, _ = uploaded(on, algorithm, ChecksumType="FULL_OBJECT")
        upload.answer.says(ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT")
        whole = {**field(algorithm, checksum(algorithm, FIRST + LAST)), "ChecksumType": "FULL_OBJECT"}
        # The parts' checksums need not be listed.
        upload.complete(f"complete {algorithm}").says(status=200, **whole)
        on.head_object(f"head {algorithm}", Key=algorithm, ChecksumMode="ENABLED").says(**whole)


@case(JUDGES, also=ALSO)
def test_given_with_the_completion(on):
    for algorithm in FULL_OBJECT:
        upload, _ = uploaded(on, algorithm, ChecksumType="FULL_OBJECT")
        wrong = field(algorithm, checksum(algorithm, LAST + FIRST))
        upload.complete(f"wrong {algorithm}", ChecksumType="FULL_OBJECT", **wrong).refuses(400, "BadDigest")
        right = field(algorithm, checksum(algorithm, FIRST + LAST))
        upload.complete(f"right {algorithm}", ChecksumType="FULL_OBJECT", **right).says(status=200, **right)


@case(JUDGES, also=ALSO)
def test_completion_must_list_the_checksums(on):
    upload, listed = uploaded(on, "SHA256")
    upload.complete("without checksums").refuses(400, "InvalidRequest")
    wrong = [listed[0], {"PartNumber": 2, "ChecksumSHA256": checksum("SHA256", b"another")}]
    upload.complete("with a wrong checksum", parts=wrong).refuses(400, "InvalidPart")
    upload.complete("with the right checksums", parts=listed).says(status=200)


@case(JUDGES, also=ALSO)
def test_wrong_checksums_of_parts(on):
    for algorithm in ALGORITHMS:
        upload = Upload(on, step=f"create {algorithm}", ChecksumAlgorithm=algorithm)
        wrong = field(algorithm, checksum(algorithm, b"another"))
        upload.part(1, step=f"wrong {algorithm}", **wrong).refuses(400, "BadDigest")
        upload.list(f"no part of {algorithm}").says(Parts=None)


@case(JUDGES, also=ALSO)
def test_parts_with_another_algorithm(on):
    upload = Upload(on, ChecksumAlgorithm="SHA256")
    upload.part(1, step="another algorithm", ChecksumCRC32=checksum("CRC32", LAST)).refuses(400, "InvalidRequest")
    upload.part(1, step="no checksum").refuses(400, "InvalidRequest")


@case(JUDGES, also=ALSO)
def test_invalid_types(on):
    """A table in checking-object-integrity-upload.html lists the valid combinations."""
    for algorithm in ("SHA1", "SHA256"):
        on.create_multipart_upload(f"{algorithm} of the full object", Key="k", ChecksumAlgorithm=algorithm,
                                   ChecksumType="FULL_OBJECT").refuses(400, "InvalidRequest")
    on.create_multipart_upload("CRC64NVME of the parts", Key="k", ChecksumAlgorithm="CRC64NVME",
                               ChecksumType="COMPOSITE").refuses(400, "InvalidRequest")
    on.create_multipart_upload("a type alone", Key="k", ChecksumType="COMPOSITE").refuses(400, "InvalidRequest")
    on.create_multipart_upload("CRC64NVME", Key="k", ChecksumAlgorithm="CRC64NVME").says(
        status=200, ChecksumType="FULL_OBJECT")


@case(JUDGES, also=ALSO)
def test_none_requested(on):
    """S3 then computes CRC64NVME of the full object, and compares nothing.

    As recorded in github.com/localstack/localstack, test_complete_multipart_parts_checksum_default.
    """
    upload = Upload(on)
    upload.part(1, FIRST)
    upload.part(2, LAST)
    listed = upload.list().says(ChecksumAlgorithm=None, ChecksumType=None).get("Parts", [])
    on.note("listed with the parts", checksums=[part.get("ChecksumCRC64NVME") for part in listed]).says(
        checksums=[None, None])
    for kind in ("FULL_OBJECT", "COMPOSITE"):
        upload.complete(f"as {kind}", ChecksumType=kind).refuses(400, "InvalidRequest")
    upload.complete("with checksums of parts", parts=[
        {"PartNumber": 1, "ChecksumCRC64NVME": checksum("CRC64NVME", FIRST)},
        {"PartNumber": 2, "ChecksumCRC64NVME": checksum("CRC64NVME", LAST)}]).refuses(400, "InvalidPart")
    upload.complete().says(status=200)
    on.head_object("head", Key="k", ChecksumMode="ENABLED").says(
        status=200, ChecksumType="FULL_OBJECT", ChecksumCRC64NVME=checksum("CRC64NVME", FIRST + LAST))


@case(JUDGES, also=ALSO)
def test_parts_as_attributes(on):
    upload, listed = uploaded(on, "SHA256")
    upload.complete(parts=listed)
    parts = [{**part, "Size": size} for part, size in zip(listed, (len(FIRST), len(LAST)))]
    common = {"TotalPartsCount": 2, "PartNumberMarker": 0, "NextPartNumberMarker": 2, "MaxParts": 1000,
              "IsTruncated": False, "Parts": parts}
    for step, arguments, changes in (
            ("all", {}, {}),
            ("the first", {"MaxParts": 1}, {
                "NextPartNumberMarker": 1, "MaxParts": 1, "IsTruncated": True, "Parts": parts[:1]}),
            ("the second", {"PartNumberMarker": 1}, {"PartNumberMarker": 1, "Parts": parts[1:]})):
        on.get_object_attributes(step, Key="SHA256", ObjectAttributes=["ObjectParts", "ObjectSize", "ETag"],
                                 **arguments).says(
            status=200, ObjectParts={**common, **changes}, ObjectSize=len(FIRST + LAST),
            ETag=etag_of(FIRST, LAST).strip('"'))


@case(JUDGES, also=ALSO)
def test_a_composite_as_an_attribute(on):
    """Without the number of parts that it has elsewhere.

    As recorded in github.com/localstack/localstack, test_multipart_upload_part_copy_checksum.
    """
    upload, listed = uploaded(on, "SHA256")
    upload.complete(parts=listed)
    on.get_object_attributes("attributes", Key="SHA256", ObjectAttributes=["Checksum"]).says(Checksum={
        "ChecksumSHA256": composite("SHA256", [FIRST, LAST]).split("-")[0], "ChecksumType": "COMPOSITE"})


@case(JUDGES, also=ALSO)
def test_parts_as_attributes_without_checksums(on):
    """S3 then counts the parts, but lists none: API_GetObjectAttributes.html, ObjectParts.Parts.

    As recorded in github.com/localstack/localstack, test_complete_multipart_parts_checksum_full_object.
    """
    upload = Upload(on)
    upload.part(1, FIRST)
    upload.part(2, LAST)
    upload.complete()
    on.get_object_attributes("attributes", Key="k", ObjectAttributes=["ObjectParts", "ObjectSize"]).says(
        ObjectParts={"TotalPartsCount": 2})
    full, listed = uploaded(on, "CRC32", ChecksumType="FULL_OBJECT")
    full.complete("complete CRC32", parts=listed)
    on.get_object_attributes("attributes with a checksum of the full object", Key="CRC32", ObjectAttributes=[
        "ObjectParts"]).says(ObjectParts={"TotalPartsCount": 2})
    on.put_object("put", Key="one", Body=LAST)
    on.get_object_attributes("attributes of an object without parts", Key="one",
                             ObjectAttributes=["ObjectParts", "ObjectSize"]).says(ObjectParts=None)


@case(JUDGES, also=ALSO)
def test_single_parts(on):
    """As recorded in github.com/localstack/localstack, test_get_object_part_checksum and test_get_object_part."""
    upload, listed = uploaded(on, "SHA256")
    upload.complete(parts=listed)
    on.get_object("part 2", Key="SHA256", PartNumber=2, ChecksumMode="ENABLED").says(
        status=206, Body=LAST, ChecksumSHA256=checksum("SHA256", LAST), ChecksumType="COMPOSITE")
    on.head_object("head of part 1", Key="SHA256", PartNumber=1, ChecksumMode="ENABLED").says(
        status=206, ChecksumSHA256=checksum("SHA256", FIRST), ChecksumType="COMPOSITE")
    plain = Upload(on)
    plain.part(1, step="part without a checksum")
    plain.complete("complete without a checksum")
    on.get_object("read a part without a checksum", Key="k", PartNumber=1, ChecksumMode="ENABLED").says(
        status=206, Body=LAST, ChecksumCRC64NVME=None)
