#!/usr/bin/env bash
# A folder of many objects: how long `longshore demo` takes to serve it, and how much memory Walk takes over all of them.
#   tests/many.sh [BINARY [COUNT]]     BINARY: target/release/longshore unless given; COUNT: 100000
# Takes some minutes, most of them for putting the objects there.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../target/release/longshore}")

"$here/tools/install.sh" python
export PYTHONDONTWRITEBYTECODE=1
cd "$here/python"
exec "$here/.tools/venv/bin/python" many.py "$binary" "${2:-100000}"
