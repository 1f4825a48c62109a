#!/usr/bin/env bash
# Builds the Dockerfile without a container engine or registry, and checks the image.
#   tests/deploy/image.sh LONGSHORE_BINARY      (a release build, from a Debian no newer than the runtime base's)
# Needs Debian's buildah, and apt sources to take the runtime base's three packages from.
# Both bases are replaced: the build stage by a folder that holds the binary, so that nothing is compiled twice,
# and the runtime base by what it consists of, C library, libgcc and CA certificates, from Debian's packages.
set -euo pipefail

binary=$(realpath "${1:?path of the longshore binary}")
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
image=longshore-test
container=
buildah() { command buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run" "$@"; }
# buildah wants to ask a policy file which images to trust, and Debian's package brings none.
policy=$work/policy.json
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$policy"

finish() {
  trap - EXIT
  [ -z "$container" ] || buildah umount "$container" >/dev/null 2>&1 || true
  buildah rm --all >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT
fail() { echo "image: $*" >&2; exit 1; }

echo "- what the build stage would compile from"
# The build stage is replaced below, so that its COPY is tried here: with what .dockerignore lets through,
# the manifest must be complete and every compiled file there.
mkdir "$work/source"
printf 'FROM scratch\nCOPY . /\n' >"$work/Dockerfile.source"
buildah build --quiet --isolation chroot --signature-policy "$policy" --ignorefile "$root/.dockerignore" \
  --file "$work/Dockerfile.source" --tag source "$root" >/dev/null
container=$(buildah from --signature-policy "$policy" source)
cp -a "$(buildah mount "$container")/." "$work/source/"
buildah umount "$container" >/dev/null
(cd "$root" && git ls-files Cargo.toml Cargo.lock build.rs src proto) | while read -r file; do
  cmp -s "$root/$file" "$work/source/$file" || fail "$file does not reach the build stage"
done
for absent in .git target tests/.tools helm; do
  [ ! -e "$work/source/$absent" ] || fail "$absent reaches the build stage"
done
# The shared target folder has the dependencies already, so that only the crate itself is checked anew.
(cd "$work/source" && CARGO_TARGET_DIR="$root/target" cargo check --quiet --locked --bin longshore) ||
  fail "the build stage's source does not compile: is a file missing in .dockerignore?"

echo "- the runtime base"
mkdir "$work/debs" "$work/base" "$work/build"
chmod 755 "$work" "$work/debs"
(cd "$work/debs" && apt-get download --quiet=2 -o APT::Sandbox::User=root libc6 libgcc-s1 ca-certificates)
for package in "$work"/debs/*.deb; do dpkg-deb --extract "$package" "$work/base"; done
rm -rf "$work"/base/usr/{sbin,share/doc,share/man,share/lintian,lib/x86_64-linux-gnu/gconv}
# What the package's postinst does.
mkdir -p "$work/base/etc/ssl/certs"
cat "$work"/base/usr/share/ca-certificates/mozilla/*.crt >"$work/base/etc/ssl/certs/ca-certificates.crt"
rm -rf "$work/base/usr/share/ca-certificates"
printf 'FROM scratch\nCOPY . /\n' |
  buildah build --quiet --isolation chroot --signature-policy "$policy" --file - --tag base "$work/base" >/dev/null

echo "- the image"
install -D -m 755 "$binary" "$work/build/out/longshore"
buildah build --quiet --isolation chroot --signature-policy "$policy" --pull-never \
  --build-context build="$work/build" --build-arg RUNTIME_IMAGE=localhost/base \
  --tag "$image" "$root" >/dev/null

config() { buildah inspect --type image --format "{{.OCIv1.Config.$1}}" "$image"; }
expect() { [ "$2" = "$3" ] || fail "$1 is $2, not $3"; }
expect user "$(config User)" 65532:65532
expect entrypoint "$(config Entrypoint)" "[/usr/local/bin/longshore]"
expect command "$(config Cmd)" "[serve]"
expect ports "$(config ExposedPorts)" "map[50051/tcp:{} 9090/tcp:{}]"
[[ $(config Env) == *"LONGSHORE_LISTEN_ADDR=0.0.0.0:50051 LONGSHORE_HEALTH_ADDR=0.0.0.0:9090"* ]] || fail "environment is $(config Env)"

container=$(buildah from --signature-policy "$policy" --pull-never "$image")
files=$(buildah mount "$container")
[ ! -e "$files/bin/sh" ] || fail "there is a shell in the image"
[ -s "$files/etc/ssl/certs/ca-certificates.crt" ] || fail "there are no CA certificates in the image"
expect "writable files" "$(find "$files" -perm /o+w -type f)" ""
size=$(du -sm "$files" | cut -f1)
[ "$size" -le 80 ] || fail "$size MiB are too many"
buildah umount "$container" >/dev/null

echo "- running it"
run() { buildah run --isolation chroot "$container" -- /usr/local/bin/longshore "$@"; }
version=$(run --version)
[[ $version == "longshore "* ]] || fail "--version says $version"
ldd "$binary" | grep -q "not found" && fail "the binary misses a library"
echo "image: $version, user $(config User), $size MiB, of which the binary $(($(stat -c %s "$binary") >> 20)) MiB"
