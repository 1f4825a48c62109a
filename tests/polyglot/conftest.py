"""The servers, and the clients in four languages that call them. Each client runs once, with all cases."""

import hashlib
import json

import pytest

from support.program import binary, pytest_addoption  # noqa: F401

from calling import cases
from calling.backend import Backend
from calling.runs import Runs
from support import server

TOKEN = "a-token-of-a-test"


@pytest.fixture(scope="session")
def demo(binary, tmp_path_factory):
    """`longshore demo` with the objects that the clients read."""
    running = server.Demo(binary, tmp_path_factory.mktemp("demo"))
    client = running.client("demo")
    sizes = {f"sizes/{size}": size for size in cases.SIZES} | {"there": cases.SOME, "large": len(cases.DATA)}
    for key, size in sizes.items():
        data = cases.DATA[:size]
        client.upload(key, [data[start:start + cases.MIB] for start in range(0, size, cases.MIB)])
    yield running
    running.stop()


@pytest.fixture(scope="session")
def backend():
    """The S3 server that fails in the middle of objects."""
    running = Backend(cases.DATA)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def broken(binary, backend, tmp_path_factory):
    """`longshore serve` on the S3 server that fails in the middle of objects, for callers with a token."""
    folder = tmp_path_factory.mktemp("broken")
    caller = {"name": "client", "token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "access": ["read", "write"]}
    store = {"url": "s3://bucket", "client_options": {"allow_http": True}, "config": {
        "endpoint": backend.endpoint, "region": "us-east-1", "access_key_id": "id", "secret_access_key": "secret"}}
    tenants = folder / "tenants.yaml"
    # JSON is valid YAML.
    tenants.write_text(json.dumps({"tenants": {"acme": {"callers": [caller], "stores": {"default": store}}}}))
    running = server.serve(binary, folder, tenants, AUTH="required", LOG="warn,longshore::access=info")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def runs(demo, broken, tmp_path_factory):
    data = tmp_path_factory.mktemp("data") / "data"
    data.write_bytes(cases.DATA)
    servers = {"demo": (demo, {"x-longshore-tenant": "demo"}), "broken": (broken, {"authorization": f"Bearer {TOKEN}"})}
    return Runs(servers, data, tmp_path_factory.mktemp)
