#!/usr/bin/env bash
# Runs a real S3 server for tests, in the foreground, until this script is killed.
#   tests/servers/run.sh SERVER PORT      SERVER: moto, versitygw, garage; PORT 0: any free one
# Tools first: tests/tools/install.sh python SERVER (python brings moto, and boto3 for making the bucket).
#
# When the server answers and the bucket is there, one line goes to standard output:
#   ready endpoint=http://127.0.0.1:PORT bucket=BUCKET region=REGION access_key_id=ID secret_access_key=SECRET
# The server's own output goes to standard error. Stop it with TERM or INT: server and data go with it.
# BUCKET in the environment names another bucket.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tools=$(dirname "$here")/.tools
python=$tools/venv/bin/python
server=${1:?which server: moto, versitygw, garage}
port=${2:?which port: a number, or 0 for any free one}
bucket=${BUCKET:-longshore-test}

# Garage takes only key ids of this form ("GK" and hexadecimal), so every server gets it.
access_key=GK31c2f218a2e44f485b94239e
secret_key=b892c0665f0ada8a4755dae98baa3b133590e11dae3bcc1f9d769d67f16c3835
region=us-east-1

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

[ "$port" != 0 ] || port=$(free_port)
data=$(mktemp -d)
pid=
stop() {
  trap - EXIT TERM INT
  [ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; } || true
  rm -rf "$data"
}
trap stop EXIT
trap 'exit 0' TERM INT

# setpriv: should this script be killed outright, the kernel ends the server too.
start() {
  setpriv --pdeathsig KILL -- "$@" >&2 &
  pid=$!
}

# shellcheck source=/dev/null
source "$here/$server.sh"

endpoint=http://127.0.0.1:$port
"$python" "$here/bucket.py" "$endpoint" "$region" "$access_key" "$secret_key" "$bucket" "$pid"
echo "ready endpoint=$endpoint bucket=$bucket region=$region access_key_id=$access_key secret_access_key=$secret_key"
wait "$pid"
