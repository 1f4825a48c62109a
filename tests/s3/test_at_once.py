"""Concurrent calls: S3 is strongly consistent, and each response describes one whole object.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel
"""

import hashlib
import threading

from botocore.exceptions import ClientError
from comparing.cases import case

SIZES = (10, 100_000, 3_000_000)


def at_once(on, *works):
    """Runs each of `works` with its own client. Returns the errors that they raised."""
    raised = []

    def run(work, client):
        try:
            work(client)
        except Exception as error:
            raised.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=(work, on.another_client(number)))
               for number, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def body(number, round):
    return f"{number} {round} ".encode() * (SIZES[round % len(SIZES)] // 4)


# Neither can be a judge: now and then, moto returns 500, and versitygw returns another Put's ETag.
@case(judges=())
def test_readers_and_writers(on):
    """Every Get returns the result of one Put: its bytes, ETag, length and metadata match."""
    torn = []
    on.put_object("put", Key="k", Body=b"first", Metadata={"md5": hashlib.md5(b"first").hexdigest()})

    def write(number):
        def work(client):
            for round in range(9):
                data = body(number, round)
                client.put_object(Bucket=on.bucket, Key="k", Body=data, Metadata={"md5": hashlib.md5(data).hexdigest()})
        return work

    def read(client):
        for _ in range(20):
            answer = client.get_object(Bucket=on.bucket, Key="k")
            data = answer["Body"].read()
            found = {hashlib.md5(data).hexdigest(), answer["ETag"].strip('"'), answer["Metadata"]["md5"]}
            if len(found) != 1 or len(data) != answer["ContentLength"]:
                torn.append(found)

    raised = at_once(on, *map(write, range(3)), read, read, read)
    on.note("no errors", raised=raised, torn=len(torn)).says(raised=[], torn=0)


@case(judges=())
def test_readers_and_deletions(on):
    """A Get finds the whole object or nothing, even if the object is deleted during the read."""
    data, odd = body(1, 2), []

    def write(client):
        for _ in range(20):
            client.put_object(Bucket=on.bucket, Key="k", Body=data)
            client.delete_object(Bucket=on.bucket, Key="k")

    def read(client):
        for _ in range(40):
            try:
                if client.get_object(Bucket=on.bucket, Key="k")["Body"].read() != data:
                    odd.append("another body")
            except ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchKey":
                    odd.append(error.response["Error"]["Code"])

    raised = at_once(on, write, read, read)
    on.note("no errors", raised=raised, odd=odd).says(raised=[], odd=[])


@case()
def test_listings_after_put_and_delete(on):
    """After each Put, a listing has the key, and after each deletion it does not."""
    odd = []

    def work(number):
        def run(client):
            for round in range(15):
                key = f"{number}/{round}"
                client.put_object(Bucket=on.bucket, Key=key, Body=b"x")
                found = client.list_objects_v2(Bucket=on.bucket, Prefix=f"{number}/").get("Contents", [])
                if [each["Key"] for each in found] != [key]:
                    odd.append(key)
                client.delete_object(Bucket=on.bucket, Key=key)
                if client.list_objects_v2(Bucket=on.bucket, Prefix=f"{number}/")["KeyCount"]:
                    odd.append(f"{key}, deleted")
        return run

    raised = at_once(on, *map(work, range(4)))
    on.note("no errors", raised=raised, odd=odd).says(raised=[], odd=[])


@case()
def test_concurrent_parts(on):
    """Parts of one upload arrive in any order."""
    id = on.create_multipart_upload("create", Key="k")["UploadId"]
    parts = {number: body(number, 2) * 2 for number in range(1, 5)}
    etags = {}

    def work(number):
        def run(client):
            etags[number] = client.upload_part(
                Bucket=on.bucket, Key="k", UploadId=id, PartNumber=number, Body=parts[number])["ETag"]
        return run

    raised = at_once(on, *map(work, sorted(parts, reverse=True)))
    on.complete_multipart_upload("complete", Key="k", UploadId=id, MultipartUpload={
        "Parts": [{"PartNumber": number, "ETag": etags.get(number, "")} for number in sorted(parts)]}).says(status=200)
    found = on.get_object("get", Key="k")
    whole = b"".join(parts[number] for number in sorted(parts))
    on.note("whole", raised=raised, same=found.get("Body") == whole).says(raised=[], same=True)
