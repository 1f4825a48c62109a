#!/usr/bin/env bash
# 100 callers use a store whose credentials live 30 s, and whose provider fails one time in four. No call may fail.
#   tests/credentials.sh [BINARY [SECONDS]]     BINARY: default target/release/longshore; SECONDS: default 600
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../target/release/longshore}")

"$here/tools/install.sh" python
export PYTHONDONTWRITEBYTECODE=1
cd "$here/python"
exec "$here/.tools/venv/bin/python" credentials.py "$binary" "${2:-600}"
