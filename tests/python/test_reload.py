"""Tenants are reloaded while the server runs, and no call notices."""

import hashlib
import json
import os
import signal
import threading
import urllib.request

import grpc
import pytest

from support.wait import eventually

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def caller(token):
    return {"name": token, "token_sha256": hashlib.sha256(token.encode()).hexdigest(),
            "access": ["read", "write", "list", "delete"]}


def status(client, key="key"):
    """The status of a Head: OK if the object is missing, because then the call has reached S3."""
    try:
        client.head(key)
    except grpc.RpcError as error:
        return "OK" if error.code() == grpc.StatusCode.NOT_FOUND else error.code().name
    return "OK"


class World:
    """A running server, and the file of its tenants."""

    def __init__(self, serve, tenants, **settings):
        self.server = serve(tenants, AUTH="required", **settings)
        self.file = self.server.log.parent / "tenants.yaml"

    def write(self, tenants):
        # Replaced as a whole, as editors and Kubernetes do.
        new = self.file.with_suffix(".new")
        new.write_text(tenants if isinstance(tenants, str) else json.dumps({"tenants": tenants}))
        os.replace(new, self.file)

    def hang_up(self):
        """Sends SIGHUP, and waits for the reload."""
        before = self.reloads()
        self.server.process.send_signal(signal.SIGHUP)
        eventually("the tenants have been reloaded", lambda: self.reloads() > before, within=10)

    def page(self, path):
        return OPENER.open(f"http://{self.server.health_address}{path}").read().decode()

    def metric(self, start, label=""):
        lines = [line for line in self.page("/metrics").splitlines() if line.startswith(start) and label in line]
        return sum(float(line.split()[-1]) for line in lines)

    def reloads(self):
        return self.metric("longshore_reloads_total{")


@pytest.fixture
def acme(moto_bucket):
    return {"callers": [caller("first")], "stores": {"default": moto_bucket.store()}}


def test_a_new_tenant_and_a_new_token_take_effect_on_sighup_and_a_removed_tenant_is_gone(serve, acme, moto_bucket):
    world = World(serve, {"acme": acme}, RELOAD_INTERVAL="unlimited")
    first, second = world.server.client("acme", "first"), world.server.client("acme", "second")
    other = world.server.client("globex", "third")
    assert (status(first), status(second), status(other)) == ("OK", "UNAUTHENTICATED", "UNAUTHENTICATED")
    globex = {"callers": [caller("third")], "stores": {"default": moto_bucket.store("globex")}}
    world.write({"acme": {**acme, "callers": [caller("second")]}, "globex": globex})
    world.hang_up()
    assert (status(first), status(second), status(other)) == ("UNAUTHENTICATED", "OK", "OK")
    world.write({"globex": globex})
    world.hang_up()
    assert (status(second), status(other)) == ("UNAUTHENTICATED", "OK")
    assert world.metric("longshore_tenants{", 'state="loaded"') == 1


def test_changes_are_found_without_a_signal(serve, acme):
    world = World(serve, {"acme": acme}, RELOAD_INTERVAL="1s")
    second = world.server.client("acme", "second")
    assert status(second) == "UNAUTHENTICATED"
    world.write({"acme": {**acme, "callers": [caller("second")]}})
    eventually("the new token is known", lambda: status(second) == "OK", within=30)
    assert world.reloads() == 1, "files that stay the same are not reloaded"


def test_a_tenant_that_becomes_invalid_keeps_its_settings_and_is_reported(serve, acme, moto_bucket):
    globex = {"callers": [caller("third")], "stores": {"default": moto_bucket.store("globex")}}
    world = World(serve, {"acme": acme, "globex": globex}, RELOAD_INTERVAL="unlimited")
    world.write({"acme": {**acme, "stores": {}}, "globex": {**globex, "callers": [caller("fourth")]}})
    world.hang_up()
    assert status(world.server.client("acme", "first")) == "OK"
    assert status(world.server.client("globex", "fourth")) == "OK"
    assert world.page("/readyz") == "ok\n1 of 2 tenants has old settings, because the new ones are invalid: see the log\n"
    assert world.metric("longshore_tenants{", 'state="stale"') == 1
    assert world.metric("longshore_reloads_total{", 'outcome="partial"') == 1
    world.server.logged("tenants.acme: has no stores")
    world.write("tenants: {acme: {")
    world.hang_up()
    assert world.metric("longshore_reloads_total{", 'outcome="failed"') == 0, "both tenants keep their settings"
    assert [status(world.server.client("acme", "first")), status(world.server.client("globex", "fourth"))] == ["OK", "OK"]
    world.write({"acme": acme, "globex": globex})
    world.hang_up()
    assert world.page("/readyz") == "ok\n"


def test_calls_in_flight_keep_the_settings_with_which_they_began(serve, acme, moto_bucket):
    """An upload whose tenant is removed in the middle, and calls during many reloads."""
    world = World(serve, {"acme": acme}, RELOAD_INTERVAL="unlimited")
    client = world.server.client("acme", "first")
    begun, removed = threading.Event(), threading.Event()

    def chunks():
        yield bytes(1024 * 1024)
        begun.set()
        removed.wait(30)
        for _ in range(15):
            yield bytes(1024 * 1024)

    outcome = []
    upload = threading.Thread(target=lambda: outcome.append(client.upload("large", chunks())))
    upload.start()
    begun.wait(30)
    other = {"callers": [caller("other")], "stores": {"default": moto_bucket.store()}}
    world.write({"other": other})
    world.hang_up()
    assert status(client) == "UNAUTHENTICATED"
    removed.set()
    upload.join(60)
    assert len(outcome) == 1 and len(moto_bucket.get("large")) == 16 * 1024 * 1024

    stop, failures = threading.Event(), []

    def call():
        calling = world.server.client("other", "other")
        while not stop.is_set():
            if (found := status(calling)) != "OK":
                failures.append(found)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for thread in callers:
        thread.start()
    for number in range(10):
        # Every second reload changes the store, so that it is built again.
        world.write({"other": {**other, "stores": {"default": moto_bucket.store(f"prefix-{number % 2}")}}})
        world.hang_up()
    stop.set()
    for thread in callers:
        thread.join()
    assert failures == []
