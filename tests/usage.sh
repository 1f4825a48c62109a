#!/usr/bin/env bash
# Compares the usage counters with what a load of 100,000 calls did, to the call and to the byte.
#   tests/usage.sh [BINARY [--quick | CALLS]]     BINARY: default target/release/longshore
# Takes several minutes, with --quick half a minute.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../target/release/longshore}")

"$here/tools/install.sh" python
export PYTHONDONTWRITEBYTECODE=1
cd "$here/python"
exec "$here/.tools/venv/bin/python" usage.py "$binary" "${2:-100000}"
