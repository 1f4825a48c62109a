"""Limits as grpcio sees them: its own retries follow the server's delay, and its status library reads the details."""

import json
import re
import urllib.request

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from longshore.v1 import object_service_pb2, object_service_pb2_grpc, store_service_pb2, store_service_pb2_grpc

STORES = {"stores": {"default": {"bucket": "abc", "credential_provider": {"type": "anonymous"}}}}
# grpcio retries calls with this status, as often as it can.
RETRIES = {"methodConfig": [{"name": [{}], "retryPolicy": {
    "maxAttempts": 5, "initialBackoff": "0.001s", "maxBackoff": "0.001s", "backoffMultiplier": 1,
    "retryableStatusCodes": ["RESOURCE_EXHAUSTED"]}}]}


def channel(server, **config):
    options = [("grpc.enable_http_proxy", 0), ("grpc.service_config", json.dumps(config or {"methodConfig": []}))]
    return grpc.insecure_channel(server.address, options=options)


def list_stores(channel):
    request = store_service_pb2.ListStoresRequest()
    return store_service_pb2_grpc.StoreServiceStub(channel).ListStores(request, timeout=60)


def details(error, kind):
    found = []
    for detail in rpc_status.from_call(error).details:
        message = kind()
        if detail.Unpack(message):
            found.append(message)
    return found


def exceeded(server):
    """How many calls were beyond a limit."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    metrics = opener.open(f"http://{server.health_address}/metrics").read().decode()
    return sum(int(count) for count in re.findall(r"^longshore_limits_exceeded_total{.*} (\d+)$", metrics, re.MULTILINE))


def test_grpcs_own_retries_follow_the_delay_of_a_limit(serve):
    server = serve({"acme": {**STORES, "limits": {"requests_per_second": 1, "max_wait": "0s"}}})
    with channel(server) as plain:
        errors = []
        for _ in range(10):
            try:
                list_stores(plain)
            except grpc.RpcError as error:
                errors.append(error)
        error = errors[0]
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        [info] = details(error, error_details_pb2.ErrorInfo)
        assert (info.reason, info.metadata["limit"]) == ("LIMIT_EXCEEDED", "requests_per_second")
        [quota] = details(error, error_details_pb2.QuotaFailure)
        assert [violation.subject for violation in quota.violations] == ["tenant:acme/requests_per_second"]
        [retry] = details(error, error_details_pb2.RetryInfo)
        assert 0 <= retry.retry_delay.ToMilliseconds() <= 2000
    before = exceeded(server)
    with channel(server, **RETRIES) as retrying:
        # One call follows the other at once. Without the delay, all five attempts would fail within milliseconds.
        for _ in range(3):
            assert len(list_stores(retrying).stores) == 1
    assert exceeded(server) > before


def test_grpc_does_not_retry_what_can_never_succeed(serve):
    server = serve({"acme": {**STORES, "limits": {"max_object_size": 10}}})
    with channel(server, **RETRIES) as retrying:
        put = object_service_pb2.PutRequest(key="k", data=b"12345678901")
        with pytest.raises(grpc.RpcError) as failed:
            object_service_pb2_grpc.ObjectServiceStub(retrying).Put(put, timeout=60)
    assert not details(failed.value, error_details_pb2.RetryInfo)
    [quota] = details(failed.value, error_details_pb2.QuotaFailure)
    assert quota.violations[0].description == "max_object_size of the tenant `acme` is 10 B"
    assert exceeded(server) == 1


def test_the_operator_limits_tenants_that_write_their_own_files(serve):
    server = serve({"acme": STORES}, TENANTS_TRUSTED="false", TENANT_LIMITS='{"max_object_size": 10}')
    with channel(server) as plain:
        put = object_service_pb2.PutRequest(key="k", data=b"12345678901")
        with pytest.raises(grpc.RpcError) as failed:
            object_service_pb2_grpc.ObjectServiceStub(plain).Put(put, timeout=60)
    [info] = details(failed.value, error_details_pb2.ErrorInfo)
    assert (info.reason, info.metadata["limit"]) == ("LIMIT_EXCEEDED", "max_object_size")
