"""The admin listener with TLS: operators with client certificates, and with the token."""

import subprocess

import grpc
import pytest
from longshore.v1 import admin_service_pb2 as pb

from support import process
from support.certificates import Authority
from support.paths import TOOLS
from support.wait import eventually
from test_admin import TOKEN
from test_certificates import SPIFFE, UNAUTHENTICATED, UNAVAILABLE, World, outcome

OPERATOR = "spiffe://example.org/ops"
SANS = f"ops.internal, {OPERATOR}"


@pytest.fixture
def world(serve, tmp_path, moto_bucket):
    return World(serve, tmp_path, moto_bucket, ADMIN_SANS=SANS, ADMIN_TOKEN=TOKEN)


@pytest.fixture
def without_token(serve, tmp_path, moto_bucket):
    """Beyond loopback, as far as a test may go: on all addresses."""
    port, = process.free_ports(1)
    world = World(serve, tmp_path, moto_bucket, ADMIN_SANS=SANS, ADMIN_ADDR=f"0.0.0.0:{port}")
    world.server.admin_address = f"127.0.0.1:{port}"
    return world


def admin(world, pair=None, token=None):
    key, cert = pair.read() if pair else (None, None)
    tls = grpc.ssl_channel_credentials(world.servers.certificate.read_bytes(), key, cert)
    return world.server.client(token=token, tls=tls, address=world.server.admin_address).admin


def listed(stub):
    return outcome(lambda: stub.ListTenants(pb.ListTenantsRequest()))


def test_operators_have_a_listed_name_or_the_token(world):
    for number, name in enumerate(["DNS:ops.internal", f"URI:{OPERATOR}"]):
        assert listed(admin(world, world.issue(f"ops-{number}", name))) == "OK"
    assert listed(admin(world, token=TOKEN)) == "OK"
    assert listed(admin(world, token=TOKEN + "x")) == (UNAUTHENTICATED, "TOKEN_UNKNOWN")
    assert listed(admin(world)) == (UNAUTHENTICATED, "TOKEN_MISSING")
    # A token decides alone.
    operator, caller = world.issue("ops", "DNS:ops.internal"), world.issue("billing", "DNS:billing.internal")
    assert listed(admin(world, operator, TOKEN + "x")) == (UNAUTHENTICATED, "TOKEN_UNKNOWN")
    assert listed(admin(world, caller, TOKEN)) == "OK"


@pytest.mark.parametrize("sans", [
    [], ["DNS:billing.internal"], [f"URI:{SPIFFE}"], ["DNS:Ops.internal"], ["DNS:*.internal.example"], ["DNS:x.ops.internal"],
    [f"URI:{OPERATOR}/x"], [f"URI:{OPERATOR}", "URI:spiffe://example.org/second"]])
def test_other_names_of_the_right_ca_are_refused(without_token, sans):
    """Those of callers too, and a common name like that of an operator."""
    pair = without_token.issue("other", *sans, common_name="ops.internal")
    assert listed(admin(without_token, pair)) == (UNAUTHENTICATED, "CERTIFICATE_UNKNOWN")


def test_certificates_that_do_not_verify_fail_the_handshake(without_token, tmp_path):
    world, names = without_token, ["DNS:ops.internal", f"URI:{OPERATOR}"]
    revoked, expired = world.issue("revoked", *names), world.issue("expired", *names, seconds=-60)
    world.callers.revoke(revoked)
    world.crl = world.callers.revocation_list()
    world.reload()
    for pair in (Authority(tmp_path / "another", "another").issue("ops", names),
                 Authority(tmp_path / "impostor", "callers").issue("ops", names), revoked, expired):
        assert listed(admin(world, pair))[0] == UNAVAILABLE, pair.cert
        assert listed(admin(world, pair, TOKEN))[0] == UNAVAILABLE, pair.cert
    assert listed(admin(world)) == (UNAUTHENTICATED, "TOKEN_MISSING")
    assert listed(admin(world, token=TOKEN)) == (UNAUTHENTICATED, "TOKEN_UNKNOWN")
    assert listed(admin(world, world.issue("ops", *names))) == "OK"
    world.logs("a client certificate was refused", "UnknownIssuer", "BadSignature", "xpired", "Revoked")
    # Plaintext gets no answer.
    plain = world.server.client(address=world.server.admin_address).admin
    assert listed(plain)[0] == UNAVAILABLE


@pytest.mark.parametrize("how", ["revoked", "expired", "without its CA"])
def test_a_connection_ends_when_its_certificate_is_no_longer_valid(without_token, tmp_path, how):
    world = without_token
    operator = world.issue("ops", "DNS:ops.internal", seconds=6 if how == "expired" else 3600)
    stub = admin(world, operator)
    assert listed(stub) == "OK"
    if how == "revoked":
        world.callers.revoke(operator)
        world.crl = world.callers.revocation_list()
        world.reload()
    elif how == "without its CA":
        replaced = Authority(tmp_path / "replaced", "replaced")
        world.ca, world.crl = replaced.certificate.read_bytes(), replaced.revocation_list()
        world.reload()
    # GOAWAY makes the client connect again, which fails.
    eventually("the client has to connect again", lambda: listed(stub)[0] == UNAVAILABLE, within=30)
    world.logs("the client certificate of a connection is no longer valid")


def test_grpcurl_uses_a_certificate(without_token):
    world = without_token
    operator = world.issue("ops", "DNS:ops.internal")
    command = [TOOLS / "bin" / "grpcurl", "-cacert", world.servers.certificate, "-cert", operator.cert, "-key", operator.key,
               world.server.admin_address, "longshore.v1.AdminService/ListTenants"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert answer.returncode == 0 and '"acme"' in answer.stdout, answer.stderr
