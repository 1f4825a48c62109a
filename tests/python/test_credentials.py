"""Credentials that Longshore gets while it runs: from STS (moto's), from containers, from files that are rotated."""

import json
import subprocess
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest

from longshore.v1 import store_service_pb2
from support import process
from support.wait import eventually

ROLE = "arn:aws:iam::123456789012:role/longshore"


def with_provider(bucket, **provider):
    """A store on this bucket whose credentials come from a provider."""
    store = bucket.store()
    for key in ("access_key_id", "secret_access_key"):
        del store["config"][key]
    return {**store, "credential_provider": provider}


def document(access_key_id, secret_access_key):
    return json.dumps({"Version": 1, "AccessKeyId": access_key_id, "SecretAccessKey": secret_access_key})


def outcome(client):
    """Puts an object. Returns the code of the error, if there is one."""
    try:
        client.put("key", b"data")
    except grpc.RpcError as error:
        return error.code()


@pytest.fixture
def pod_identity(versitygw_bucket):
    """An endpoint like that of EKS Pod Identity. Yields its URL and the tokens that it has received."""
    tokens = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            tokens.append(self.headers["Authorization"])
            body = json.dumps({
                "AccessKeyId": versitygw_bucket.access_key_id, "SecretAccessKey": versitygw_bucket.secret_access_key,
                "Expiration": "2199-01-01T00:00:00Z"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/credentials", tokens
    server.shutdown()
    server.server_close()


def test_roles_are_assumed_at_sts(serve_store, moto_bucket, tmp_path):
    token = tmp_path / "token"
    token.write_text("a.b.c\n")
    base = {"type": "static", "access_key_id": moto_bucket.access_key_id,
            "secret_access_key": moto_bucket.secret_access_key}
    server, client = serve_store({
        "default": with_provider(
            moto_bucket, type="assume_role", role_arn=ROLE, external_id="acme-42", source=base,
            session_tags={"tenant": "{tenant}", "store": "{store}"}, endpoint=moto_bucket.endpoint),
        "pods": with_provider(moto_bucket, type="web_identity", role_arn=ROLE, token_file=str(token),
                              endpoint=moto_bucket.endpoint),
    })
    client.put("role", b"by the role")
    client.put("pod", b"by the pod", store="pods")
    assert moto_bucket.get("role") == b"by the role" and moto_bucket.get("pod") == b"by the pod"
    assert moto_bucket.secret_access_key not in server.log.read_text()


def test_a_container_has_the_identity_of_its_endpoint(serve_store, versitygw_bucket, pod_identity, tmp_path):
    endpoint, tokens = pod_identity
    token_file = tmp_path / "token"
    token_file.write_text("pod-token")
    server, client = serve_store({"default": with_provider(
        versitygw_bucket, type="container", endpoint=endpoint, token_file=str(token_file))})
    for number in range(20):
        client.put(f"key-{number}", b"by the pod")
    assert len(versitygw_bucket.keys()) == 20
    assert tokens == ["pod-token"], "one request for all calls"
    assert "pod-token" not in server.log.read_text()


def test_a_rotated_file_is_read_again(serve_store, versitygw_bucket, tmp_path):
    file = tmp_path / "s3.json"
    right = document(versitygw_bucket.access_key_id, versitygw_bucket.secret_access_key)
    file.write_text(right)
    _, client = serve_store({"default": with_provider(versitygw_bucket, type="file", path=str(file))})
    client.put("first", b"1")
    # A file that is being written: the last good credentials stay in use.
    file.write_text(right[:40])
    client.put("second", b"2")
    # S3 rejects the new key, and the next one is read without waiting.
    file.write_text(document("WRONGKEY", "wrong"))

    rejected = grpc.StatusCode.FAILED_PRECONDITION
    eventually("the wrong key is in use", lambda: outcome(client) == rejected, within=30)
    file.write_text(right)
    eventually("the right key is in use again", lambda: outcome(client) is None, within=30)


def test_a_command_and_a_chain_have_credentials(serve_store, versitygw_bucket, tmp_path):
    file = tmp_path / "keys"
    file.write_text(document(versitygw_bucket.access_key_id, versitygw_bucket.secret_access_key))
    _, client = serve_store({"default": with_provider(versitygw_bucket, type="chain", sources=[
        {"type": "file", "path": str(tmp_path / "missing")},
        {"type": "process", "command": f"cat '{file}'"},
    ])})
    client.put("key", b"by the command")
    assert versitygw_bucket.get("key") == b"by the command"


def test_without_credentials_the_error_names_each_place(serve_store, moto_bucket, tmp_path):
    server, client = serve_store({"default": with_provider(moto_bucket, type="chain", sources=[
        {"type": "file", "path": str(tmp_path / "missing")},
        {"type": "process", "command": "false"},
    ])})
    with pytest.raises(grpc.RpcError) as failed:
        client.put("key", b"never")
    assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    log = server.logged("no provider has credentials")
    assert "missing" in log and "the command false failed" in log


def test_check_store_and_the_metrics_say_which_provider_answered_and_when_the_credentials_expire(
        serve_store, versitygw_bucket, pod_identity):
    endpoint, tokens = pod_identity
    chain = with_provider(versitygw_bucket, type="chain", sources=[
        {"type": "process", "command": "false"}, {"type": "container", "endpoint": endpoint}])
    server, client = serve_store({"default": chain, "twin": chain})
    for store in ("default", "twin"):
        checked = client.stores.CheckStore(store_service_pb2.CheckStoreRequest(store=store))
        assert [step.ok for step in checked.steps] == [True, True]
        assert checked.credentials.provider == "container"
        assert checked.credentials.expire_time.ToDatetime().isoformat() == "2199-01-01T00:00:00"
        assert checked.credentials.HasField("duration")
    assert len(tokens) == 1, "stores with equal settings share their credentials"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    metrics = opener.open(f"http://{server.health_address}/metrics").read().decode()
    [line] = [line for line in metrics.splitlines() if line.startswith("longshore_credentials_time_to_expiry_seconds{")]
    assert 'tenant="acme"' in line and 'provider="chain"' in line and float(line.split()[-1]) > 1e9


def test_check_connect_says_what_works_and_how_to_fix_what_does_not(binary, versitygw_bucket, tmp_path):
    wrong = {**versitygw_bucket.store(), "config": {**versitygw_bucket.store()["config"], "secret_access_key": "wrong"}}
    stores = {
        "a-good": versitygw_bucket.store(),
        "b-none": with_provider(versitygw_bucket, type="process", command="false"),
        "c-wrong": wrong,
    }
    file = tmp_path / "tenants.yaml"

    def check(stores):
        file.write_text(json.dumps({"tenants": {"acme": {"stores": stores}}}))
        return subprocess.run([binary, "check", "--connect", file], env=process.bare_environment(), text=True,
                              capture_output=True, timeout=60)

    checked = check(stores)
    assert checked.returncode == 1
    lines = checked.stdout.splitlines()
    good, none, fix, rejected = [lines[-5], *lines[-4:-1]]
    assert good == "acme/a-good: ok; provider: static"
    assert none.startswith("acme/b-none: `credentials` failed: ") and "the command false failed" in none
    assert fix.startswith("  Run the command as the server's user")
    assert rejected.startswith("acme/c-wrong: `list` failed: ")
    assert "wrong" not in rejected.removeprefix("acme/c-wrong")
    assert check({"good": versitygw_bucket.store()}).returncode == 0
