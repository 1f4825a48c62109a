#!/usr/bin/env bash
# Copies an object for which S3 takes three minutes, behind nginx and haproxy with the time limits of Debian's packages.
# CopyWithProgress must succeed, and Copy, which is silent meanwhile, must be cut.
#   tests/long_copies.sh [BINARY [SECONDS]]     BINARY: default target/release/longshore; SECONDS: default 180
# Takes about as long as the copy. Installs Debian's nginx and haproxy if they are missing, which needs root.
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
exec "$here/.tools/venv/bin/python" "$here/proxies/long_copies.py" "$binary" "${2:-180}"
