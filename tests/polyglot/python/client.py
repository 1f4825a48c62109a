"""Makes the calls of the cases with grpcio: `client.py CASES DATA` prints a tab-separated line for each, `ok NAME SEEN` or
`FAIL NAME WHY`."""

import functools
import json
import sys
import threading
import time

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from longshore.v1 import object_pb2, object_service_pb2, object_service_pb2_grpc, upload_service_pb2, upload_service_pb2_grpc
from support.client import crc32c as slow_crc32c

# Most chunks occur in many cases.
crc32c = functools.cache(slow_crc32c)

# By then, the server has received what was sent.
SETTLING = 0.5


def check(holds, otherwise):
    if not holds:
        raise AssertionError(otherwise)


class Caller:
    """Makes the call of one case."""

    def __init__(self, case, data, channel):
        self.case, self.data = case, data
        self.objects = object_service_pb2_grpc.ObjectServiceStub(channel)
        self.uploads = upload_service_pb2_grpc.UploadServiceStub(channel)
        self.metadata = list(case["metadata"].items())
        self.options = {"metadata": self.metadata, "timeout": case["timeout_ms"] / 1000}

    def get(self):
        call = self.objects.Get(
            object_service_pb2.GetRequest(store=self.case["store"], key=self.case["key"]), **self.options)
        got, meta = 0, None
        try:
            for message in call:
                check(message.HasField("info") == (meta is None), "info must be in the first message only")
                meta = meta or message.info.meta
                if message.HasField("chunk"):
                    got += self.take(message.chunk, got)
                    if self.case["cancel"]:
                        call.cancel()
        except grpc.RpcError:
            pass
        return {**outcome(call), "bytes": got, **({"key": meta.key, "size": meta.size} if meta else {})}

    def get_ranges(self):
        ranges = [{"bounded": {"start": start, "end": end}} for start, end in self.case["ranges"]]
        call = self.objects.GetRanges(object_service_pb2.GetRangesRequest(
            store=self.case["store"], key=self.case["key"], ranges=ranges, coalesce_bytes=self.case["coalesce"]),
            **self.options)
        got, info = [0] * len(ranges), False
        try:
            for message in call:
                check(message.HasField("info") != info, "info must be in the first message only")
                info = True
                if message.HasField("chunk"):
                    index = message.range_index
                    check(message.offset == self.case["ranges"][index][0] + got[index], "a message has a wrong offset")
                    check(sum(got[index + 1:]) == 0, "the ranges are not in the requested order")
                    got[index] += self.take(message.chunk, message.offset)
        except grpc.RpcError:
            pass
        for count, (start, end) in zip(got, self.case["ranges"]):
            check(call.code() is not grpc.StatusCode.OK or count == end - start, "a range is incomplete")
        return {**outcome(call), "bytes": sum(got)}

    def upload(self):
        spec = object_service_pb2.UploadSpec(
            store=self.case["store"], key=self.case["key"], size=self.case["size"])
        finish = object_service_pb2.UploadFinish(**self.case["finish"])
        seen, answer = self.stream(
            self.objects.Upload.future, object_service_pb2.UploadRequest, spec, {"finish": finish}, only_answer)
        return {**seen, **({"key": answer.meta.key, "size": answer.meta.size, "parts": answer.parts} if answer else {})}

    def write_upload(self):
        return self.written(self.uploads.WriteUpload.future, upload_service_pb2.WriteUploadRequest, only_answer)

    def write_upload_with_progress(self):
        request = upload_service_pb2.WriteUploadWithProgressRequest
        return self.written(self.uploads.WriteUploadWithProgress, request, answer_after_progress)

    def written(self, method, request, read):
        started = self.uploads.StartUpload(upload_service_pb2.StartUploadRequest(
            store=self.case["store"], key=self.case["key"]), metadata=self.metadata)
        spec = upload_service_pb2.WriteUploadSpec(upload_id=started.upload_id, offset=self.case["offset"])
        seen, answer = self.stream(method, request, spec, {"end": upload_service_pb2.WriteUploadEnd()}, read)
        if answer:
            finished = self.uploads.FinishUpload(upload_service_pb2.FinishUploadRequest(
                upload_id=started.upload_id, **self.case["finish"]), metadata=self.metadata)
            check(finished.meta.size == answer.persisted_size, "the object's size is not the size written")
            seen["size"] = answer.persisted_size
        return seen

    def stream(self, method, request, spec, last, read):
        """Sends the messages. Returns what was seen, and the response if there is one."""
        sent, over = threading.Event(), threading.Event()

        def messages():
            yield request(spec=spec)
            for chunk in self.chunks():
                yield request(chunk=chunk)
            if self.case["ending"] == "close":
                yield request(**last)
                return
            sent.set()
            over.wait()

        call = method(messages(), **self.options)
        try:
            if self.case["ending"] == "cancel":
                check(sent.wait(self.options["timeout"]), "not everything could be sent in time")
                time.sleep(SETTLING)
                call.cancel()
                return outcome(call), None
            answer = read(call)
        finally:
            over.set()
        return outcome(call), answer

    def chunks(self):
        start = 0
        for index, size in enumerate(self.case["chunks"]):
            data = self.data[start:start + size]
            start += size
            checksum = None if self.case["bare"] else crc32c(data) ^ (index == self.case["damaged"])
            yield object_pb2.Chunk(data=data, crc32c=checksum)

    def take(self, chunk, offset):
        check(chunk.data == self.data[offset:offset + len(chunk.data)],
              f"the bytes from offset {offset} on differ from the object's")
        check(chunk.HasField("crc32c") and chunk.crc32c == crc32c(chunk.data),
              f"the checksum of the chunk at offset {offset} is wrong")
        return len(chunk.data)


def only_answer(call):
    return None if call.exception() else call.result()


def answer_after_progress(call):
    end, answer = 0, None
    try:
        for message in call:
            check(answer is None, "a message follows the result")
            if message.HasField("progress"):
                check(message.progress.persisted_end > end, "progress does not grow")
                end = message.progress.persisted_end
            else:
                answer = message.result
    except grpc.RpcError:
        return None
    check(end == answer.persisted_size, "the last progress is not the size written")
    return answer


def outcome(call):
    """Returns the status, details and metadata of a call."""
    seen = {"code": call.code().value[0], "message": call.details() or ""}
    headers, trailers = dict(call.initial_metadata() or ()), dict(call.trailing_metadata() or ())
    seen |= {"headers": sorted(headers), "trailers": sorted(trailers)}
    seen["request_id"] = (headers | trailers).get("x-request-id", "")
    status = rpc_status.from_call(call)
    if status is not None:
        [info] = [detail for detail in status.details if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
        reason = error_details_pb2.ErrorInfo()
        info.Unpack(reason)
        seen |= {"details_code": status.code, "details_message": status.message, "reason": reason.reason,
                 "domain": reason.domain, "facts": sorted(reason.metadata)}
    return seen


CALLS = {"Get": Caller.get, "GetRanges": Caller.get_ranges, "Upload": Caller.upload, "WriteUpload": Caller.write_upload,
         "WriteUploadWithProgress": Caller.write_upload_with_progress}


def connect(address, gzip):
    # Compression is set per channel, because `future` ignores that of a call. The proxy settings of the environment are
    # ignored.
    compression = grpc.Compression.Gzip if gzip else None
    return grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)], compression=compression)


def main(cases, data):
    with open(cases) as file:
        cases = json.load(file)
    with open(data, "rb") as file:
        data = file.read()
    channels = {place: connect(*place) for place in {(case["address"], case["gzip"]) for case in cases}}
    for case in cases:
        try:
            seen = CALLS[case["call"]](Caller(case, data, channels[case["address"], case["gzip"]]))
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            print("FAIL", case["name"], why, sep="\t", flush=True)
        else:
            print("ok", case["name"], json.dumps(seen), sep="\t", flush=True)
    for channel in channels.values():
        channel.close()


main(*sys.argv[1:])
