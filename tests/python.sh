#!/usr/bin/env bash
# Tests the server by generated Python clients, with boto3 as the witness of what is in S3.
#   tests/python.sh [BINARY [PYTEST-ARGUMENT...]]     BINARY: target/release/longshore unless given
# Brings its own tools (tests/tools/install.sh) and S3 servers; needs no network once the tools are there.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../target/release/longshore}")
shift || true

"$here/tools/install.sh" python grpcurl versitygw
export PYTHONDONTWRITEBYTECODE=1
cd "$here/python"
exec "$here/.tools/venv/bin/python" -m pytest -c pytest.ini --binary="$binary" "$@"
