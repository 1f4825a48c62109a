"""A gateway as one would write it in a day with grpcio and boto3.

LISTEN is the address to listen on, ENDPOINT the URL of the S3 server, BUCKET the bucket.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import boto3
import grpc
from botocore.config import Config
from longshore.v1 import object_pb2, object_service_pb2, object_service_pb2_grpc

BUCKET = os.environ["BUCKET"]
PIECE = 256 * 1024
PART = 8 * 1024 * 1024
PARTS_AT_ONCE = 8


def client():
    config = Config(
        region_name="us-east-1",
        max_pool_connections=128,
        s3={"payload_signing_enabled": False, "addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client("s3", endpoint_url=os.environ["ENDPOINT"], config=config)


class Objects(object_service_pb2_grpc.ObjectServiceServicer):
    def __init__(self):
        self.s3 = client()
        self.parts = ThreadPoolExecutor(PARTS_AT_ONCE)

    def Get(self, request, context):
        answer = self.s3.get_object(Bucket=BUCKET, Key=request.key)
        meta = object_pb2.ObjectMeta(key=request.key, size=answer["ContentLength"], etag=answer["ETag"])
        yield object_service_pb2.GetResponse(info=object_pb2.GetInfo(meta=meta))
        for data in answer["Body"].iter_chunks(PIECE):
            yield object_service_pb2.GetResponse(chunk=object_pb2.Chunk(data=data))

    def Put(self, request, context):
        answer = self.s3.put_object(Bucket=BUCKET, Key=request.key, Body=request.data)
        meta = object_pb2.ObjectMeta(key=request.key, size=len(request.data), etag=answer["ETag"])
        return object_service_pb2.PutResponse(meta=meta)

    def Upload(self, requests, context):
        key = next(requests).spec.key
        upload = self.s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
        size, held, begun = 0, bytearray(), []
        for request in requests:
            size += len(request.chunk.data)
            held += request.chunk.data
            while len(held) >= PART:
                self.begin(begun, key, upload, bytes(held[:PART]))
                del held[:PART]
        if held or not begun:
            self.begin(begun, key, upload, bytes(held))
        parts = [{"PartNumber": n, "ETag": part.result()["ETag"]} for n, part in enumerate(begun, 1)]
        answer = self.s3.complete_multipart_upload(
            Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
        )
        meta = object_pb2.ObjectMeta(key=key, size=size, etag=answer["ETag"])
        return object_service_pb2.UploadResponse(meta=meta, parts=len(parts))

    def begin(self, begun, key, upload, data):
        if len(begun) >= PARTS_AT_ONCE:
            begun[-PARTS_AT_ONCE].result()
        told = {"Bucket": BUCKET, "Key": key, "UploadId": upload, "PartNumber": len(begun) + 1}
        begun.append(self.parts.submit(self.s3.upload_part, Body=data, **told))

    def Walk(self, request, context):
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            objects = [
                object_pb2.ObjectMeta(
                    key=entry["Key"], size=entry["Size"], etag=entry["ETag"], last_modified=entry["LastModified"]
                )
                for entry in page.get("Contents", ())
            ]
            yield object_service_pb2.WalkResponse(objects=objects)


server = grpc.server(ThreadPoolExecutor(80))
object_service_pb2_grpc.add_ObjectServiceServicer_to_server(Objects(), server)
server.add_insecure_port(os.environ["LISTEN"])
server.start()
server.wait_for_termination()
