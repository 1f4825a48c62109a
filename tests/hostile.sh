#!/usr/bin/env bash
# Measures what malicious callers, and large numbers of callers, cost the server and its other callers. Prints a table and
# a verdict.
#   tests/hostile.sh [BINARY [CASE...]]     BINARY: default target/release/longshore
#                                           CASE: idle messages bombs floods readers log; default: all of them
# Takes about five minutes. `idle` needs a hard limit of 20,000 open files.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../target/release/longshore}")
shift || true

"$here/tools/install.sh" python
export PYTHONDONTWRITEBYTECODE=1 GRPC_VERBOSITY=NONE PYTHONPATH="$here/python"
exec "$here/.tools/venv/bin/python" "$here/hostile/run.py" "$binary" "$@"
