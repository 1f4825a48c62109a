"""What tests of the server's program begin with. A conftest.py imports it before anything that needs gRPC."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from .paths import ROOT  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--binary", default=str(ROOT / "target" / "release" / "longshore"), help="the server to test")


@pytest.fixture(scope="session")
def binary(request):
    path = Path(request.config.getoption("--binary")).resolve()
    assert os.access(path, os.X_OK), f"{path} is not there: cargo build --release, or give --binary"
    return path
