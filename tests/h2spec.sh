#!/usr/bin/env bash
# Runs h2spec, a conformance suite for HTTP/2, against the gRPC port of `longshore demo`.
#   tests/h2spec.sh [BINARY]     BINARY: default target/release/longshore
# Takes a minute. Fails if a case fails that is not listed in tests/h2spec/expected.txt. docs/TESTING.md explains the
# listed cases.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../target/release/longshore}")

"$here/tools/install.sh" python h2spec
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here/python"
exec "$here/.tools/venv/bin/python" "$here/h2spec/run.py" "$here/.tools/bin/h2spec" "$binary"
