#!/usr/bin/env bash
# Benchmarks Longshore's embedded S3 server against similar servers, and writes the results into docs/BENCHMARKS.md.
#   tests/peers.sh [BINARY [ARGUMENT...]]     BINARY: default target/release/longshore; ARGUMENTs: for the benchmark
# Needs an otherwise idle machine for a quarter of an hour. Installs versitygw (tests/tools/install.sh).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
binary=$(realpath "${1:-$root/target/release/longshore}")
shift || true

"$here/tools/install.sh" python versitygw
target=$root/target/peers
cargo build --locked --release --manifest-path "$here/peers/Cargo.toml" --target-dir "$target"
exec "$target/release/embedded-bench" --longshore "$binary" --run "$here/servers/run.sh" \
  --on disk="$target" --on tmpfs=/dev/shm --json "$target/embedded.json" --markdown "$root/docs/BENCHMARKS.md" "$@"
