"""Runs each case on each server, and compares the responses."""

import os
from pathlib import Path

import pytest

os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

from support import program  # noqa: E402

from comparing.cases import SERVERS  # noqa: E402
from comparing.servers import Servers  # noqa: E402
from comparing.verdict import Runs, Verdict  # noqa: E402
from differences import DIFFERENCES  # noqa: E402


def pytest_addoption(parser):
    program.pytest_addoption(parser)
    parser.addoption("--servers", default=" ".join(SERVERS), help="the servers to test; default: %(default)s")


def pytest_generate_tests(metafunc):
    if "server_kind" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--servers").split()
        of_the_case = getattr(metafunc.function, "servers", SERVERS)
        metafunc.parametrize("server_kind", [kind for kind in chosen if kind in of_the_case])


def pytest_collection_modifyitems(items):
    # Runs last, because it needs the results of all cases.
    items.sort(key=lambda item: item.path.name == "test_differences.py")


@pytest.fixture(scope="session")
def verdict(request, tmp_path_factory):
    """Judges a case on a kind of server."""
    binary = Path(request.config.getoption("--binary")).resolve()
    servers = Servers(binary, tmp_path_factory.mktemp)
    yield Verdict(Runs(servers), DIFFERENCES)
    servers.stop()
