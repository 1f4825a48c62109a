"""Real S3 servers, with boto3 to check what is in them."""

import functools
import re
import subprocess
from dataclasses import dataclass, field, replace

import boto3
import pytest
from botocore.config import Config

from . import process
from .paths import RUN_S3_SERVER

# What a server does not support. A test that needs it is skipped for that server, and pytest lists it with the reason.
LIMITS = {
    "moto": {
        "checksums of puts": "stores a checksum only if x-amz-sdk-checksum-algorithm, a header of SDKs, names it",
    },
    "versitygw": {
        "storage classes": "has STANDARD only",
    },
}

# Which keys a server cannot store, and why. The test of odd keys skips them for that server.
KEY_LIMITS = {
    "moto": [
        ("a key with a newline returns 404", lambda key: "\n" in key),
    ],
    "versitygw": [
        ("`.`, `..` and empty segments are resolved or rejected, as in a file path",
         lambda key: any(segment in ("", ".", "..") for segment in key.split("/"))),
        ("a segment is a file name of at most 255 bytes",
         lambda key: any(len(segment.encode()) > 255 for segment in key.split("/"))),
        ("control characters and noncharacters are listed as U+FFFD",
         lambda key: any((char < " " and char not in "\t\r\n") or char in "\ufffe\uffff" for char in key)),
    ],
}


@dataclass(frozen=True)
class S3Server:
    """A running S3 server. `endpoint` may be that of a proxy in front of it."""

    kind: str
    endpoint: str
    bucket: str
    region: str
    access_key_id: str
    secret_access_key: str
    versioned_bucket: str = ""
    clients: dict = field(default_factory=dict, compare=False)

    @property
    def client(self):
        """A boto3 client that takes nothing from the environment."""
        if self.endpoint not in self.clients:
            self.clients[self.endpoint] = client(
                self.endpoint, self.access_key_id, self.secret_access_key, self.region)
        return self.clients[self.endpoint]

    def close(self):
        """Closes the clients: their open connections would keep the server from exiting."""
        for each in self.clients.values():
            each.close()

    def needs(self, ability):
        if ability in LIMITS[self.kind]:
            pytest.skip(f"{self.kind}, {ability}: {LIMITS[self.kind][ability]}")

    def holds(self, key):
        return not any(cannot(key) for _, cannot in KEY_LIMITS[self.kind])

    def make_bucket(self, name):
        self.client.create_bucket(Bucket=name)
        return replace(self, bucket=name)

    def store(self, prefix="", **config):
        """Returns the settings of a Longshore store on this server."""
        place = {"bucket": self.bucket, "prefix": prefix} if prefix else {"url": f"s3://{self.bucket}"}
        return {
            **place,
            "config": {"endpoint": self.endpoint, "region": self.region, "access_key_id": self.access_key_id,
                       "secret_access_key": self.secret_access_key, **config},
            "client_options": {"allow_http": True},
        }

    def keys(self, **arguments):
        """Returns every key, as listed by boto3."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, **arguments)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def get(self, key):
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def head(self, key, **arguments):
        return self.client.head_object(Bucket=self.bucket, Key=key, **arguments)

    def uploads(self):
        """Returns the multipart uploads that are neither completed nor aborted."""
        return self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])

    def parts(self, upload):
        answer = self.client.list_parts(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        return answer.get("Parts", [])


@functools.cache
def _session():
    """One session for all clients: each session parses botocore's description of S3."""
    return boto3.session.Session()


def client(endpoint, access_key_id, secret_access_key, region, **config):
    """Returns a boto3 client that takes nothing from the environment. `config` has more settings of botocore.Config."""
    return _session().client(
        "s3", endpoint_url=endpoint, region_name=region, aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, proxies={}, s3={"addressing_style": "path"},
                      connect_timeout=5, read_timeout=60, **config))


def start(kind, log):
    """Starts tests/servers/run.sh. Returns the process and the server."""
    with log.open("wb") as errors:
        running = process.start(["bash", RUN_S3_SERVER, kind, "0"], stdout=subprocess.PIPE, stderr=errors, text=True)
    # run.sh gives up by itself after 30 s.
    ready = running.stdout.readline()
    if not ready.startswith("ready "):
        running.kill()
        raise RuntimeError(f"{kind} did not start: {log.read_text()}")
    said = dict(re.findall(r"(\w+)=(\S*)", ready))
    return running, S3Server(kind, **said)
