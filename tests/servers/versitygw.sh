# shellcheck shell=bash disable=SC2154
# versitygw: an S3 gateway to a folder, from the Go module proxy. Sourced by run.sh.
# By default it stores attributes and ETags in extended attributes, which some file systems lack (overlayfs in some
# containers, an old tmpfs). With --sidecar, it stores them in a folder instead.
# Buckets can have versions, but none has them until that is requested.
mkdir "$data/root" "$data/sidecar" "$data/versions"
start "$tools/bin/versitygw" --port "127.0.0.1:$port" --access "$access_key" --secret "$secret_key" \
  --region "$region" --quiet posix --sidecar "$data/sidecar" \
  --versioning-dir "$data/versions" "$data/root"
