#!/usr/bin/env bash
# Tests the server with generated Python clients. boto3 checks what is in S3.
#   tests/python.sh [BINARY [PYTEST-ARGUMENT...]]     BINARY: default target/release/longshore
# Installs its own tools (tests/tools/install.sh) and starts its own S3 servers. Needs openssl, for certificates, Node.js
# and npm, for an issuer of JWTs, and no network once the tools are installed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../target/release/longshore}")
shift || true

"$here/tools/install.sh" python grpcurl versitygw oidc-provider
export PYTHONDONTWRITEBYTECODE=1
cd "$here/python"
exec "$here/.tools/venv/bin/python" -m pytest -c pytest.ini --binary="$binary" "$@"
