"""Secrets of every credential provider: whatever succeeds or fails, and however much is logged, none is shown."""

import base64
import hashlib
import json
import subprocess
from urllib.parse import quote

import grpc
import pytest
from longshore.v1 import store_service_pb2

from support import process
from support.identity import Identity, secret

ROLE = "arn:aws:iam::123456789012:role/longshore"


@pytest.fixture
def identity():
    running = Identity()
    yield running
    running.stop()


def providers(identity, folder):
    """A provider of each type, by name. Each of their secrets is new."""

    def written(name, text):
        (folder / name).write_text(text)
        return str(folder / name)

    def keys(name):
        return {"access_key_id": "AKID", "secret_access_key": identity.made(f"{name}-key"),
                "session_token": identity.made(f"{name}-token")}

    def lines(name):
        return "".join(f"aws_{key} = {value}\n" for key, value in keys(name).items())

    document = {"Version": 1, "AccessKeyId": "AKID", "SecretAccessKey": identity.made("process-key"),
                "SessionToken": identity.made("process-token")}
    printed = written("printed", json.dumps(document))
    config = written("config", f"""
[profile keys]
{lines("profile")}
[profile role]
role_arn = {ROLE}
source_profile = keys
[profile pod]
role_arn = {ROLE}
web_identity_token_file = {written("profile-token", identity.made("profile-identity"))}
[profile sso]
sso_session = ours
sso_account_id = 123456789012
sso_role_name = role
[sso-session ours]
sso_start_url = https://start
sso_region = eu-west-1
[default]
credential_process = cat {printed}
""")
    cache = folder / ".aws/sso/cache"
    cache.mkdir(parents=True)
    (cache / f"{hashlib.sha1(b'ours').hexdigest()}.json").write_text(json.dumps({
        "accessToken": identity.made("sso-access"), "expiresAt": "2199-01-01T00:00:00Z", "region": "eu-west-1",
        "startUrl": "https://start", "refreshToken": identity.made("sso-refresh"), "clientId": "id",
        "clientSecret": identity.made("sso-client"), "registrationExpiresAt": "2199-01-01T00:00:00Z"}))
    shared = {"config_file": config, "shared_credentials_file": "/dev/null"}
    static = {"type": "static", **keys("static")}
    web_identity = {"type": "web_identity", "role_arn": ROLE, "endpoint": identity.url,
                    "token_file": written("token", identity.made("identity"))}
    container = {"type": "container", "endpoint": f"{identity.url}/container",
                 "token_file": written("container-token", identity.made("container-authorization"))}
    return {
        "static": static,
        "env": {"type": "env"},
        "file": {"type": "file", "path": written("keys", lines("file"))},
        "process": {"type": "process", "command": f"cat {printed}"},
        "container": container,
        "imds": {"type": "imds", "endpoint": identity.url},
        "web_identity": web_identity,
        "assume_role": {"type": "assume_role", "role_arn": ROLE, "external_id": "id", "source": static,
                        "endpoint": identity.url},
        "profile": {"type": "profile", "profile": "keys", **shared},
        "profile-role": {"type": "profile", "profile": "role", "endpoint": identity.url, **shared},
        "profile-pod": {"type": "profile", "profile": "pod", "endpoint": identity.url, **shared},
        "profile-sso": {"type": "profile", "profile": "sso", **shared},
        "grpc": {"type": "grpc", "endpoint": identity.grpc_url,
                 "token_file": written("service-token", identity.made("grpc-authorization"))},
        "default": {"type": "default", "profile": "default", **shared},
        "chain": {"type": "chain", "sources": [
            {"type": "file", "path": written("garbage", f"{{{json.dumps(document)[:-20]}")}, container, web_identity]},
    }


def spellings(found):
    """The ways in which a log could show a secret."""
    raw = found.encode()
    return {found, quote(found, safe=""), quote(found), base64.b64encode(raw).decode(), raw.hex(), str(list(raw)).strip("[]")}


def test_no_secret_of_any_provider_is_shown(serve, binary, identity, tmp_path):
    stores = {
        name: {"bucket": "bucket", "config": {"endpoint": identity.url}, "client_options": {"allow_http": True},
               "credential_provider": provider}
        for name, provider in providers(identity, tmp_path).items()}
    environment = {"HOME": str(tmp_path), "AWS_ENDPOINT_URL_SSO": identity.url, "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": identity.made("env-key"),
                   "AWS_SESSION_TOKEN": identity.made("env-token")}
    said = []

    def use(client, store):
        """Uses a store in each way. The responses are searched too."""
        for call in (lambda: client.put("key", b"data", store=store), lambda: client.head("key", store=store)):
            try:
                said.append(str(call()))
                outcomes.add("ok")
            except grpc.RpcError as error:
                outcomes.add(error.code().name)
                said.extend([error.details(), *(str(item) for item in error.trailing_metadata())])
        said.append(str(client.stores.CheckStore(store_service_pb2.CheckStoreRequest(store=store))))
        said.append(str(client.stores.GetStore(store_service_pb2.GetStoreRequest(store=store))))

    logs = []
    for broken, rejecting, expected in ((False, False, "ok"), (False, True, "FAILED_PRECONDITION"),
                                        (True, False, "FAILED_PRECONDITION")):
        identity.broken, identity.rejecting = broken, rejecting
        server = serve({"acme": {"stores": stores}}, LOG="trace", environment=environment)
        outcomes = set()
        for store in stores:
            use(server.client("acme"), store)
        assert expected in outcomes
        server.stop()
        logs += [server.log.read_text(), server.out.read_text()]
    check = subprocess.run([binary, "check", "--connect"], capture_output=True, text=True, timeout=120,
                           env=process.bare_environment(LONGSHORE_TENANTS_FILE=str(server.log.parent / "tenants.yaml"),
                                                        **environment))
    said += [check.stdout, check.stderr]
    assert identity.sources == {"container", "imds", "sso", "grpc", "AssumeRole", "AssumeRoleWithWebIdentity"}
    # A request for credentials works for every call, so its lines name none.
    provider_lines = [line for log in logs for line in log.splitlines() if "longshore::credentials" in line]
    assert provider_lines and not any("request_id" in line for line in provider_lines)
    # The logs cover everything that was done.
    for done in ("DEBUG", "ObjectService/Put", "StoreService/CheckStore", "CREDENTIALS_UNAVAILABLE", "CREDENTIALS_REJECTED"):
        assert any(done in log for log in logs), done
    assert secret("static-key") in identity.secrets and len(identity.secrets) > 20
    for text in (*logs, *said):
        for found in identity.secrets:
            for spelling in spellings(found):
                assert spelling not in text, f"{spelling} in …{text[max(0, text.find(spelling) - 200):][:400]}"
