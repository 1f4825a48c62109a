"""Shared by tests that run the server's binary. A conftest.py imports this module before anything that needs gRPC."""

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
    assert os.access(path, os.X_OK), f"{path} is not an executable: run `cargo build --release`, or pass --binary"
    return path
