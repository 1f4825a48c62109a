#!/usr/bin/env bash
# Measures Longshore's parts beside their peers, and writes the figures into docs/BENCHMARKS.md.
#   tests/peers.sh [BINARY [ARGUMENT...]]     BINARY: target/release/longshore unless given; ARGUMENTs go to the bench
# Wants a quiet machine for a quarter of an hour. Brings versitygw (tests/tools/install.sh).
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
