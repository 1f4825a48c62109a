#!/usr/bin/env bash
# Measures what a tenant notices of noisy neighbours, and how many calls an overloaded server completes.
#   tests/noisy.sh [--quick] [BINARY]     BINARY: default target/release/longshore
# Takes three minutes, with --quick one.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
quick=()
if [[ ${1:-} == --quick ]]; then
    quick=(--quick)
    shift
fi
binary=$(realpath "${1:-$here/../target/release/longshore}")

"$here/tools/install.sh" python
export PYTHONDONTWRITEBYTECODE=1
cd "$here/python"
exec "$here/.tools/venv/bin/python" noisy.py "$binary" "${quick[@]}"
