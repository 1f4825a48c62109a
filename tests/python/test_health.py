"""grpc.health.v1 on both listeners, and readiness over HTTP."""

import grpc
import pytest

from support.server import SERVING


@pytest.mark.parametrize("listener", ["address", "health_address"])
@pytest.mark.parametrize("service", ["", "longshore.v1.ObjectService", "longshore.v1.StoreService"])
def test_every_service_is_serving(demo, listener, service):
    assert demo.health(getattr(demo, listener), service) == SERVING


@pytest.mark.parametrize("listener", ["address", "health_address"])
def test_unknown_service(demo, listener):
    with pytest.raises(grpc.RpcError) as refused:
        demo.health(getattr(demo, listener), "longshore.v1.NoService")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_ready_over_http(demo):
    assert demo.ready_status() == 200
