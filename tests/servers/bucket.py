"""ENDPOINT REGION ID SECRET BUCKET PID: waits until an S3 server responds, and creates the test buckets.

Prints the name of a bucket with versions, or nothing if the server has no versions."""

import os
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

endpoint, region, key_id, secret, bucket, pid = sys.argv[1:]
s3 = boto3.client(
    "s3", endpoint_url=endpoint, region_name=region, aws_access_key_id=key_id, aws_secret_access_key=secret,
    config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10,
                  s3={"addressing_style": "path"}))

deadline = time.monotonic() + 30
while True:
    try:
        if bucket not in [found["Name"] for found in s3.list_buckets()["Buckets"]]:
            s3.create_bucket(Bucket=bucket)
        break
    except (BotoCoreError, ClientError) as error:
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            sys.exit("the server exited before it responded")
        if time.monotonic() > deadline:
            sys.exit(f"the server did not respond within 30 s: {error}")
        time.sleep(0.1)

versioned = f"{bucket}-versioned"
try:
    s3.create_bucket(Bucket=versioned)
    s3.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Enabled"})
    print(versioned)
except ClientError as error:
    if error.response["Error"]["Code"] != "NotImplemented":
        raise
