#!/usr/bin/env bash
# The round trip of a large object: up by Upload, back by Get, with the server's peak memory in view.
#   tests/large.sh [BINARY [GIB]]     BINARY: target/release/longshore unless given; GIB: 5, more than one PUT may have
# Takes minutes, and up to three times the object's size in TMPDIR.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../target/release/longshore}")

"$here/tools/install.sh" python
export PYTHONDONTWRITEBYTECODE=1
cd "$here/python"
exec "$here/.tools/venv/bin/python" large.py "$binary" "${2:-5}"
