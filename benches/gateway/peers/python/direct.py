"""A caller that uses boto3 without a gateway, with the default transfer settings: parts of 8 MiB, 10 at once.

It accepts the arguments of the `caller` role and sends sequential Gets or Uploads.
"""

import argparse
import json
import time

import boto3
from botocore.config import Config

BLOCK = bytes(1024 * 1024)


class Sink:
    """A file that counts the bytes written to it and discards them."""

    def __init__(self):
        self.size = 0

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        return offset

    def write(self, data):
        self.size += len(data)
        return len(data)


class Source:
    """A file of zeros."""

    def __init__(self, size):
        self.size, self.at = size, 0

    def seekable(self):
        return True

    def tell(self):
        return self.at

    def seek(self, offset, whence=0):
        self.at = offset + {0: 0, 1: self.at, 2: self.size}[whence]
        return self.at

    def read(self, length=-1):
        left = self.size - self.at
        length = left if length is None or length < 0 else min(length, left)
        self.at += length
        whole, rest = divmod(length, len(BLOCK))
        return BLOCK * whole + BLOCK[:rest]


arguments = argparse.ArgumentParser()
arguments.add_argument("role")
arguments.add_argument("--target", type=json.loads)
arguments.add_argument("--job", type=json.loads)
arguments = arguments.parse_args()
job, target = arguments.job, arguments.target

# The backend accepts any credentials.
s3 = boto3.client(
    "s3",
    endpoint_url=f"{'https' if target['authority'] else 'http'}://{target['address']}",
    verify=target["authority"],
    aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
    aws_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    config=Config(region_name="us-east-1", s3={"addressing_style": "path"}),
)
# The store has the name of its bucket.
bucket, key, size = job["store"], f"data/{job['size']}", job["size"]


def get():
    sink = Sink()
    s3.download_fileobj(bucket, key, sink)
    assert sink.size == size, f"received {sink.size} of {size} bytes"


def upload():
    s3.upload_fileobj(Source(size), bucket, key)


call = {"Get": get, "Upload": upload}[job["work"]]
times, start = [], time.monotonic()
for _ in range(job["requests"]):
    began = time.monotonic()
    call()
    times.append((time.monotonic() - began) * 1e6)
times.sort()
done = {"seconds": time.monotonic() - start, "p50_us": times[len(times) // 2], "p99_us": times[len(times) * 99 // 100]}
print(json.dumps(done))
