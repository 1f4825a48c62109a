#!/usr/bin/env bash
# Measures how long `longshore demo` takes to start with a folder of many objects, and how much memory a Walk over all of
# them uses.
#   tests/many.sh [BINARY [COUNT]]     BINARY: default target/release/longshore; COUNT: default 100000
# Takes several minutes, most of them to write the objects.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../target/release/longshore}")

"$here/tools/install.sh" python
export PYTHONDONTWRITEBYTECODE=1
cd "$here/python"
exec "$here/.tools/venv/bin/python" many.py "$binary" "${2:-100000}"
