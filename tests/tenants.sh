#!/usr/bin/env bash
# Measures how long thousands of tenants, each in a file of its own, take to load and to reload, and how much memory
# they use while they are idle.
#   tests/tenants.sh [BINARY [COUNT]]     BINARY: default target/release/longshore; COUNT: default 10000
# Takes about a minute.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../target/release/longshore}")

"$here/tools/install.sh" python
export PYTHONDONTWRITEBYTECODE=1
cd "$here/python"
exec "$here/.tools/venv/bin/python" tenants.py "$binary" "${2:-10000}"
