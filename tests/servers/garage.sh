# Garage: an object store with a database of its own for keys, from crates.io. Sourced by run.sh.
cat >"$data/garage.toml" <<TOML
metadata_dir = "$data/meta"
data_dir = "$data/data"
db_engine = "lmdb"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$(free_port)"
rpc_secret = "$secret_key"

[s3_api]
s3_region = "$region"
api_bind_addr = "127.0.0.1:$port"
TOML
chmod 600 "$data/garage.toml"
# The default key may make buckets; the default bucket is there from the start.
export GARAGE_DEFAULT_ACCESS_KEY=$access_key GARAGE_DEFAULT_SECRET_KEY=$secret_key GARAGE_DEFAULT_BUCKET=$bucket
RUST_LOG=warn start "$tools/bin/garage" --config "$data/garage.toml" server --single-node --default-bucket
