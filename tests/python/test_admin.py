"""AdminService and its listener."""

import hashlib
import json
import os
import re
import signal
import subprocess
import threading

import grpc
import pytest
from longshore.v1 import admin_service_pb2 as pb

from support import http_server, process, server as servers
from support.paths import ROOT, TOOLS
from support.wait import eventually
from test_reload import World

TOKEN = "an-admin-token-of-the-tests"
SERVED, STALE, REJECTED = pb.TENANT_STATE_SERVED, pb.TENANT_STATE_STALE, pb.TENANT_STATE_REJECTED
SECRET = "top/Secret+OfTheTenant/0123456789abcdef"


def caller(name, **grant):
    digest = hashlib.sha256(name.encode()).hexdigest()
    return {"name": name, "token_sha256": digest, "access": ["read", "write", "list", "delete"], **grant}


def tenant(bucket="nowhere", **settings):
    store = {"bucket": bucket, "config": {"endpoint": "http://127.0.0.1:1", "access_key_id": "AKIDOFTHETENANT",
             "secret_access_key": SECRET}, "client_options": {"allow_http": True}, "retry_config": {"max_retries": 0}}
    return {"callers": [caller("billing")], "stores": {"default": store}, **settings}


def admin(server, token=None):
    return server.client(token=token, address=server.admin_address).admin


def failure(call, *arguments):
    with pytest.raises(grpc.RpcError) as failed:
        call(*arguments)
    return failed.value.code().name


def reload(server):
    return admin(server).ReloadTenants(pb.ReloadTenantsRequest())


def states(server):
    return {found.name: found for found in admin(server).ListTenants(pb.ListTenantsRequest()).tenants}


@pytest.fixture
def world(serve):
    return World(serve, {"acme": tenant(), "globex": tenant(), "initech": {"stores": {}}}, RELOAD_INTERVAL="unlimited")


def test_tenants_are_listed_with_their_state_and_the_reason(world):
    found = states(world.server)
    assert {name: one.state for name, one in found.items()} == {
        "acme": SERVED, "globex": SERVED, "initech": REJECTED}
    assert "tenants.yaml:" in found["initech"].problems[0] and "has no stores" in found["initech"].problems[0]
    world.write({"acme": {**tenant(), "color": "red"}, "globex": tenant(), "initech": {"stores": {}}})
    answer = reload(world.server)
    assert answer.outcome == pb.RELOAD_OUTCOME_PARTIAL
    assert [(one.name, one.state) for one in answer.broken] == [("acme", STALE), ("initech", REJECTED)]
    acme = states(world.server)["acme"]
    assert acme.state == STALE and "tenants.acme.color" in acme.problems[0]
    assert acme.problems == answer.broken[0].problems
    # A file that cannot be used makes all of its tenants stale.
    world.write("tenants: [")
    reload(world.server)
    assert {one.state for name, one in states(world.server).items() if name != "initech"} == {STALE}


def test_pages_of_tenants(world):
    names, token = [], ""
    while True:
        page = admin(world.server).ListTenants(pb.ListTenantsRequest(page_size=1, page_token=token))
        names += [one.name for one in page.tenants]
        token = page.next_page_token
        if not token:
            break
    assert names == ["acme", "globex", "initech"]
    assert failure(admin(world.server).ListTenants, pb.ListTenantsRequest(page_token="x")) == "INVALID_ARGUMENT"


def test_a_tenant_is_shown_without_secrets(world):
    found = admin(world.server).GetTenant(pb.GetTenantRequest(tenant="acme")).tenant
    assert (found.status.state, found.caller_count, found.store_count) == (SERVED, 1, 1)
    assert found.callers[0].name == "billing" and not found.callers[0].HasField("stores")
    assert found.stores[0].bucket == "nowhere"
    for secret in [SECRET, "AKIDOFTHETENANT", hashlib.sha256(b"billing").hexdigest()]:
        assert secret not in str(found)
    assert admin(world.server).GetTenant(pb.GetTenantRequest(tenant="initech")).tenant.status.state == REJECTED
    assert failure(admin(world.server).GetTenant, pb.GetTenantRequest(tenant="hooli")) == "NOT_FOUND"
    assert failure(admin(world.server).GetTenant, pb.GetTenantRequest()) == "INVALID_ARGUMENT"


def test_a_reload_returns_what_it_has_changed(world):
    world.write({"acme": tenant("other"), "hooli": tenant()})
    answer = reload(world.server)
    assert answer.outcome == pb.RELOAD_OUTCOME_OK
    assert (list(answer.added), list(answer.changed), list(answer.removed)) == (["hooli"], ["acme"], ["globex"])
    assert answer.served_count == 2
    again = reload(world.server)
    assert not again.added and not again.changed and not again.removed
    world.file.unlink()
    failed = reload(world.server)
    assert failed.outcome == pb.RELOAD_OUTCOME_FAILED and failed.problems
    assert "acme" in states(world.server)


def test_concurrent_reloads_are_shared_and_each_sees_what_was_written_before_it(world):
    wrong = []

    def reloads(number):
        for _ in range(10):
            answer = reload(world.server)
            if answer.outcome != pb.RELOAD_OUTCOME_OK:
                wrong.append((number, answer))

    world.write({"acme": tenant(), "globex": tenant()})
    before = world.reloads()
    threads = [threading.Thread(target=reloads, args=[number]) for number in range(16)]
    for thread in threads:
        thread.start()
    world.server.process.send_signal(signal.SIGHUP)
    for thread in threads:
        thread.join()
    assert not wrong
    assert 10 <= world.reloads() - before <= 161
    world.write({"acme": tenant(), "globex": tenant(), "hooli": tenant()})
    assert list(reload(world.server).added) == ["hooli"]


class Empty(http_server.Handler):
    """An S3 server without objects that keeps its connections open."""

    def do_GET(self):
        if "list-type=2" in self.path:
            self.answer(200, b"<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>")
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")


def imitation():
    """A store on such a server."""
    _, url = http_server.start(Empty)
    config = {"endpoint": url, "access_key_id": "AKID", "secret_access_key": SECRET}
    return {"bucket": "bucket", "config": config, "client_options": {"allow_http": True}}


def test_the_pool_leaves_out_unknown_values(world):
    def pool():
        return admin(world.server).GetPool(pb.GetPoolRequest(tenant="acme")).tenants[0]

    store = pool().stores[0]
    assert not store.built
    for field in ["requests_in_flight", "connections", "last_error", "credentials_expire_time", "credential_provider"]:
        assert not store.HasField(field), field
    # There are several tenants, so each may have half of LONGSHORE_MAX_IN_FLIGHT.
    assert pool().calls_permitted == 5_000 and pool().memory_limit_bytes > 0
    client = world.server.client("acme", "billing")
    assert failure(client.head, "key") == "UNAVAILABLE"
    store = pool().stores[0]
    assert store.built and store.credential_provider == "static"
    assert (store.requests_in_flight, store.connections) == (0, 0) and store.HasField("connections")
    assert "127.0.0.1:1" in store.last_error.message or "refused" in store.last_error.message
    assert store.last_error.time.seconds > 0 and not store.HasField("credentials_expire_time")
    world.write({"acme": {"callers": [caller("billing")], "stores": {"default": imitation()}}})
    reload(world.server)
    assert not pool().stores[0].built, "a store with new settings is a new store"
    assert failure(client.get, "missing") == "NOT_FOUND"
    assert not client.list().objects
    store = eventually("the connection is idle", lambda: pool().stores[0].connections and pool().stores[0], within=5)
    assert store.connections == 1 and store.requests_in_flight == 0
    assert not store.HasField("last_error"), "a missing object is no failure of the store"
    names = [one.tenant for one in admin(world.server).GetPool(pb.GetPoolRequest()).tenants]
    assert names == ["acme"]
    assert failure(admin(world.server).GetPool, pb.GetPoolRequest(tenant="hooli")) == "NOT_FOUND"


def test_usage_is_counted_by_caller_and_survives_the_tenant(world, moto_bucket):
    acme = {"callers": [caller("billing"), caller("other")], "stores": {"default": moto_bucket.store()}}
    world.write({"acme": acme})
    reload(world.server)
    billing, other = world.server.client("acme", "billing"), world.server.client("acme", "other")
    billing.put("key", b"hello")
    assert billing.get("key").data == b"hello"
    assert failure(other.head, "missing") == "NOT_FOUND"
    assert failure(world.server.client("acme", "nobody").head, "key") == "UNAUTHENTICATED"

    def usage(**fields):
        return admin(world.server).GetUsage(pb.GetUsageRequest(**fields))

    first, second = usage().callers
    assert (first.caller, first.received_bytes, first.sent_bytes) == ("billing", 5, 5)
    methods = {(call.method.split("/")[1], call.code): call.count for call in first.calls}
    assert methods == {("Put", "OK"): 1, ("Get", "OK"): 1}
    assert (first.s3_requests.put_copy_post_list, first.s3_requests.get_and_others) == (1, 1)
    assert [(call.method, call.code, call.count) for call in second.calls] == [
        ("longshore.v1.ObjectService/Head", "NOT_FOUND", 1)]
    page = usage(page_size=1)
    assert [one.caller for one in page.callers] == ["billing"] and page.start_time.seconds > 0
    assert [one.caller for one in usage(page_size=1, page_token=page.next_page_token).callers] == ["other"]
    world.write({"globex": acme})
    reload(world.server)
    assert [(one.tenant, one.removed) for one in usage().callers] == [("acme", True)] * 2
    world.write({"acme": acme})
    reload(world.server)
    billing.put("key", b"hello")
    kept = usage(tenant="acme").callers[0]
    assert (kept.received_bytes, kept.removed) == (10, False)
    assert not usage(tenant="globex").callers


def test_calls_beyond_the_grants_are_explained(world):
    def ask(**fields):
        return admin(world.server).ExplainAccess(pb.ExplainAccessRequest(tenant="acme", **fields))

    allowed = ask(caller="billing", method="Get", key="k")
    assert allowed.allowed and allowed.decisions[0].grant.name == "billing"
    denied = ask(caller="billing", method="Sign", key="k")
    assert not denied.allowed and denied.implemented and "`sign` access" in denied.decisions[0].missing
    for fields in [{"caller": "nobody", "method": "Get"}, {"caller": "billing", "method": "Gett"},
                   {"caller": "billing", "method": "Copy", "key": "k"},
                   {"caller": "billing", "method": "Get", "source_key": "k"}]:
        assert failure(lambda fields=fields: ask(**fields)) == "INVALID_ARGUMENT", fields


def test_each_listener_serves_its_own_services_only(world):
    calls = {"callers": world.server.client("acme", "billing", address=world.server.address),
             "operators": world.server.client("acme", "billing", address=world.server.admin_address)}
    assert failure(calls["callers"].admin.ListTenants, pb.ListTenantsRequest()) == "UNIMPLEMENTED"
    assert failure(calls["operators"].head, "key") == "UNIMPLEMENTED"
    assert world.server.health(world.server.admin_address) == servers.SERVING


def test_the_listener_requires_its_token(serve):
    running = serve({"acme": tenant()}, ADMIN_TOKEN=TOKEN)
    assert failure(admin(running).ListTenants, pb.ListTenantsRequest()) == "UNAUTHENTICATED"
    assert failure(admin(running, "another-token-of-the-tests").ListTenants, pb.ListTenantsRequest()) == "UNAUTHENTICATED"
    assert admin(running, TOKEN).ListTenants(pb.ListTenantsRequest()).tenants[0].name == "acme"
    assert running.health(running.admin_address) == servers.SERVING
    assert TOKEN not in running.log.read_text()


def refused(binary, folder, **settings):
    """The output of a server that does not start."""
    (folder / "tenants.yaml").write_text(json.dumps({"tenants": {"acme": tenant()}}))
    with pytest.raises(AssertionError) as failed:
        servers.serve(binary, folder, folder / "tenants.yaml", **settings)
    return str(failed.value)


def test_beyond_loopback_the_listener_requires_a_token_and_uses_tls(binary, tmp_path, serve):
    said = refused(binary, tmp_path, ADMIN_ADDR="0.0.0.0:0")
    assert "LONGSHORE_ADMIN_TOKEN: is not set, but every client that can connect" in said
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert], check=True,
                   capture_output=True)
    port = process.free_ports(1)[0]
    running = serve({"acme": tenant()}, ADMIN_ADDR=f"0.0.0.0:{port}", ADMIN_TOKEN=TOKEN, TLS_CERT=str(cert),
                    TLS_KEY=str(key))
    credentials = grpc.ssl_channel_credentials(cert.read_bytes())
    with grpc.secure_channel(f"localhost:{port}", credentials, [("grpc.enable_http_proxy", 0)]) as channel:
        from longshore.v1 import admin_service_pb2_grpc
        stub = admin_service_pb2_grpc.AdminServiceStub(channel)
        metadata = [("authorization", f"Bearer {TOKEN}")]
        assert stub.ListTenants(pb.ListTenantsRequest(), metadata=metadata, timeout=10).tenants
    plain = running.client(token=TOKEN, address=f"127.0.0.1:{port}").admin
    assert failure(plain.ListTenants, pb.ListTenantsRequest()) == "UNAVAILABLE"


def test_a_port_in_use_is_an_error_if_the_address_is_set_and_a_warning_if_it_is_not(binary, tmp_path, serve, world):
    said = refused(binary, tmp_path, ADMIN_ADDR=world.server.admin_address)
    assert f"cannot listen on {world.server.admin_address}, the address in LONGSHORE_ADMIN_ADDR: address already" in said
    both = [serve({"acme": tenant()}, ADMIN_ADDR=None) for _ in range(2)]
    eventually("the log warns", lambda: any(
        "AdminService is not served: set LONGSHORE_ADMIN_ADDR" in one.log.read_text() for one in both), within=20)
    # The ports are decided when the listeners bind, so only the settings can be compared before.
    same = refused(binary, tmp_path, ADMIN_ADDR="127.0.0.1:50051", LISTEN_ADDR="127.0.0.1:50051")
    assert "LONGSHORE_ADMIN_ADDR: is the same address as LONGSHORE_LISTEN_ADDR" in same


def test_the_commands_in_the_documentation_work(serve, moto_bucket):
    running = serve({"acme": {"callers": [caller("billing")], "stores": {"default": moto_bucket.store()}}})
    page = (ROOT / "docs/OPERATING.md").read_text()
    [block] = [block for block in re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE) if "grpcurl" in block]
    commands = [line for line in block.replace("\\\n", " ").splitlines() if line]
    assert len(commands) == 6
    environment = {"PATH": f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/")}
    for command in commands:
        command = command.replace("127.0.0.1:9091", running.admin_address)
        done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert isinstance(json.loads(done.stdout), dict)


def test_reflection_can_be_turned_off_on_this_listener_too(serve):
    def described(server):
        command = [TOOLS / "bin/grpcurl", "-plaintext", server.admin_address, "list"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=process.bare_environment())
        return done.stdout.split() if done.returncode == 0 else None

    reflecting = described(serve({"acme": tenant()}))
    assert "longshore.v1.AdminService" in reflecting and "longshore.v1.StoreService" not in reflecting
    assert described(serve({"acme": tenant()}, REFLECTION="false")) is None


def test_the_demo_serves_the_service(demo):
    assert re.search(rf"admin +{demo.admin_address} ", demo.greeting())
    tenants = admin(demo).ListTenants(pb.ListTenantsRequest()).tenants
    assert [(one.name, one.state) for one in tenants] == [("demo", SERVED)]
    answer = reload(demo)
    assert answer.outcome == pb.RELOAD_OUTCOME_FAILED and "no tenants files" in answer.problems[0]
