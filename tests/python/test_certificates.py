"""Callers that are identified by client certificates, and TLS files that are replaced while the server runs."""

import hashlib
import os
import shutil
import signal
import socket
import ssl
import threading
import time
import urllib.request

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from support.certificates import Authority, Pair
from support.wait import eventually

ALL = ["read", "write", "delete", "list"]
SPIFFE = "spiffe://example.org/ns/billing/sa/default"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
UNAUTHENTICATED, UNAVAILABLE = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE


def outcome(call):
    """Returns "OK", or the status and the reason with which a call failed."""
    try:
        call()
    except grpc.RpcError as error:
        status, info = rpc_status.from_call(error), error_details_pb2.ErrorInfo()
        for detail in status.details if status else []:
            detail.Unpack(info)
        return error.code(), info.reason
    return "OK"


def write(client, key="key"):
    return outcome(lambda: client.put(key, b"x"))


class World:
    """A server with TLS, the CA of its callers, and the folder of its TLS files, which Kubernetes would mount."""

    def __init__(self, serve, tmp_path, bucket, **settings):
        self.servers = Authority(tmp_path / "servers", "servers")
        self.callers = Authority(tmp_path / "callers", "callers")
        self.folder = tmp_path / "tls"
        self.folder.mkdir()
        self.versions = 0
        self.server_pair = self.new_server_pair()
        self.ca = self.callers.certificate.read_bytes()
        self.crl = self.callers.revocation_list()
        self.publish()
        digest = hashlib.sha256(b"acme-token").hexdigest()
        expired = hashlib.sha256(b"old-token").hexdigest()
        tenants = {
            "acme": {
                "callers": [
                    {"name": "by-dns", "san": "billing.internal", "access": ALL},
                    {"name": "by-spiffe", "san": [SPIFFE, "other.internal"], "access": ["read"]},
                    {"name": "by-token", "access": ["list"], "tokens": [
                        {"sha256": digest, "not_after": "2087-01-31T00:00:00Z"},
                        {"sha256": expired, "not_after": "2020-01-31T00:00:00Z"}]}],
                "stores": {"default": bucket.store("acme")}},
            "globex": {
                "callers": [{"name": "shared", "san": "other.internal", "access": ALL}],
                "stores": {"default": bucket.store("globex")}},
        }
        file = lambda name: str(self.folder / name)  # noqa: E731
        settings = {"RELOAD_INTERVAL": "1s", "AUTH": "required", **settings}
        self.server = serve(tenants, TLS_CERT=file("tls.crt"), TLS_KEY=file("tls.key"), TLS_CLIENT_CA=file("ca.crt"),
                            TLS_CLIENT_CRL=file("ca.crl"), **settings)

    def new_server_pair(self):
        self.versions += 1
        return self.servers.issue(f"server-{self.versions}", ["IP:127.0.0.1"])

    def publish(self):
        """Replaces all TLS files at once, as Kubernetes does: by a symbolic link to a new folder."""
        key, cert = self.server_pair.read()
        version = self.folder / f"..{time.monotonic_ns()}"
        version.mkdir()
        for name, contents in {"tls.crt": cert, "tls.key": key, "ca.crt": self.ca, "ca.crl": self.crl}.items():
            (version / name).write_bytes(contents)
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        new = self.folder / "..data_tmp"
        new.symlink_to(version.name)
        os.replace(new, self.folder / "..data")

    def client(self, pair=None, tenant="acme", token=None, chain=b""):
        key, cert = pair.read() if pair else (None, None)
        tls = grpc.ssl_channel_credentials(self.servers.certificate.read_bytes(), key, cert and cert + chain)
        return self.server.client(tenant, token, tls)

    def issue(self, name, *sans, **options):
        return self.callers.issue(name, sans, **options)

    def page(self, path):
        return OPENER.open(f"http://{self.server.health_address}{path}").read().decode()

    def metric(self, start, label=""):
        lines = [line for line in self.page("/metrics").splitlines() if line.startswith(start) and label in line]
        return sum(float(line.split()[-1]) for line in lines)

    def ended(self):
        """Returns how many connections have ended because of their certificates."""
        return self.metric("longshore_connections_ended_total{", 'reason="certificate"')

    def logs(self, *texts):
        """Waits until the log contains these texts: it is written a little later."""
        for text in texts:
            eventually(f"the log contains {text}", lambda: text in self.server.log.read_text(), within=10)

    def reloads(self, result="ok"):
        return self.metric("longshore_tls_reloads_total{", f'outcome="{result}"')

    def reload(self, result="ok"):
        """Publishes the files, and waits until the server has found the change."""
        before = self.reloads(result)
        self.publish()
        eventually("the TLS files are reloaded", lambda: self.reloads(result) > before, within=20)


@pytest.fixture
def world(serve, tmp_path, moto_bucket):
    return World(serve, tmp_path, moto_bucket)


def test_names_in_certificates_identify_callers_beside_tokens(world):
    billing = world.issue("billing", "DNS:billing.internal")
    assert write(world.client(billing)) == "OK"
    assert world.client(billing, tenant=None).get("key").data == b"x"
    reader = world.client(world.issue("pod", f"URI:{SPIFFE}"))
    assert reader.get("key").data == b"x"
    assert write(reader) == (grpc.StatusCode.PERMISSION_DENIED, "ACCESS_NOT_GRANTED")
    lister = world.client(token="acme-token")
    assert [found.key for found in lister.list().objects] == ["key"]
    assert write(world.client()) == (UNAUTHENTICATED, "TOKEN_MISSING")
    # Two tenants have the same name: each with its own grant.
    shared = world.issue("shared", "DNS:other.internal")
    assert write(world.client(shared, tenant=None)) == (grpc.StatusCode.INVALID_ARGUMENT, "TENANT_REQUIRED")
    assert write(world.client(shared, tenant="globex")) == "OK"
    assert write(world.client(shared, tenant="acme")) == (grpc.StatusCode.PERMISSION_DENIED, "ACCESS_NOT_GRANTED")
    world.logs('"caller":"by-dns"', '"caller":"shared"')


@pytest.mark.parametrize("sans", [
    [], ["DNS:Billing.internal"], ["DNS:*.internal.example"], ["DNS:x.billing.internal"], ["DNS:billing.internal.example.org"],
    ["URI:spiffe://example.org/ns/billing/sa/Default"], ["URI:spiffe://Example.org/ns/billing/sa/default"],
    [f"URI:{SPIFFE}/x"], [f"URI:{SPIFFE}", "URI:spiffe://example.org/second"], ["email:billing.internal@example.org"],
    ["URI:https://billing.internal"]])
def test_other_names_do_not_identify_a_caller(world, sans):
    """Even if the common name is that of a caller."""
    pair = world.issue("other", *sans, common_name="billing.internal")
    for client in (world.client(pair), world.client(pair, tenant="globex"), world.client(pair, tenant=None)):
        assert write(client) == (UNAUTHENTICATED, "CERTIFICATE_UNKNOWN")


def test_certificates_that_do_not_verify_fail_the_handshake(world, tmp_path):
    names = ["DNS:billing.internal", f"URI:{SPIFFE}"]
    another = Authority(tmp_path / "another", "another").issue("billing", names)
    # A CA that has the name of ours, but another key.
    impostor = Authority(tmp_path / "impostor", "callers").issue("billing", names)
    expired = world.callers.issue("expired", names, seconds=-60)
    revoked = world.callers.issue("revoked", names)
    world.callers.revoke(revoked)
    world.crl = world.callers.revocation_list()
    world.reload()
    self_signed = Authority(tmp_path / "self-signed", "billing.internal")
    self_signed = Pair(self_signed.certificate, self_signed.key)
    # A certificate of a caller that issues another one.
    issuer = Authority(tmp_path / "issuer", "issuer")
    good = world.callers.issue("good", names)
    issuer.certificate.write_bytes(good.cert.read_bytes())
    shutil.copy(good.key, issuer.key)
    issued = issuer.issue("issued", names)
    for pair, chain in [(another, b""), (impostor, b""), (expired, b""), (revoked, b""), (self_signed, b""),
                        (issued, good.cert.read_bytes())]:
        before = world.ended()
        # A valid token does not help.
        assert write(world.client(pair, token="acme-token", chain=chain))[0] == UNAVAILABLE, pair.cert
        eventually(f"{pair.cert} is refused", lambda: world.ended() > before, within=20)
    assert write(world.client(good)) == "OK"
    world.logs("a client certificate was refused", "UnknownIssuer", "BadSignature", "xpired", "Revoked")


def test_a_token_decides_alone(world):
    """With a certificate that could write, as a caller that may only list."""
    billing = world.issue("billing", "DNS:billing.internal")
    assert write(world.client(billing, token="acme-token")) == (grpc.StatusCode.PERMISSION_DENIED, "ACCESS_NOT_GRANTED")
    assert outcome(lambda: world.client(billing, token="acme-token").list()) == "OK"
    assert write(world.client(billing, token="unknown")) == (UNAUTHENTICATED, "TOKEN_UNKNOWN")
    assert write(world.client(billing, token="")) == (UNAUTHENTICATED, "TOKEN_MISSING")
    assert write(world.client(billing, token="old-token")) == (UNAUTHENTICATED, "TOKEN_EXPIRED")
    # Also a warning at startup.
    world.logs('"caller":"by-token"', '"reason":"TOKEN_EXPIRED"', "the token expired at 2020-01-31T00:00:00Z")


def test_a_certificate_gives_no_access_to_other_tenants(world):
    billing = world.issue("billing", "DNS:billing.internal")
    assert write(world.client(billing, tenant="globex")) == (grpc.StatusCode.PERMISSION_DENIED, "TENANT_NOT_ALLOWED")
    assert write(world.client(billing, tenant="nobody")) == (grpc.StatusCode.PERMISSION_DENIED, "TENANT_NOT_ALLOWED")


class Stream:
    """An upload that stays open until `finish` is called."""

    def __init__(self, client, key):
        self.begun, self.goes_on = threading.Event(), threading.Event()
        self.outcome = None

        def chunks():
            yield bytes(1024)
            self.begun.set()
            self.goes_on.wait(60)
            yield bytes(1024)

        def upload():
            self.outcome = outcome(lambda: client.upload(key, chunks()))

        self.thread = threading.Thread(target=upload)
        self.thread.start()
        assert self.begun.wait(30)
        # The call has begun for the server too.
        time.sleep(0.2)

    def finish(self):
        self.goes_on.set()
        self.thread.join(60)
        return self.outcome


def test_files_are_replaced_under_open_streams(world):
    """The certificate, the CA and the revocation list: no call fails, and no connection ends."""
    billing = world.issue("billing", "DNS:billing.internal")
    client = world.client(billing)
    assert write(client) == "OK"
    stream = Stream(client, "long")
    stop, failures, calls = threading.Event(), [], [0]

    def call():
        calling = world.client(billing)
        while not stop.is_set():
            calls[0] += 1
            if (found := write(calling)) != "OK":
                failures.append(found)

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    second = Authority(world.callers.folder.parent / "second", "second")
    for _ in range(3):
        world.server_pair = world.new_server_pair()
        # More of both.
        world.ca += second.certificate.read_bytes()
        world.callers.revoke(world.issue(f"revoked-{world.versions}", "DNS:billing.internal"))
        world.crl = world.callers.revocation_list() + second.revocation_list()
        world.reload()
        # New connections see the new certificate.
        served = grpc_certificate(world)
        assert served.strip() == world.server_pair.cert.read_text().strip()
    stop.set()
    for thread in threads:
        thread.join(60)
    assert (stream.finish(), failures) == ("OK", []) and calls[0] > 100
    assert write(world.client(second.issue("new", ["DNS:billing.internal"]))) == "OK"
    assert world.ended() == 0
    expiry = world.metric("longshore_tls_certificate_expiry_timestamp_seconds")
    assert 0 < expiry - time.time() < 3700
    assert 0 < world.metric("longshore_tls_revocation_list_expiry_timestamp_seconds") - time.time() < 25 * 3600
    assert world.page("/readyz") == "ok\n"
    # Less than a fifth of the lifetime of 25 hours is left.
    world.logs("the certificate of the gRPC listener expires soon")


def test_each_ca_needs_a_revocation_list_if_there_are_lists(world, tmp_path):
    second = Authority(tmp_path / "second", "second")
    caller = second.issue("billing", ["DNS:billing.internal"])
    world.ca += second.certificate.read_bytes()
    world.reload()
    assert write(world.client(caller))[0] == UNAVAILABLE
    world.logs("UnknownRevocationStatus")
    assert write(world.client(world.issue("billing", "DNS:billing.internal"))) == "OK"
    world.crl += second.revocation_list()
    world.reload()
    assert write(world.client(caller)) == "OK"


def grpc_certificate(world):
    host, port = world.server.address.split(":")
    return ssl.get_server_certificate((host, int(port)))


@pytest.mark.parametrize("how", ["revoked", "revoked, in DER", "without its CA"])
def test_a_connection_whose_certificate_is_no_longer_valid_gets_goaway(world, tmp_path, how):
    billing, other = world.issue("billing", "DNS:billing.internal"), world.issue("pod", f"URI:{SPIFFE}")
    client, bystander = world.client(billing), world.client(other)
    assert write(client) == "OK"
    assert outcome(lambda: bystander.get("key")) == "OK"
    stream = Stream(client, "long")
    if how.startswith("revoked"):
        world.callers.revoke(billing)
        world.crl = world.callers.revocation_list(der=how.endswith("DER"))
    else:
        replaced = Authority(tmp_path / "replaced", "replaced")
        world.ca, world.crl = replaced.certificate.read_bytes(), replaced.revocation_list()
    world.reload()
    # GOAWAY makes the client connect again, which fails.
    eventually("new calls fail", lambda: write(client)[0] in (UNAVAILABLE, UNAUTHENTICATED), within=20)
    assert stream.finish() == "OK", "the call in flight is not disturbed"
    ended = 1 if how.startswith("revoked") else 2
    eventually("connections end", lambda: world.ended() >= ended, within=20)
    expected = "OK" if how.startswith("revoked") else (UNAVAILABLE, "")
    eventually("others", lambda: outcome(lambda: bystander.get("key")) == expected, within=20)
    assert write(world.client(billing))[0] == UNAVAILABLE


@pytest.mark.parametrize("how", ["expired", "revoked"])
def test_a_connection_ends_when_an_intermediate_certificate_is_no_longer_valid(world, how):
    lower = world.callers.intermediate("lower", seconds=12 if how == "expired" else 3600)
    other = world.callers.intermediate("other")
    # A certificate that no chain needs ends nothing.
    unneeded = world.callers.intermediate("unneeded", seconds=9).certificate.read_bytes()
    lists = lambda: b"".join(ca.revocation_list() for ca in (world.callers, lower, other))  # noqa: E731
    world.crl = lists()
    world.reload()
    billing, pod = lower.issue("billing", ["DNS:billing.internal"]), other.issue("pod", [f"URI:{SPIFFE}"])
    client = world.client(billing, chain=lower.certificate.read_bytes())
    bystander = world.client(pod, chain=other.certificate.read_bytes() + unneeded)
    assert write(client) == "OK"
    assert outcome(lambda: bystander.get("key")) == "OK"
    stream = Stream(client, "long")
    if how == "revoked":
        world.callers.revoke(Pair(lower.certificate, lower.key))
        world.crl = lists()
        world.reload()
    eventually("new calls fail", lambda: write(client) != "OK", within=30)
    assert stream.finish() == "OK", "the call in flight is not disturbed"
    eventually("the connection ends", lambda: world.ended() >= 1, within=20)
    world.logs("the client certificate of a connection is no longer valid")
    assert outcome(lambda: bystander.get("key")) == "OK"
    assert write(world.client(billing, chain=lower.certificate.read_bytes()))[0] == UNAVAILABLE


def test_a_connection_ends_when_its_certificate_expires(world):
    billing = world.issue("billing", "DNS:billing.internal", seconds=6)
    client = world.client(billing)
    assert write(client) == "OK"
    stream = Stream(client, "long")
    eventually("new calls fail", lambda: write(client) != "OK", within=30)
    assert stream.finish() == "OK"
    eventually("the connection ends", lambda: world.ended() >= 1, within=20)


def test_broken_files_leave_the_last_ones_in_use_and_are_reported(world):
    billing = world.issue("billing", "DNS:billing.internal")
    good = world.server_pair, world.ca, world.crl
    before = grpc_certificate(world)
    mixed = world.new_server_pair()
    world.server_pair = Pair(mixed.cert, world.server_pair.key)
    world.ca, world.crl = b"no certificate", world.crl[:200]
    world.reload("failed")
    assert grpc_certificate(world) == before
    assert write(world.client(billing)) == "OK"
    names = "LONGSHORE_TLS_CERT, LONGSHORE_TLS_CLIENT_CA, LONGSHORE_TLS_CLIENT_CRL"
    assert world.page("/readyz") == f"ok\nthe contents of {names} cannot be used: see the log\n"
    world.logs("cannot serve TLS with the certificate", "cannot verify client certificates with")
    # One of them is corrected, and takes effect.
    world.server_pair = mixed
    world.reload("failed")
    assert grpc_certificate(world).strip() == mixed.cert.read_text().strip()
    world.server_pair, world.ca, world.crl = good
    world.reload()
    assert world.page("/readyz") == "ok\n"


def test_sighup_reloads_the_files_at_once(serve, tmp_path, moto_bucket):
    world = World(serve, tmp_path, moto_bucket, RELOAD_INTERVAL="unlimited")
    world.server_pair = world.new_server_pair()
    world.publish()
    world.server.process.send_signal(signal.SIGHUP)
    eventually("the TLS files are reloaded", lambda: world.reloads() == 1, within=20)
    assert grpc_certificate(world).strip() == world.server_pair.cert.read_text().strip()


def test_only_tls_1_2_and_1_3_are_accepted(world):
    host, port = world.server.address.split(":")
    for version, accepted in [(ssl.TLSVersion.TLSv1, False), (ssl.TLSVersion.TLSv1_1, False),
                              (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)]:
        context = ssl.create_default_context(cafile=str(world.servers.certificate))
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        try:
            with socket.create_connection((host, int(port)), timeout=10) as plain, \
                    context.wrap_socket(plain, server_hostname=host) as stream:
                found = stream.version()
        except ssl.SSLError:
            found = None
        assert (found is not None) == accepted, version


class Stubborn:
    """A client that ignores GOAWAY, and sends further calls on its connection."""

    GOAWAY = 7

    def __init__(self, world, pair):
        context = ssl.create_default_context(cafile=str(world.servers.certificate))
        context.load_cert_chain(pair.cert, pair.key)
        context.set_alpn_protocols(["h2"])
        host, port = world.server.address.split(":")
        self.stream = context.wrap_socket(socket.create_connection((host, int(port)), timeout=30), server_hostname=host)
        self.stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(4, 0, 0, b"") + self.frame(4, 1, 0, b""))
        self.next = 1

    @staticmethod
    def frame(kind, flags, stream, payload):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def call(self):
        """Sends a complete call, with each field of the header as a literal (RFC 7541, section 6.2.2)."""
        fields = {":method": "POST", ":scheme": "https", ":path": "/longshore.v1.StoreService/ListStores", ":authority": "x",
                  "te": "trailers", "content-type": "application/grpc"}
        text = lambda value: bytes([len(value)]) + value.encode()  # noqa: E731
        head = b"".join(b"\0" + text(name) + text(value) for name, value in fields.items())
        self.stream.sendall(self.frame(1, 4, self.next, head) + self.frame(0, 1, self.next, bytes(5)))
        self.next += 2

    def receive(self, kind):
        """Reads frames until one of this kind has arrived. Acknowledges none of them."""
        while True:
            head = self.exactly(9)
            self.exactly(int.from_bytes(head[:3], "big"))
            if head[3] == kind:
                return

    def exactly(self, count):
        found = b""
        while len(found) < count:
            more = self.stream.recv(count - len(found))
            assert more, "the server closed the connection"
            found += more
        return found


@pytest.mark.parametrize("how, reason", [("expired", "CERTIFICATE_EXPIRED"), ("revoked", "CERTIFICATE_NOT_TRUSTED")])
def test_calls_after_goaway_are_refused_on_a_connection_that_its_client_keeps(world, how, reason):
    pair = world.issue("billing", "DNS:billing.internal", seconds=6 if how == "expired" else 3600)
    client = Stubborn(world, pair)
    client.call()
    world.logs('"caller":"by-dns"')
    if how == "revoked":
        world.callers.revoke(pair)
        world.crl = world.callers.revocation_list()
        world.reload()
    client.receive(Stubborn.GOAWAY)
    client.call()
    world.logs(f'"reason":"{reason}"')
