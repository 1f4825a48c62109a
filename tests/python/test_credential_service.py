"""`type: grpc`, with the server in examples/credential_provider.py: grpcio's, over plaintext and TLS."""

import json
import socket
import subprocess
import sys

import grpc
import pytest

from support import process, stubs
from support.paths import ROOT
from support.wait import eventually
from test_credentials import outcome, with_provider

TOKEN = "example-token-5d41402abc4b2a76"


@pytest.fixture
def start(tmp_path):
    """Starts the example with the keys of a bucket for some stores. Returns its address and the file with its keys."""
    started = []

    def begin(bucket, stores, files=()):
        keys = {"access_key_id": bucket.access_key_id, "secret_access_key": bucket.secret_access_key}
        file = tmp_path / "keys.json"
        file.write_text(json.dumps({f"acme/{store}": keys for store in stores}))
        port, = process.free_ports(1)
        environment = process.bare_environment(TOKEN=TOKEN, PYTHONPATH=stubs.generate())
        example = ROOT / "examples/credential_provider.py"
        running = process.start([sys.executable, example, file, f"localhost:{port}", *files], env=environment)
        started.append(running)

        def listens():
            assert running.poll() is None, "the example has exited"
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        eventually("the example listens", listens, within=15)
        return f"localhost:{port}", file

    yield begin
    for running in started:
        process.end(running)


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for localhost, and its key. A server's own certificate must not be one of a CA."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", cert],
        check=True, capture_output=True)
    return cert, key


def test_the_example_has_the_keys_of_each_store(serve_store, versitygw_bucket, start, token_file):
    address, _ = start(versitygw_bucket, ["default"])
    provider = with_provider(versitygw_bucket, type="grpc", endpoint=f"http://{address}", token_file=str(token_file))
    server, client = serve_store({"default": provider, "unknown": provider}, LOG="trace")
    client.put("key", b"with the keys of the example")
    assert versitygw_bucket.get("key") == b"with the keys of the example"
    assert client.get("key").data == b"with the keys of the example"
    with pytest.raises(grpc.RpcError) as failed:
        client.put("key", b"never", store="unknown")
    assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    log = server.logged("failed with NOT_FOUND: no credentials for acme/unknown")
    assert TOKEN not in log and versitygw_bucket.secret_access_key not in log


def test_tls_and_the_token_protect_the_keys(serve_store, versitygw_bucket, start, token_file, certificate):
    cert, key = certificate
    address, _ = start(versitygw_bucket, ["default", "other"], [cert, key])
    settings = {"type": "grpc", "endpoint": f"https://{address}", "token_file": str(token_file)}
    server, client = serve_store({
        "default": with_provider(versitygw_bucket, **settings, ca_file=str(cert)),
        "other": with_provider(versitygw_bucket, **settings),
    }, LOG="trace")
    token_file.write_text("wrong\n")
    assert outcome(client) == grpc.StatusCode.FAILED_PRECONDITION
    server.logged("failed with UNAUTHENTICATED: unknown token")
    token_file.write_text(f"{TOKEN}\n")
    eventually("the right token is in use", lambda: outcome(client) is None, within=30)
    assert versitygw_bucket.get("key") == b"data"
    # Without ca_file, the certificate is not trusted.
    with pytest.raises(grpc.RpcError):
        client.put("key", b"never", store="other")
    log = server.logged(f"cannot connect to https://{address}: invalid peer certificate")
    assert TOKEN not in log and versitygw_bucket.secret_access_key not in log


def test_keys_that_are_replaced_at_the_service_are_used_when_s3_rejects_the_old_ones(
        serve_store, versitygw_bucket, start, token_file):
    address, keys = start(versitygw_bucket, ["default"])
    right = keys.read_text()
    keys.write_text(right.replace(versitygw_bucket.access_key_id, "REVOKED"))
    _, client = serve_store({"default": with_provider(
        versitygw_bucket, type="grpc", endpoint=f"http://{address}", token_file=str(token_file))})
    assert outcome(client) == grpc.StatusCode.FAILED_PRECONDITION
    keys.write_text(right)
    eventually("the new key is in use", lambda: outcome(client) is None, within=30)
