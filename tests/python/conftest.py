"""Servers for the tests. Each runs on free ports, and is stopped after the tests that use it."""

import itertools
import json
import os

import pytest

os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

from support.program import binary, pytest_addoption  # noqa: E402, F401

from support import process, s3, server  # noqa: E402


@pytest.fixture(scope="session")
def demo(binary, tmp_path_factory):
    """`longshore demo`."""
    running = server.Demo(binary, tmp_path_factory.mktemp("demo"))
    yield running
    running.stop()


@pytest.fixture
def demo_client(demo):
    return demo.client("demo")


def _s3_server(kind, tmp_path_factory):
    running, found = s3.start(kind, tmp_path_factory.mktemp(kind) / "log")
    yield found
    found.close()
    process.end(running)


@pytest.fixture(scope="session")
def moto(tmp_path_factory):
    yield from _s3_server("moto", tmp_path_factory)


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory):
    yield from _s3_server("versitygw", tmp_path_factory)


@pytest.fixture(scope="session", params=["moto", "versitygw"])
def s3_server(request):
    """Each S3 server, one after the other."""
    return request.getfixturevalue(request.param)


_buckets = itertools.count(1)


@pytest.fixture
def bucket(s3_server):
    """A new bucket on each S3 server, one after the other."""
    return s3_server.make_bucket(f"bucket-{next(_buckets)}")


@pytest.fixture
def moto_bucket(moto):
    """A new bucket on moto."""
    return moto.make_bucket(f"bucket-{next(_buckets)}")


@pytest.fixture
def versitygw_bucket(versitygw):
    """A new bucket on versitygw."""
    return versitygw.make_bucket(f"bucket-{next(_buckets)}")


@pytest.fixture
def serve(binary, tmp_path_factory):
    """Starts `longshore serve` with the given tenants, and stops it after the test."""
    started = []

    def start(tenants, **settings):
        folder = tmp_path_factory.mktemp("serve")
        tenants_file = folder / "tenants.yaml"
        # JSON is valid YAML, and repeats equal values where YAML would use anchors.
        tenants_file.write_text(json.dumps({"tenants": tenants}))
        started.append(server.serve(binary, folder, tenants_file, **settings))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture
def serve_store(serve):
    """Starts `longshore serve` with one tenant that has the given stores. Returns the server and a client of the tenant."""

    def start(stores, **settings):
        running = serve({"acme": {"stores": stores}}, **settings)
        return running, running.client("acme")

    return start
