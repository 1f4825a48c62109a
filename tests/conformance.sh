#!/usr/bin/env bash
# Runs the conformance suite against real S3 servers, one after another.
#   SERVERS="moto versitygw garage" tests/conformance.sh      default: moto versitygw
# First install the tools: tests/tools/install.sh python, and versitygw and garage if they are among SERVERS.
set -euo pipefail
cd "$(dirname "$0")/.."

server=
stop() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
  server=
}
trap stop EXIT

log=$(mktemp -d)
for name in ${SERVERS:-moto versitygw}; do
  echo "-- conformance on $name"
  tests/servers/run.sh "$name" 0 >"$log/$name.ready" 2>"$log/$name.log" &
  server=$!
  until grep -q '^ready ' "$log/$name.ready"; do
    kill -0 "$server" 2>/dev/null || { cat "$log/$name.log"; echo "$name did not start"; exit 1; }
    sleep 0.2
  done
  declare -A said=()
  for word in $(grep '^ready ' "$log/$name.ready"); do
    case $word in *=*) said[${word%%=*}]=${word#*=} ;; esac
  done
  CONFORMANCE_SERVER=$name CONFORMANCE_ENDPOINT=${said[endpoint]} CONFORMANCE_BUCKET=${said[bucket]} \
    CONFORMANCE_REGION=${said[region]} CONFORMANCE_ACCESS_KEY_ID=${said[access_key_id]} \
    CONFORMANCE_SECRET_ACCESS_KEY=${said[secret_access_key]} CONFORMANCE_SKIPPED=$log/$name.skipped \
    CONFORMANCE_VERSIONED_BUCKET=${said[versioned_bucket]} \
    cargo test --locked --test conformance -- --test-threads 4
  touch "$log/$name.skipped"
  echo "-- $name: $(wc -l <"$log/$name.skipped") checks skipped, because the server cannot do what they test:"
  sort "$log/$name.skipped" | uniq -c
  stop
done
rm -rf "$log"
