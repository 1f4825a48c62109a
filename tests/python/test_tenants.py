"""Two tenants on two endpoints in one server: tokens, grants, and secrets that are never exposed."""

import base64
import hashlib
import re

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from longshore.v1 import store_service_pb2

ALL = ["read", "write", "delete", "list"]
MOTO_KEY, MOTO_SECRET = "AKIAOFTHETENANTONMOTO", "moto/Secret+OfTheTenant/0123456789abcdef"
WRONG_SECRET = "wrong/Secret+OfTheBrokenStore/0123456789"
TOKENS = {
    "acme": "acme-token-7b1f0a6e2c",
    "acme-reader": "acme-reader-token-55d09c1b7e",
    "acme-public": "acme-public-token-0c4de9f6a1",
    "globex": "globex-token-91a7e0d3b4",
}


def caller(name, **grant):
    return {"name": name, "token_sha256": hashlib.sha256(TOKENS[name].encode()).hexdigest(), "access": ALL, **grant}


class World:
    """The server, its two buckets, and the texts that it has sent to its callers."""

    def __init__(self, server, acme_bucket, globex_bucket):
        self.server = server
        self.acme_bucket, self.globex_bucket = acme_bucket, globex_bucket
        self.acme = server.client("acme", TOKENS["acme"])
        self.globex = server.client("globex", TOKENS["globex"])
        self.said = []

    def refused(self, call, *arguments, **fields):
        """Returns the status and the reason with which a call failed."""
        with pytest.raises(grpc.RpcError) as failed:
            call(*arguments, **fields)
        error = failed.value
        status = rpc_status.from_call(error)
        self.said += [error.details(), str(status), *(str(item) for item in error.trailing_metadata())]
        info = error_details_pb2.ErrorInfo()
        assert any(detail.Unpack(info) for detail in status.details)
        return error.code(), info.reason


@pytest.fixture
def world(moto_bucket, versitygw_bucket, serve, tmp_path):
    secret_file = tmp_path / "secret"
    secret_file.write_text(versitygw_bucket.secret_access_key)
    broken = versitygw_bucket.store(secret_access_key=WRONG_SECRET)
    tenants = {
        "acme": {
            "callers": [
                caller("acme"), caller("acme-reader", access=["read", "list"]),
                caller("acme-public", prefixes=["public/"], stores=["default"])],
            "stores": {
                "default": moto_bucket.store("acme", access_key_id=MOTO_KEY, secret_access_key=MOTO_SECRET),
                "second": moto_bucket.store("second", access_key_id=MOTO_KEY, secret_access_key=MOTO_SECRET)},
        },
        "globex": {
            "callers": [caller("globex")],
            "stores": {
                "default": versitygw_bucket.store("globex", secret_access_key={"file": str(secret_file)}),
                "broken": broken},
        },
    }
    server = serve(tenants, AUTH="required", LOG="trace", LOG_FORMAT="json")
    return World(server, moto_bucket, versitygw_bucket)


def test_tenants_see_only_their_own_objects(world):
    world.acme.put("shared-name", b"of acme")
    world.globex.put("shared-name", b"of globex")
    world.globex.put("only-globex", b"x")
    assert world.acme_bucket.keys() == ["acme/shared-name"]
    assert world.globex_bucket.keys() == ["globex/only-globex", "globex/shared-name"]
    assert world.acme.get("shared-name").data == b"of acme"
    assert world.globex.get("shared-name").data == b"of globex"
    assert [found.key for found in world.acme.walk()] == ["shared-name"]
    assert [found.key for found in world.globex.walk()] == ["only-globex", "shared-name"]
    assert world.refused(world.acme.get, "only-globex") == (grpc.StatusCode.NOT_FOUND, "OBJECT_NOT_FOUND")


def test_token_identifies_the_tenant(world):
    world.acme.put("a", b"of acme")
    assert world.server.client(token=TOKENS["acme"]).get("a").data == b"of acme"


@pytest.mark.parametrize("token, reason", [
    ("not-a-token", "TOKEN_UNKNOWN"), (TOKENS["acme"] + "x", "TOKEN_UNKNOWN"), (None, "TOKEN_MISSING")])
def test_invalid_token(world, token, reason):
    client = world.server.client("acme", token)
    for call in (client.get, client.head, client.delete, lambda key: client.put(key, b"x"),
                 lambda key: client.upload(key, [b"x"]), lambda key: client.walk(prefix=key),
                 lambda key: client.delete_many([key])):
        assert world.refused(call, "a") == (grpc.StatusCode.UNAUTHENTICATED, reason)
    assert world.acme_bucket.keys() == []


def test_token_of_another_tenant(world):
    world.globex.put("a", b"of globex")
    intruder = world.server.client("globex", TOKENS["acme"])
    denied = (grpc.StatusCode.PERMISSION_DENIED, "TENANT_NOT_ALLOWED")
    assert world.refused(intruder.get, "a") == denied
    assert world.refused(intruder.put, "a", b"x") == denied
    assert world.refused(intruder.walk) == denied
    assert world.refused(intruder.delete, "a") == denied
    # A caller cannot tell whether another tenant exists.
    assert world.refused(world.server.client("initech", TOKENS["acme"]).get, "a") == denied
    assert world.globex_bucket.get("globex/a") == b"of globex"


WRITES = {
    "put": lambda c: c.put("a", b"x"),
    "upload": lambda c: c.upload("a", [b"x"]),
    "copy": lambda c: c.copy("a", "b"),
    "rename": lambda c: c.rename("a", "b"),
    "delete": lambda c: c.delete("a"),
    "delete many": lambda c: c.delete_many(["a"]),
}


@pytest.mark.parametrize("write", WRITES)
def test_read_only_caller_cannot_write(world, write):
    world.acme.put("a", b"of acme")
    reader = world.server.client("acme", TOKENS["acme-reader"])
    assert reader.get("a").data == b"of acme"
    assert [found.key for found in reader.walk()] == ["a"]
    assert world.refused(WRITES[write], reader) == (grpc.StatusCode.PERMISSION_DENIED, "ACCESS_NOT_GRANTED")
    assert world.acme_bucket.keys() == ["acme/a"]
    assert world.acme_bucket.get("acme/a") == b"of acme"


def test_grant_limited_to_a_prefix_and_a_store(world):
    public = world.server.client("acme", TOKENS["acme-public"])
    public.put("public/a", b"x")
    world.acme.put("private/a", b"x")
    world.acme.put("publicity", b"x")
    denied = (grpc.StatusCode.PERMISSION_DENIED, "ACCESS_NOT_GRANTED")
    for call in (lambda: public.put("private/b", b"x"), lambda: public.get("private/a"), lambda: public.get("publicity"),
                 lambda: public.walk(), lambda: public.list(prefix="p"), lambda: public.copy("private/a", "public/b"),
                 lambda: public.copy("public/a", "private/b"), lambda: public.put("public/a", b"x", store="second")):
        assert world.refused(call) == denied
    assert [found.key for found in public.walk(prefix="public/")] == ["public/a"]
    assert world.acme_bucket.keys() == ["acme/private/a", "acme/public/a", "acme/publicity"]
    stores = public.stores.ListStores(store_service_pb2.ListStoresRequest()).stores
    assert [store.name for store in stores] == ["default"]


def test_without_authentication_the_metadata_names_the_tenant(world, serve):
    server = serve({"one": {"stores": {"default": world.acme_bucket.store("one")}},
                    "two": {"stores": {"default": world.globex_bucket.store("two")}}}, AUTH="none")
    server.client("one").put("a", b"of one")
    assert server.client("two").walk() == []
    assert world.refused(server.client().head, "a") == (grpc.StatusCode.INVALID_ARGUMENT, "TENANT_REQUIRED")
    assert world.refused(server.client("three").head, "a") == (grpc.StatusCode.PERMISSION_DENIED, "TENANT_NOT_ALLOWED")


def test_secrets_are_never_exposed(world):
    world.acme.put("a", b"x")
    world.globex.upload("b", [bytes(1024 * 1024)] * 9)
    world.acme.get("a")
    for client in (world.acme, world.globex):
        for store in client.stores.ListStores(store_service_pb2.ListStoresRequest()).stores:
            world.said.append(str(store))
            request = store_service_pb2.CheckStoreRequest(store=store.name)
            world.said.append(str(client.stores.CheckStore(request)))
    # Failures of each side: the caller's token, the caller's key, the operator's secret.
    for token in ("not-a-token-3f9c", None):
        world.refused(world.server.client("acme", token).get, "a")
    world.refused(world.server.client("globex", TOKENS["acme"]).get, "a")
    world.refused(world.acme.get, "missing")
    assert world.refused(world.globex.get, "a", store="broken") == (
        grpc.StatusCode.FAILED_PRECONDITION, "CREDENTIALS_REJECTED")
    world.server.stop()

    log = world.server.log.read_text()
    # The log covers everything that was done.
    for done in ("ObjectService/Put", "ObjectService/Upload", "StoreService/CheckStore", "UNAUTHENTICATED",
                 "FAILED_PRECONDITION", '"DEBUG"'):
        assert done in log, done
    secrets = [MOTO_SECRET, WRONG_SECRET, world.globex_bucket.secret_access_key, "not-a-token-3f9c", *TOKENS.values()]
    secrets += [base64.b64encode(secret.encode()).decode() for secret in secrets]
    for text in (log, world.server.out.read_text(), *world.said):
        for secret in secrets:
            assert secret not in text
        # A signature can be used until it expires.
        assert not re.search(r"Signature=[0-9a-fA-F]{64}", text)
        assert not re.search(r"authorization\W{1,5}(Bearer [^<]|AWS4)", text, re.IGNORECASE)
