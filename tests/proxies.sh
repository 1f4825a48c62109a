#!/usr/bin/env bash
# Measures a small call beside a stalled call on the same connection: directly, behind nginx, and behind haproxy.
#   tests/proxies.sh [BINARY]     BINARY: default target/release/longshore
# Takes six minutes. Installs Debian's nginx and haproxy if they are missing, which needs root.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../target/release/longshore}")

export PATH=$PATH:/usr/sbin
for package in nginx haproxy; do
  # RUNLEVEL=1 keeps apt from starting the services.
  command -v "$package" >/dev/null || {
    apt-get update -qq
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package"
  }
done
"$here/tools/install.sh" python
export PYTHONDONTWRITEBYTECODE=1 GRPC_VERBOSITY=NONE PYTHONPATH="$here/python:$here/hostile"
exec "$here/.tools/venv/bin/python" "$here/proxies/run.py" "$binary"
