"""Paths in the repository."""

from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
TESTS = HERE.parent
ROOT = TESTS.parent
PROTO = ROOT / "proto"
TOOLS = TESTS / ".tools"
RUN_S3_SERVER = TESTS / "servers" / "run.sh"
