"""Generates the Python client from proto/ into a temporary folder, as a caller of Longshore would."""

import atexit
import importlib.resources
import shutil
import sys
import tempfile

from grpc_tools import protoc

from .paths import PROTO

FOLDER = None


def generate():
    """Makes `import longshore.v1.…` work in this process; `FOLDER` is what another needs in PYTHONPATH."""
    global FOLDER
    if FOLDER:
        return FOLDER
    FOLDER = tempfile.mkdtemp(prefix="longshore-stubs-")
    atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
    google = importlib.resources.files("grpc_tools") / "_proto"
    files = [str(file.relative_to(PROTO)) for file in sorted(PROTO.rglob("*.proto"))]
    failed = protoc.main(
        ["protoc", f"-I{PROTO}", f"-I{google}", f"--python_out={FOLDER}", f"--grpc_python_out={FOLDER}", *files])
    if failed:
        raise RuntimeError(f"protoc refused {PROTO}: exit code {failed}")
    sys.path.insert(0, FOLDER)
    return FOLDER
