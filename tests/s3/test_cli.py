"""The AWS CLI with files and objects.

https://docs.aws.amazon.com/cli/latest/reference/s3/
"""

import base64
import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from comparing.cases import case
from comparing.cli import Cli

SMALL = b"Hello, harbour!\n"
# Three parts of up to 8 MiB.
LARGE = b"".join(hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(17 * 1024 * 32))
TREE = {"tree/a.txt": b"a", "tree/b c+d.txt": b"b", "tree/inner/é.txt": b"c", "tree/inner/deep/e": b"d",
        "tree/empty": b""}


@contextmanager
def shell(on):
    """Yields a folder with files, and the CLI with that working directory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, body in TREE.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(body)
            # Older than anything that a server stores: `s3 sync` compares dates.
            os.utime(folder / path, (0, 1_700_000_000))
        yield folder, Cli(on, folder)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def keys(on):
    return [found["Key"] for found in on.client.list_objects_v2(Bucket=on.bucket).get("Contents", [])]


@case()
def test_copy_up_and_down(on):
    with shell(on) as (folder, cli):
        (folder / "small").write_bytes(SMALL)
        cli("up", "s3 cp --no-progress", "small", cli.url("k")).says(status=0)
        on.get_object("get", Key="k").says(Body=SMALL)
        cli("down", "s3 cp --no-progress", cli.url("k"), "back").says(status=0)
        on.note("the downloaded file", body=(folder / "back").read_bytes()).says(body=SMALL)
        cli("from key to key", "s3 cp --no-progress", cli.url("k"), cli.url("k2")).says(status=0)
        on.get_object("get the other", Key="k2").says(Body=SMALL)
        cli("a missing key", "s3 cp --no-progress", cli.url("nothing"), "nothing").says(status=1)


@case()
def test_copy_in_parts(on):
    with shell(on) as (folder, cli):
        (folder / "large").write_bytes(LARGE)
        cli("up", "s3 cp --no-progress", "large", cli.url("k")).says(status=0)
        on.head_object("head", Key="k").says(ContentLength=len(LARGE))
        cli("from key to key", "s3 cp --no-progress", cli.url("k"), cli.url("k2")).says(status=0)
        cli("down", "s3 cp --no-progress", cli.url("k2"), "back").says(status=0)
        on.note("the downloaded file", same=(folder / "back").read_bytes() == LARGE).says(same=True)
        on.list_multipart_uploads("no upload is left").says(Uploads=None)


@case()
def test_sync(on):
    with shell(on) as (folder, cli):
        cli("up", "s3 sync --no-progress", "tree", cli.url("tree")).says(status=0)
        on.note("keys", keys=keys(on)).says(keys=sorted(TREE))
        cli("up again", "s3 sync --no-progress", "tree", cli.url("tree")).says(status=0, printed=None)
        (folder / "tree/a.txt").write_bytes(b"changed")
        (folder / "tree/inner/deep/e").unlink()
        cli("up with deletions", "s3 sync --no-progress --delete", "tree", cli.url("tree")).says(status=0)
        on.note("keys after the deletion", keys=keys(on)).says(keys=sorted(TREE.keys() - {"tree/inner/deep/e"}))
        cli("down", "s3 sync --no-progress", cli.url("tree"), "back").says(status=0)
        on.note("the downloaded files", same=files(folder / "back") == files(folder / "tree")).says(same=True)


@case()
def test_list_move_and_remove(on):
    with shell(on) as (_, cli):
        for key in ("a/1", "a/2", "a/b/3", "c"):
            on.put_object(f"put {key}", Key=key, Body=key.encode())
        cli("list", "s3 ls", cli.url()).says(status=0)
        cli("list all", "s3 ls --recursive --summarize", cli.url()).says(status=0)
        cli("list below", "s3 ls", cli.url("a/")).says(status=0)
        cli("move", "s3 mv --no-progress", cli.url("c"), cli.url("d")).says(status=0)
        on.note("moved", keys=keys(on)).says(keys=["a/1", "a/2", "a/b/3", "d"])
        cli("remove", "s3 rm", cli.url("d")).says(status=0)
        cli("remove all", "s3 rm --recursive", cli.url("a/")).says(status=0)
        on.note("left", keys=keys(on)).says(keys=[])


@case()
def test_objects(on):
    with shell(on) as (folder, cli):
        (folder / "small").write_bytes(SMALL)
        cli("put", "s3api put-object --checksum-algorithm SHA256 --metadata a=b --body small --key k --query ETag",
            "--bucket", on.bucket).says(status=0)
        cli("checksum", "s3api head-object --checksum-mode ENABLED --key k --output text --query ChecksumSHA256",
            "--bucket", on.bucket).says(
            status=0, printed=[base64.b64encode(hashlib.sha256(SMALL).digest()).decode()])
        cli("head", "s3api head-object --key k --query", "[ContentLength,ContentType,ETag,Metadata]", "--bucket",
            on.bucket).says(status=0)
        cli("head of a missing key", "s3api head-object --key nothing", "--bucket", on.bucket).says(
            status=255, code="404 HeadObject")
        cli("get of a missing key", "s3api get-object --key nothing out", "--bucket", on.bucket).says(
            status=255, code="NoSuchKey GetObject")


@case()
def test_presign(on):
    on.put_object("put", Key="k", Body=SMALL)
    with shell(on) as (_, cli):
        url = cli("presign", "s3 presign --expires-in 60", cli.url("k"))
        # The signature differs from run to run.
        url.recorded.pop("printed")
        on.fetch("get", "GET", url["printed"].strip()).says(status=200, Body=SMALL)


@case()
def test_pages(on):
    for number in range(7):
        on.put_object(f"put {number}", Key=f"k{number}", Body=b"x")
    with shell(on) as (_, cli):
        cli("three per page", "s3api list-objects-v2 --page-size 3 --output text --query", "Contents[].Key", "--bucket",
            on.bucket).says(status=0)
        cli("four of them", "s3api list-objects-v2 --page-size 3 --max-items 4 --output text --query",
            "Contents[].Key", "--bucket", on.bucket).says(status=0)
        cli("with version 1", "s3api list-objects --page-size 3 --output text --query", "Contents[].Key", "--bucket",
            on.bucket).says(status=0)
        cli("ls", "s3 ls --page-size 2", cli.url()).says(status=0)
