"""Generates the Python client from proto/ into a temporary folder, as a caller of Longshore would."""

import atexit
import functools
import importlib.resources
import os
import shutil
import sys
import tempfile

from grpc_tools import protoc

from .paths import PROTO

# Passes the folder to the processes that the tests start.
VARIABLE = "STUBS_FOLDER"


@functools.cache
def generate():
    """Makes `import longshore.v1.…` work in this process. Returns the folder."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        folder = tempfile.mkdtemp(prefix="longshore-stubs-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _compile(folder)
    sys.path.insert(0, folder)
    return folder


def _compile(folder):
    google = importlib.resources.files("grpc_tools") / "_proto"
    files = [str(file.relative_to(PROTO)) for file in sorted(PROTO.rglob("*.proto"))]
    failed = protoc.main(
        ["protoc", f"-I{PROTO}", f"-I{google}", f"--python_out={folder}", f"--grpc_python_out={folder}", *files])
    if failed:
        raise RuntimeError(f"protoc failed on {PROTO}: exit code {failed}")
