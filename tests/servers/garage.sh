# shellcheck shell=bash disable=SC2154
# Garage: an object store with its own database for keys, from crates.io. Sourced by run.sh.
# Building it takes about ten CPU minutes, so CI does not start it by default.
# sqlite, not lmdb: lmdb limits keys to 511 bytes, and Garage answers a longer object key with 503.
rpc_port=$(free_port)
cat >"$data/garage.toml" <<TOML
metadata_dir = "$data/meta"
data_dir = "$data/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$rpc_port"
rpc_public_addr = "127.0.0.1:$rpc_port"
rpc_secret = "$secret_key"

[s3_api]
s3_region = "$region"
api_bind_addr = "127.0.0.1:$port"
TOML
chmod 600 "$data/garage.toml"
# The default key may create buckets. The default bucket exists from the start.
export GARAGE_DEFAULT_ACCESS_KEY=$access_key GARAGE_DEFAULT_SECRET_KEY=$secret_key GARAGE_DEFAULT_BUCKET=$bucket
RUST_LOG=warn start "$tools/bin/garage" --config "$data/garage.toml" server --single-node --default-bucket
