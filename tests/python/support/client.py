"""A thin layer over the generated client that sets the tenant, the token and a deadline on every call."""

import functools
import hashlib
from dataclasses import dataclass

import grpc

from . import stubs

stubs.generate()

from longshore.v1 import object_pb2, object_service_pb2, object_service_pb2_grpc  # noqa: E402
from longshore.v1 import admin_service_pb2_grpc, bucket_service_pb2_grpc, store_service_pb2_grpc, upload_service_pb2_grpc  # noqa: E402

DEADLINE = 60
MIB = 1024 * 1024


class Calls:
    """The methods of one service."""

    def __init__(self, stub, metadata):
        self._stub = stub
        self._metadata = metadata

    def __getattr__(self, method):
        return functools.partial(getattr(self._stub, method), metadata=self._metadata, timeout=DEADLINE)


@dataclass
class Got:
    """The result of a Get."""

    info: object
    data: bytes


class Client:
    """One caller of Longshore."""

    def __init__(self, address, tenant=None, token=None, tls=None):
        # Ignore the proxy settings of the environment.
        options = [("grpc.enable_http_proxy", 0)]
        if tls is None:
            self.channel = grpc.insecure_channel(address, options=options)
        else:
            # With a connection of its own, and thus a handshake.
            self.channel = grpc.secure_channel(address, tls, [*options, ("grpc.use_local_subchannel_pool", 1)])
        metadata = []
        if tenant is not None:
            metadata.append(("x-longshore-tenant", tenant))
        if token is not None:
            metadata.append(("authorization", f"Bearer {token}"))
        self.objects = Calls(object_service_pb2_grpc.ObjectServiceStub(self.channel), metadata)
        self.stores = Calls(store_service_pb2_grpc.StoreServiceStub(self.channel), metadata)
        self.buckets = Calls(bucket_service_pb2_grpc.BucketServiceStub(self.channel), metadata)
        self.uploads = Calls(upload_service_pb2_grpc.UploadServiceStub(self.channel), metadata)
        self.admin = Calls(admin_service_pb2_grpc.AdminServiceStub(self.channel), metadata)

    def close(self):
        self.channel.close()

    def put(self, key, data, **fields):
        return self.objects.Put(object_service_pb2.PutRequest(key=key, data=data, **fields)).meta

    def head(self, key, **fields):
        return self.objects.Head(object_service_pb2.HeadRequest(key=key, **fields))

    def get(self, key, **fields):
        info, pieces = None, []
        for message in self.objects.Get(object_service_pb2.GetRequest(key=key, **fields)):
            assert message.HasField("info") == (info is None), "info must be in the first message only"
            info = info or message.info
            assert len(message.chunk.data) <= MIB
            pieces.append(message.chunk.data)
        return Got(info, b"".join(pieces))

    def get_ranges(self, key, ranges, **fields):
        """Returns the bytes of each range, in the requested order."""
        request = object_service_pb2.GetRangesRequest(key=key, ranges=ranges, **fields)
        found = [bytearray() for _ in ranges]
        started = [None] * len(ranges)
        last = 0
        for message in self.objects.GetRanges(request):
            if not message.HasField("chunk"):
                continue
            index = message.range_index
            assert index >= last, "the ranges must be in the requested order"
            last = index
            if started[index] is None:
                started[index] = message.offset
            assert message.offset == started[index] + len(found[index]), "each message must have its own offset"
            found[index] += message.chunk.data
        return [bytes(data) for data in found]

    def upload(self, key, chunks, finish=None, **spec):
        return self.objects.Upload(upload_messages(key, chunks, finish, **spec))

    def list(self, **fields):
        return self.objects.List(object_service_pb2.ListRequest(**fields))

    def list_all(self, **fields):
        """Lists page by page. Returns all objects, all common prefixes, and the number of pages."""
        objects, prefixes, pages, token = [], [], 0, ""
        while True:
            page = self.list(page_token=token, **fields)
            objects += page.objects
            prefixes += page.common_prefixes
            pages += 1
            token = page.next_page_token
            if not token:
                return objects, prefixes, pages

    def walk(self, **fields):
        return [found for page in self.objects.Walk(object_service_pb2.WalkRequest(**fields)) for found in page.objects]

    def copied(self, source, destination, store="", destination_store=None, **fields):
        """Returns the whole response to Copy."""
        to = store if destination_store is None else destination_store
        return self.objects.Copy(object_service_pb2.CopyRequest(
            source={"store": store, "key": source}, destination={"store": to, "key": destination}, **fields))

    def copy(self, source, destination, **fields):
        return self.copied(source, destination, **fields).meta

    def rename(self, source, destination, **fields):
        return self.objects.Rename(object_service_pb2.RenameRequest(
            source={"key": source}, destination={"key": destination}, **fields)).meta

    def delete(self, key, **fields):
        return self.objects.Delete(object_service_pb2.DeleteRequest(key=key, **fields))

    def delete_many(self, keys, store="", a_message=300):
        """Returns the results, one per key."""
        requests = (
            object_service_pb2.DeleteManyRequest(
                store=store if first == 0 else "",
                objects=[object_pb2.ObjectId(key=key) for key in keys[first:first + a_message]])
            for first in range(0, len(keys), a_message))
        return [result for answer in self.objects.DeleteMany(requests) for result in answer.results]

    def tags(self, key, **fields):
        return dict(self.objects.GetTags(object_service_pb2.GetTagsRequest(key=key, **fields)).tags)


def upload_messages(key, chunks, finish=None, **spec):
    """Yields the messages of an upload."""
    yield object_service_pb2.UploadRequest(spec=object_service_pb2.UploadSpec(key=key, **spec))
    for data in chunks:
        yield object_service_pb2.UploadRequest(chunk=object_pb2.Chunk(data=data))
    if finish is not None:
        yield object_service_pb2.UploadRequest(finish=finish)


def pieces(data, size=MIB):
    """Splits `data` into chunks of `size`."""
    return [data[start:start + size] for start in range(0, len(data), size)]


def multipart_etag(data, part_size):
    """Returns the ETag of an object that was uploaded in parts of `part_size`."""
    parts = pieces(data, part_size)
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"'


def md5_etag(data):
    """Returns the ETag of an object that was uploaded with a single PUT."""
    return f'"{hashlib.md5(data).hexdigest()}"'


def crc32c(data):
    """Computes CRC-32C (RFC 3720) byte by byte: for small data."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _CRC32C[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def _crc32c_of(byte):
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC32C = [_crc32c_of(byte) for byte in range(256)]
assert crc32c(b"123456789") == 0xE3069283, "the check value of CRC-32C"
