#!/usr/bin/env bash
# Sends the same requests to the embedded S3 server of `longshore demo` and to real S3 servers, with boto3, the AWS CLI and
# plain HTTP, and compares the responses.
#   tests/s3.sh [BINARY [PYTEST-ARGUMENT...]]     BINARY: default target/release/longshore
#   SERVERS="moto versitygw" tests/s3.sh          without the embedded server: checks that differences.py is accurate
# Installs its own tools (tests/tools/install.sh) and starts its own S3 servers. Needs no network once the tools are
# installed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath --canonicalize-missing "${1:-$here/../target/release/longshore}")
shift || true

"$here/tools/install.sh" python awscli versitygw
export PYTHONDONTWRITEBYTECODE=1
cd "$here/s3"
exec "$here/.tools/venv/bin/python" -m pytest -c pytest.ini --binary="$binary" \
  --servers="${SERVERS:-moto versitygw embedded}" "$@"
