"""Callers with JWTs of oidc-provider, a certified OpenID Connect issuer, which serves its keys over TLS."""

import base64
import json
import ssl
import subprocess
import urllib.parse
import urllib.request

import pytest

from support import process
from support.certificates import Authority
from support.paths import ROOT
from support.wait import eventually
from test_jwt import DENIED, UNAVAILABLE, outcome, tenant

OK = ("OK", "")
NOT_ALLOWED = ("PERMISSION_DENIED", "TENANT_NOT_ALLOWED")
AUDIENCE = "urn:longshore"


class Provider:
    """A running oidc-provider: its clients are named billing and reports."""

    def __init__(self, folder):
        self.authority = Authority(folder / "authority", "issuer")
        pair = self.authority.issue("issuer", ["IP:127.0.0.1"])
        port, = process.free_ports(1)
        self.ca_file, self.name = str(self.authority.certificate), f"https://127.0.0.1:{port}"
        tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self.ca_file))
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), tls)
        with (folder / "log").open("wb") as log:
            self.process = process.start(["node", ROOT / "tests/python/oidc/issuer.mjs", port, pair.cert, pair.key], text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout.readline() == "ready\n", (folder / "log").read_text()
        self.discovered = self.ask("/.well-known/openid-configuration")
        self.jwks = {"url": self.discovered["jwks_uri"], "ca_file": self.ca_file}

    def ask(self, place, data=None, **headers):
        request = urllib.request.Request(urllib.parse.urljoin(self.name, place), data, headers)
        with self.opener.open(request, timeout=10) as answer:
            return json.load(answer)

    def token(self, client="billing", audience=AUDIENCE):
        """A new access token, by the grant for machines (RFC 6749, section 4.4) and the audience's name (RFC 8707)."""
        secret = base64.b64encode(f"{client}:{client}-secret".encode()).decode()
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "resource": audience}).encode()
        return self.ask(self.discovered["token_endpoint"], form, Authorization=f"Basic {secret}")["access_token"]

    def rotate(self):
        """Replaces the key."""
        self.process.stdin.write("rotate\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "rotated\n"


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    running = Provider(tmp_path_factory.mktemp("oidc"))
    assert running.discovered["issuer"] == running.name
    yield running
    process.end(running.process)


@pytest.fixture
def server(serve, provider):
    """acme and globex name the issuer themselves."""
    return serve({"acme": tenant(caller(provider, {"/organisation/unit": "billing", "/groups": "readers"})),
                  "globex": tenant(caller(provider, {"/client_id": "reports"}, "urn:other"))}, AUTH="required")


def caller(provider, claims, audience=AUDIENCE, **jwt):
    jwt = {"issuer": provider.name, "audience": audience, "jwks": provider.jwks, "claims": claims, "leeway": "1s", **jwt}
    return {"name": "client", "jwt": jwt, "access": ["read", "list"]}


def kid(token):
    header = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]


def test_an_access_token_is_accepted_for_its_audience_and_claims(server, provider):
    assert outcome(server, provider.token(), "acme") == OK
    assert outcome(server, provider.token(), "globex") == NOT_ALLOWED
    assert outcome(server, provider.token("reports", "urn:other"), "globex") == OK
    assert outcome(server, provider.token("reports", "urn:other"), "acme") == NOT_ALLOWED


def test_tokens_for_another_audience_or_client_are_refused(server, provider):
    assert outcome(server, provider.token("billing", "urn:other")) == DENIED
    assert outcome(server, provider.token("reports", AUDIENCE)) == DENIED


def test_an_expired_token_is_refused(serve, provider):
    server = serve({"acme": tenant(caller(provider, {"/sub": "billing"}, "urn:longshore:short"))}, AUTH="required")
    # The first tokens are refused should the machine be slow.
    eventually("a new token is accepted", lambda: outcome(server, provider.token(audience="urn:longshore:short")) == OK,
               within=30)
    token = provider.token(audience="urn:longshore:short")
    eventually("the token has expired", lambda: outcome(server, token) == DENIED, within=20)


def test_the_issuers_certificate_is_verified(serve, provider):
    untrusted = {"url": provider.jwks["url"]}
    server = serve({"acme": tenant(caller(provider, {"/sub": "billing"}, jwks=untrusted))}, AUTH="required")
    assert outcome(server, provider.token()) == UNAVAILABLE


def test_the_servers_issuer_names_tenants_and_replaces_its_key(serve, provider):
    """The other tenant names the same issuer itself."""
    server = serve(
        {"acme": tenant({"name": "any", "jwt": {"server": True}, "access": ["list"]}),
         "globex": tenant({"name": "readers", "jwt": {"server": True, "claims": {"/groups": "readers"}}, "access": ["list"]}),
         "own": tenant(caller(provider, {"/client_id": "billing"}, "urn:other"))},
        AUTH="required", JWT_ISSUER=provider.name, JWT_AUDIENCE=AUDIENCE, JWT_TENANT_CLAIM="/tenant",
        JWT_JWKS_URL=provider.jwks["url"], JWT_JWKS_CA_FILE=provider.ca_file)
    cases = [("billing", AUDIENCE, "acme"), ("reports", AUDIENCE, "globex"), ("billing", "urn:other", "own")]
    old = [(provider.token(client, audience), tenant) for client, audience, tenant in cases]
    assert [outcome(server, token, tenant) for token, tenant in old] == [OK] * 3
    assert outcome(server, old[0][0], "globex") == NOT_ALLOWED
    assert outcome(server, provider.token("reports", "urn:other")) == DENIED

    provider.rotate()
    new = [(provider.token(client, audience), tenant) for client, audience, tenant in cases]
    assert {kid(token) for token, _ in old}.isdisjoint(kid(token) for token, _ in new)
    # An unknown key causes a request, but not within 30 s of the last one.
    for token, tenant_name in new:
        eventually("the new key is accepted", lambda: outcome(server, token, tenant_name) == OK, within=60, every=1)
    for token, tenant_name in old:
        assert outcome(server, token, tenant_name) == DENIED
