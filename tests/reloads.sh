#!/usr/bin/env bash
# Reloads the tenants a thousand times under 64 concurrent streams. No call may fail, and the memory must not grow.
#   tests/reloads.sh [BINARY [RELOADS]]     BINARY: default target/release/longshore; RELOADS: default 1000
# Takes a few minutes.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../target/release/longshore}")

"$here/tools/install.sh" python
export PYTHONDONTWRITEBYTECODE=1
cd "$here/python"
exec "$here/.tools/venv/bin/python" reloads.py "$binary" "${2:-1000}"
