"""Callers with a JWT: which tokens are accepted, and which requests the server makes for the keys."""

import hashlib
import hmac
import json
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from longshore.v1 import store_service_pb2

from support.issuer import AUDIENCE, NAME, Issuer, encoded, pod, signed
from support.wait import eventually

STORE = {"default": {"bucket": "a-bucket", "credential_provider": {"type": "anonymous"}}}
DENIED = ("UNAUTHENTICATED", "TOKEN_UNKNOWN")
UNAVAILABLE = ("UNAVAILABLE", "JWT_KEYS_UNAVAILABLE")


@pytest.fixture
def issuer():
    issuer = Issuer()
    yield issuer
    issuer.close()


def caller(jwks, namespace="billing", name="pods", access=("read", "list"), **jwt):
    jwt = {"issuer": NAME, "audience": AUDIENCE, "jwks": jwks, "claims": {"/kubernetes.io/namespace": namespace}, **jwt}
    return {"name": name, "jwt": jwt, "access": list(access)}


def tenant(*callers):
    return {"callers": list(callers), "stores": STORE}


@pytest.fixture
def server(serve, issuer):
    return serve({"acme": tenant(caller({"url": issuer.url}))}, AUTH="required", LOG_FORMAT="json")


def outcome(server, token, tenant=None, timeout=30):
    """The status and the reason of a call that needs no S3: OK, or why the caller was refused."""
    stub = server.client(tenant, token).stores
    try:
        stub._stub.ListStores(store_service_pb2.ListStoresRequest(), metadata=stub._metadata, timeout=timeout)
    except grpc.RpcError as error:
        status, info = rpc_status.from_call(error), error_details_pb2.ErrorInfo()
        assert status is None or any(detail.Unpack(info) for detail in status.details)
        assert token is None or token not in error.details()
        return error.code().name, info.reason
    return "OK", ""


def forged(header, claims, secret):
    message = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    signature = hmac.new(secret, message.encode(), hashlib.sha256).digest() if secret else b""
    return f"{message}.{encoded(signature)}"


def test_a_pods_token_identifies_its_caller(server, issuer):
    token = issuer.token()
    assert outcome(server, token) == ("OK", "")
    assert outcome(server, token, "acme") == ("OK", "")
    assert outcome(server, token, "globex") == ("PERMISSION_DENIED", "TENANT_NOT_ALLOWED")
    assert outcome(server, None) == ("UNAUTHENTICATED", "TOKEN_MISSING")
    assert issuer.requests == [("/keys", None)]
    lines = eventually("the calls are logged", lambda: [
        line for line in map(json.loads, server.log.read_text().splitlines())
        if line.get("target") == "longshore::access" and line.get("caller") == "pods"], within=10)
    assert lines[0]["tenant"] == "acme"
    assert token not in server.log.read_text()


def test_forged_tokens_are_refused(server, issuer):
    assert outcome(server, issuer.token()) == ("OK", "")
    pem = issuer.key.as_pem(private=False)
    header, claims, signature = issuer.token().split(".")
    other_claims = issuer.token(sub="other").split(".")[1]
    for forgery in (
            signed(issuer.other, pod(), kid="first"),
            signed(issuer.other, pod(), kid="first", jwk=issuer.other.as_dict(private=False)),
            forged({"alg": "none"}, pod(), None),
            forged({"alg": "none", "kid": "first"}, pod(), None),
            forged({"alg": "HS256", "kid": "first"}, pod(), pem),
            forged({"alg": "HS256", "kid": "first"}, pod(), pem.strip()),
            forged({"alg": "HS256", "kid": "first"}, pod(), json.dumps(issuer.key.as_dict(private=False)).encode()),
            f"{header}.{other_claims}.{signature}",
            f"{header}.{claims}.",
            f"{header}.{claims}.{signature[:-8]}"):
        assert outcome(server, forgery) == DENIED, forgery
    assert len(issuer.requests) == 1


@pytest.mark.parametrize("changes", [
    {"iss": "https://issuer.example/"}, {"iss": None}, {"iss": [NAME]}, {"aud": ["other"]}, {"aud": "longshore2"},
    {"aud": None}, {"namespace": "billing2"}, {"namespace": "Billing"}, {"kubernetes.io": None},
    {"exp": int(time.time()) - 3600}, {"exp": None}, {"exp": "4102444800"}, {"nbf": int(time.time()) + 3600},
    {"iat": int(time.time()) + 3600}], ids=str)
def test_tokens_for_another_purpose_or_time_are_refused_without_a_request(server, issuer, changes):
    assert outcome(server, issuer.token(**changes)) == DENIED
    assert issuer.requests == []


def test_a_key_in_the_token_or_at_a_url_that_it_names_is_never_used(server, issuer):
    theirs = Issuer()
    try:
        theirs.publish(theirs.key)
        for header in ({"jku": theirs.url}, {"x5u": theirs.url}, {"jku": theirs.url, "x5u": theirs.url},
                       {"jwk": theirs.key.as_dict(private=False)}):
            assert outcome(server, signed(theirs.key, pod(), **header)) == DENIED
        # Nor does the issuer's name cause a request.
        assert outcome(server, signed(theirs.key, pod(iss=theirs.address))) == DENIED
        assert theirs.requests == []
    finally:
        theirs.close()


def test_a_header_that_must_be_understood_is_refused(server, issuer):
    assert outcome(server, signed(issuer.key, pod(), b64=True, crit=["b64"])) == DENIED
    assert outcome(server, signed(issuer.key, pod(), typ="logout+jwt")) == DENIED


def test_tenants_with_the_same_issuer_do_not_share_keys(serve, issuer):
    """The author of globex's file names the same issuer with keys of his own."""
    theirs = Issuer()
    try:
        server = serve({"acme": tenant(caller({"url": issuer.url}), ), "globex": tenant(caller({"url": theirs.url}))},
                       AUTH="required")
        denied = ("PERMISSION_DENIED", "TENANT_NOT_ALLOWED")
        minted = signed(theirs.key, pod())
        assert (outcome(server, minted, "globex"), outcome(server, minted, "acme")) == (("OK", ""), denied)
        genuine = issuer.token()
        assert (outcome(server, genuine, "acme"), outcome(server, genuine, "globex")) == (("OK", ""), denied)
    finally:
        theirs.close()


def test_a_tenants_grants_apply_to_its_own_callers_only(serve, issuer):
    keys = {"url": issuer.url}
    server = serve({"acme": tenant(caller(keys)), "globex": tenant(caller(keys, "reports", access=["bucket_admin"]))},
                   AUTH="required")
    token = issuer.token(namespace="reports")
    assert outcome(server, token) == ("OK", "")
    assert outcome(server, token, "acme") == ("PERMISSION_DENIED", "TENANT_NOT_ALLOWED")
    with pytest.raises(grpc.RpcError) as refused:
        server.client("globex", token).head("a")
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    # Both tenants share the keys.
    assert outcome(server, issuer.token()) == ("OK", "")
    assert len(issuer.requests) == 1


def test_an_api_token_with_the_form_of_a_jwt_is_one(serve, issuer):
    token = issuer.token(namespace="other")
    by_token = {"name": "t", "token_sha256": hashlib.sha256(token.encode()).hexdigest(), "access": ["read"]}
    server = serve({"acme": tenant(by_token, caller({"url": issuer.url}))}, AUTH="required")
    assert outcome(server, token) == ("OK", "")
    assert issuer.requests == []


@pytest.mark.parametrize("broken", [
    {"status": 500}, {"status": 200, "body": b"<html>"}, {"status": 200, "body": b'{"keys": []}'},
    {"status": 200, "body": b'{"keys": [], "keys": []}'}, {"status": 200, "body": b" " * (2 << 20)},
    {"status": 204}], ids=lambda broken: f"{broken['status']}-{len(broken.get('body', b''))}")
def test_without_keys_calls_are_unavailable_and_recover(server, issuer, broken):
    issuer.answers(**broken)
    assert outcome(server, issuer.token()) == UNAVAILABLE
    server.logged("the keys of a JWT issuer could not be read")
    issuer.publish(issuer.key)
    eventually("the keys have been read", lambda: outcome(server, issuer.token()) == ("OK", ""), within=20)


def test_redirects_are_not_followed(server, issuer):
    theirs = Issuer()
    try:
        for status in (301, 302, 307):
            issuer.answers(status, Location=theirs.url)
            assert outcome(server, signed(theirs.key, pod())) == UNAVAILABLE
            time.sleep(2)
        assert theirs.requests == []
    finally:
        theirs.close()


def test_an_issuer_that_hangs_fails_the_calls_that_need_it_in_time(server, issuer):
    issuer.hanging.set()
    for timeout in (2, 30):
        assert outcome(server, issuer.token(), timeout=timeout) == UNAVAILABLE


def test_a_caller_that_leaves_ends_nothing_for_others(server, issuer):
    issuer.hanging.set()
    stub = server.client(None, issuer.token()).stores
    call = stub._stub.ListStores.future(
        store_service_pb2.ListStoresRequest(), metadata=stub._metadata, timeout=30)
    eventually("the keys are requested", lambda: issuer.requests, within=10)
    call.cancel()
    assert outcome(server, issuer.token(), timeout=30) == UNAVAILABLE
    assert len(issuer.requests) == 1


def test_a_thousand_calls_with_unknown_keys_cause_one_request(server, issuer):
    tokens = [signed(issuer.key, pod(), kid=f"unknown-{number}") for number in range(1000)]
    with ThreadPoolExecutor(16) as pool:
        outcomes = set(pool.map(lambda token: outcome(server, token), tokens))
    assert outcomes == {DENIED}
    assert len(issuer.requests) == 1


def test_keys_are_rotated_and_removed(server, issuer):
    old, new = issuer.token(), signed(issuer.other, pod())
    assert (outcome(server, old), outcome(server, new)) == (("OK", ""), DENIED)
    issuer.publish(issuer.other)
    # A token with an unknown key causes a request, but not within 30 s of the last one.
    eventually("the new key is accepted", lambda: outcome(server, new) == ("OK", ""), within=60, every=1)
    assert outcome(server, old) == DENIED
    assert len(issuer.requests) == 2
    issuer.answers(200, b'{"keys": []}')
    assert outcome(server, new) == ("OK", "")


def test_the_request_for_the_keys_has_the_servers_token_and_trusts_the_given_ca_only(serve, issuer, tmp_path):
    """As for the API server of Kubernetes."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=issuer",
         "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", tmp_path / "key", "-out", tmp_path / "ca"],
        check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca", tmp_path / "key")
    issuer.server.socket = context.wrap_socket(issuer.server.socket, server_side=True)
    (tmp_path / "token").write_text("token-of-the-server\n")
    jwks = {"url": issuer.url.replace("http:", "https:"), "bearer_token_file": str(tmp_path / "token"),
            "ca_file": str(tmp_path / "ca")}
    server = serve({"acme": tenant(caller(jwks))}, AUTH="required", LOG="trace")
    assert outcome(server, issuer.token()) == ("OK", "")
    assert issuer.requests == [("/keys", "Bearer token-of-the-server")]
    assert "token-of-the-server" not in server.log.read_text()
    untrusting = serve({"acme": tenant(caller({"url": jwks["url"]}))}, AUTH="required")
    assert outcome(untrusting, issuer.token()) == UNAVAILABLE
    assert len(issuer.requests) == 1


def test_keys_in_a_file_are_replaced_when_the_file_changes(serve, issuer, tmp_path):
    file = tmp_path / "jwks.json"
    file.write_bytes(issuer.answer[1])
    server = serve({"acme": tenant(caller({"file": str(file)}))}, AUTH="required", RELOAD_INTERVAL="200ms")
    new = signed(issuer.other, pod())
    assert (outcome(server, issuer.token()), outcome(server, new)) == (("OK", ""), DENIED)
    # A file that cannot be used changes nothing.
    file.write_text("{}")
    server.logged("no list `keys`")
    assert outcome(server, issuer.token()) == ("OK", "")
    issuer.publish(issuer.other)
    file.write_bytes(issuer.answer[1])
    eventually("the new key is accepted", lambda: outcome(server, new) == ("OK", ""), within=20)
    assert outcome(server, issuer.token()) == DENIED
    assert issuer.requests == []


def test_a_remembered_token_is_refused_when_it_expires(server, issuer):
    token = issuer.token(exp=int(time.time()) - 28)
    assert outcome(server, token) == ("OK", ""), "the leeway is 30 s"
    eventually("the token has expired", lambda: outcome(server, token) == DENIED, within=20)


def test_calls_with_a_known_key_do_not_wait_for_one_that_is_unknown(server, issuer):
    assert outcome(server, issuer.token()) == ("OK", "")
    time.sleep(31)
    issuer.hanging.set()
    waiting = threading.Thread(target=outcome, args=(server, signed(issuer.other, pod())))
    waiting.start()
    eventually("the keys are requested", lambda: len(issuer.requests) == 2, within=10)
    assert outcome(server, issuer.token(sub="new"), timeout=3) == ("OK", "")
    waiting.join()


def test_tokens_of_the_servers_issuer_are_for_the_tenants_that_they_name(serve, issuer):
    """What they may do comes from the tenant's own file."""
    def of_server(access, **jwt):
        return {"name": "pods", "jwt": {"server": True, **jwt}, "access": access}
    server = serve(
        {"billing": tenant(of_server(["list"])), "reports": tenant(of_server(["bucket_admin"], claims={"/sub": "a"})),
         "closed": tenant()},
        AUTH="required", JWT_ISSUER=NAME, JWT_AUDIENCE=AUDIENCE, JWT_JWKS_URL=issuer.url, JWT_TENANT_CLAIM="/tenant")
    denied = ("PERMISSION_DENIED", "TENANT_NOT_ALLOWED")
    billing = issuer.token(tenant="billing")
    assert outcome(server, billing) == ("OK", "")
    assert [outcome(server, billing, name) for name in ("reports", "closed", "other")] == [denied] * 3
    assert outcome(server, issuer.token(tenant="reports", sub="b")) == DENIED
    assert outcome(server, issuer.token(tenant="reports", sub="a"), "reports") == ("OK", "")
    both = issuer.token(tenant=["billing", "reports"], sub="a")
    assert outcome(server, both) == ("INVALID_ARGUMENT", "TENANT_REQUIRED")
    assert [outcome(server, both, name) for name in ("billing", "reports")] == [("OK", "")] * 2
    for claim in ("closed", "other", "", None, {"billing": 1}, "Billing"):
        assert outcome(server, issuer.token(tenant=claim)) == DENIED, claim
    assert outcome(server, signed(issuer.other, pod(tenant="billing"), kid="first")) == DENIED
    assert len(issuer.requests) == 1
