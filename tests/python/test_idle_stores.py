"""Stores without calls are dropped, with their connections to S3, and built again by the next call."""

import threading

import pytest
from longshore.v1 import admin_service_pb2

from support import http_server
from support.wait import eventually
from test_reload import World, caller, status

CALLERS = 8


class S3:
    """An S3 server that counts its open connections. It sends half of the object `slow`, and the rest when told."""

    def __init__(self):
        self.open, self.opened = 0, 0
        self.lock = threading.Lock()
        self.rest = threading.Event()
        server = self

        class Handler(http_server.Handler):
            def setup(self):
                super().setup()
                server.count(1)

            def finish(self):
                super().finish()
                server.count(-1)

            def do_HEAD(self):
                self.answer(200, ETag='"e"')

            def do_GET(self):
                self.send_response(200)
                self.send_header("ETag", '"e"')
                self.send_header("Content-Length", "200000")
                self.end_headers()
                self.wfile.write(b"x" * 100_000)
                self.wfile.flush()
                server.rest.wait(60)
                self.wfile.write(b"y" * 100_000)

        self.server, self.url = http_server.start(Handler)

    def count(self, number):
        with self.lock:
            self.open += number
            self.opened += max(number, 0)


@pytest.fixture
def s3():
    server = S3()
    yield server
    server.rest.set()
    server.server.shutdown()


@pytest.fixture
def world(serve, s3):
    store = {"bucket": "b", "config": {"endpoint": s3.url, "access_key_id": "AKID", "secret_access_key": "s"},
             "client_options": {"allow_http": True, "pool_idle_timeout": "1h"}}
    tenants = {"acme": {"callers": [caller("acme")], "stores": {"default": store, "other": store}}}
    return World(serve, tenants, STORE_IDLE_TIMEOUT="1s")


def stores(world):
    """Whether each store is built, and its connections."""
    admin = world.server.client(address=world.server.admin_address).admin
    tenant = admin.GetPool(admin_service_pb2.GetPoolRequest(tenant="acme")).tenants[0]
    return {store.store: store.connections if store.built else None for store in tenant.stores}


def call_from_all_threads(world):
    # Each connection is served by the worker thread that has the fewest.
    clients = [world.server.client(token="acme") for _ in range(CALLERS)]
    for client in clients:
        assert status(client) == "OK"
    for client in clients:
        client.close()


def test_an_idle_store_has_no_connections_and_works_again(world, s3):
    assert stores(world) == {"default": None, "other": None}
    call_from_all_threads(world)
    first = s3.opened
    assert first > 0
    eventually("all connections to S3 are closed", lambda: s3.open == 0, within=20)
    assert stores(world) == {"default": None, "other": None}
    assert world.metric("longshore_stores_built") == 0
    call_from_all_threads(world)
    assert s3.opened > first


def test_a_slow_read_keeps_its_store_while_another_one_is_dropped(world, s3):
    client = world.server.client(token="acme")
    reading = {}
    thread = threading.Thread(target=lambda: reading.update(data=client.get("slow").data))
    thread.start()
    eventually("the read has begun", lambda: s3.open == 1, within=10)
    for _ in range(2):
        # The other store is dropped twice: each time, it has been idle for longer than the timeout.
        client.head("k", store="other")
        eventually("the other store is dropped", lambda: stores(world)["other"] is None, within=20)
    assert stores(world)["default"] == 1
    assert world.metric("longshore_stores_built") == 1
    s3.rest.set()
    thread.join(60)
    assert reading["data"] == b"x" * 100_000 + b"y" * 100_000
    eventually("all connections to S3 are closed", lambda: s3.open == 0, within=20)
