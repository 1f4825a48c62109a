#!/usr/bin/env bash
# Uploads a large object with Upload, reads it back with Get, and measures the server's peak memory.
#   tests/large.sh [BINARY [GIB]]     BINARY: default target/release/longshore; GIB: default 5, the maximum of one PUT
# Takes several minutes, and up to three times the object's size in TMPDIR.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../target/release/longshore}")

"$here/tools/install.sh" python
export PYTHONDONTWRITEBYTECODE=1
cd "$here/python"
exec "$here/.tools/venv/bin/python" large.py "$binary" "${2:-5}"
