"""What a caller learns about a failure: the status, and google.rpc details in grpc-status-details-bin."""

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from longshore.v1 import error_reason_pb2, object_pb2, object_service_pb2

from support.client import MIB, md5_etag

DATA = b"Hello, harbour!"


@pytest.fixture(scope="module")
def client(demo):
    client = demo.client("demo")
    client.put("errors/there", DATA)
    return client


def failure(call, *arguments, **fields):
    with pytest.raises(grpc.RpcError) as failed:
        call(*arguments, **fields)
    return failed.value


def details(error, kind):
    """Returns the details of one type, and checks that the status and the details agree."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no details in {error!r}"
    assert (status.code, status.message) == (error.code().value[0], error.details())
    found = []
    for detail in status.details:
        message = kind()
        if detail.Unpack(message):
            found.append(message)
    return found


def reason(error):
    """Returns the only ErrorInfo."""
    [info] = details(error, error_details_pb2.ErrorInfo)
    assert info.domain == "longshore"
    assert f"ERROR_REASON_{info.reason}" in error_reason_pb2.ErrorReason.keys()
    return info


def bounded(start, end):
    return object_pb2.ByteRange(bounded={"start": start, "end": end})


CREATE = {"create": {}}

CASES = {
    "a missing key": (
        lambda c: c.get("errors/missing"), grpc.StatusCode.NOT_FOUND, "OBJECT_NOT_FOUND"),
    "a head of a missing key": (
        lambda c: c.head("errors/missing"), grpc.StatusCode.NOT_FOUND, "OBJECT_NOT_FOUND"),
    "an unknown store": (
        lambda c: c.head("errors/there", store="archive"), grpc.StatusCode.NOT_FOUND, "STORE_NOT_FOUND"),
    "an empty key": (
        lambda c: c.put("", b"x"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    "a key that is too long": (
        lambda c: c.put("k" * 1025, b"x"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    "a range beyond the end": (
        lambda c: c.get("errors/there", range={"offset": len(DATA)}),
        grpc.StatusCode.OUT_OF_RANGE, "RANGE_NOT_SATISFIABLE"),
    "a range that ends before it starts": (
        lambda c: c.get("errors/there", range=bounded(5, 4)), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    "a create of an existing key": (
        lambda c: c.put("errors/there", b"x", mode=CREATE), grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS"),
    "an update with another ETag": (
        lambda c: c.put("errors/there", b"x", mode={"update": {"etag": '"0123456789abcdef0123456789abcdef"'}}),
        grpc.StatusCode.FAILED_PRECONDITION, "PRECONDITION_FAILED"),
    "a read if another ETag matches": (
        lambda c: c.get("errors/there", conditions={"if_match": '"0123456789abcdef0123456789abcdef"'}),
        grpc.StatusCode.FAILED_PRECONDITION, "PRECONDITION_FAILED"),
    "a read unless the ETag matches": (
        lambda c: c.get("errors/there", conditions={"if_none_match": md5_etag(DATA)}),
        grpc.StatusCode.FAILED_PRECONDITION, "NOT_MODIFIED"),
    "a wrong checksum": (
        lambda c: c.put("errors/checksum", b"x", crc32c=1), grpc.StatusCode.DATA_LOSS, "CHECKSUM_MISMATCH"),
    "an upload with a wrong size": (
        lambda c: c.upload("errors/size", [b"abc"], size=4), grpc.StatusCode.INVALID_ARGUMENT, "SIZE_MISMATCH"),
    "an upload with a wrong checksum": (
        lambda c: c.upload("errors/size", [b"abc"], {"crc32c": 1}), grpc.StatusCode.DATA_LOSS, "CHECKSUM_MISMATCH"),
    "a rename onto itself": (
        lambda c: c.rename("errors/there", "errors/there"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    "a page token that Longshore did not issue": (
        lambda c: c.list(page_token="bm90IG91cnM"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    "a message that is too large": (
        lambda c: c.put("errors/large", bytes(4 * MIB)), grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE"),
}


@pytest.mark.parametrize("name", CASES)
def test_status_and_reason(client, name):
    call, code, expected = CASES[name]
    error = failure(call, client)
    assert error.code() is code
    assert reason(error).reason == expected
    # Nothing was written.
    assert client.get("errors/there").data == DATA
    assert [found.key for found in client.walk(prefix="errors/")] == ["errors/there"]


def test_error_metadata(client):
    request = object_service_pb2.GetRequest(key="errors/missing")
    error = failure(lambda: list(client.objects.Get(
        request, metadata=[("x-longshore-tenant", "demo"), ("x-request-id", "request-of-a-test")])))
    known = reason(error).metadata
    assert known["tenant"] == "demo"
    assert known["store"] == "default"
    assert known["request_id"] == "request-of-a-test"
    assert known["s3_code"] == "NoSuchKey"
    assert known["http_status"] == "404"
    assert known["attempts"] == "1"


def test_request_id_is_echoed_or_generated(client):
    request = object_service_pb2.HeadRequest(key="errors/there")
    _, call = client.objects.Head.func.with_call(
        request, metadata=[("x-longshore-tenant", "demo"), ("x-request-id", "request-of-a-test")], timeout=10)
    answered = dict(call.initial_metadata()) | dict(call.trailing_metadata())
    assert answered["x-request-id"] == "request-of-a-test"
    _, call = client.objects.Head.func.with_call(request, metadata=[("x-longshore-tenant", "demo")], timeout=10)
    answered = dict(call.initial_metadata()) | dict(call.trailing_metadata())
    assert answered["x-request-id"] not in ("", "request-of-a-test")


def test_invalid_field_is_named(client):
    error = failure(client.get, "errors/there", range=bounded(5, 4))
    [bad] = details(error, error_details_pb2.BadRequest)
    assert [violation.field for violation in bad.field_violations] == ["range.bounded.end"]


def test_deadline_exceeded_has_no_details(client):
    """A client may generate this status itself with another message. grpcio-status rejects details with another message
    than the status."""
    get = client.channel.unary_stream(
        "/longshore.v1.ObjectService/Get", request_serializer=lambda data: data, response_deserializer=lambda data: data)
    request = object_service_pb2.GetRequest(key="errors/there").SerializeToString()
    # Sent as a plain header: the client itself has no deadline, so the status is the server's.
    error = failure(lambda: list(get(request, metadata=[("x-longshore-tenant", "demo"), ("grpc-timeout", "0n")])))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert rpc_status.from_call(error) is None


@pytest.mark.parametrize("text", ["s", "\U0001f6a2", "%"])
@pytest.mark.parametrize("length", [65, 4096, 100_000])
def test_error_stays_small_whatever_the_caller_sends(client, text, length):
    for arguments in [{"store": text * length}, {"page_token": text * length}]:
        error = failure(client.list, **arguments)
        assert reason(error).reason == "INVALID_FIELD"
        size = sum(len(key) + len(value) + 32 for key, value in error.trailing_metadata())
        assert len(error.details().encode()) <= 1024 and size < 4096


def test_failed_condition_is_named(client):
    error = failure(client.put, "errors/there", b"x", mode={"update": {"etag": '"other"'}})
    [failed] = details(error, error_details_pb2.PreconditionFailure)
    assert len(failed.violations) == 1 and failed.violations[0].type


def test_unknown_method(client):
    call = client.channel.unary_unary(
        "/longshore.v1.ObjectService/Fetch", request_serializer=lambda data: data, response_deserializer=lambda data: data)
    error = failure(call, b"", timeout=10)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert reason(error).reason == "METHOD_UNKNOWN"


def test_malformed_message(client):
    call = client.channel.unary_unary(
        "/longshore.v1.ObjectService/Head", request_serializer=lambda data: data, response_deserializer=lambda data: data)
    error = failure(call, b"\xff\xff\xff", metadata=[("x-longshore-tenant", "demo")], timeout=10)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(error).reason == "MALFORMED_MESSAGE"


def test_delete_many_reports_errors_for_single_keys(client):
    client.put("errors/many", b"x")
    results = client.delete_many(["errors/many", "", "k" * 1025, "errors/missing"])
    assert [result.error.reason for result in results] == ["", "INVALID_FIELD", "INVALID_FIELD", ""]
    assert [result.HasField("error") for result in results] == [False, True, True, False]
