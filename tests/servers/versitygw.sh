# shellcheck shell=bash disable=SC2154
# versitygw: an S3 gateway onto a folder, from the Go module proxy. Sourced by run.sh.
# It keeps attributes and ETags in extended attributes, so the folder must be on a file system that has them;
# where it does not (overlayfs in some containers, an old tmpfs), a sidecar folder holds them.
mkdir "$data/root" "$data/sidecar"
start "$tools/bin/versitygw" --port "127.0.0.1:$port" --access "$access_key" --secret "$secret_key" \
  --region "$region" --quiet posix --sidecar "$data/sidecar" "$data/root"
