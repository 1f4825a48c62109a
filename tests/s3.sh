#!/usr/bin/env bash
# Asks the embedded S3 server of `longshore demo` and real S3 servers the same by boto3, the AWS CLI and plain HTTP, and
# compares the answers.
#   tests/s3.sh [BINARY [PYTEST-ARGUMENT...]]     BINARY: target/release/longshore unless given
#   SERVERS="moto versitygw" tests/s3.sh          without the embedded one: whether differences.py is true
# Brings its own tools (tests/tools/install.sh) and S3 servers; needs no network once the tools are there.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath --canonicalize-missing "${1:-$here/../target/release/longshore}")
shift || true

"$here/tools/install.sh" python awscli versitygw
export PYTHONDONTWRITEBYTECODE=1
cd "$here/s3"
exec "$here/.tools/venv/bin/python" -m pytest -c pytest.ini --binary="$binary" \
  --servers="${SERVERS:-moto versitygw embedded}" "$@"
