#!/usr/bin/env bash
# Builds the Dockerfile without a container engine or registry, and checks the image.
#   tests/deploy/image.sh LONGSHORE_BINARY      (a release build, made on a Debian no newer than the runtime base's)
# Needs Debian's buildah, and apt sources for the three packages of the runtime base.
# Replaces both base images: the build stage with a folder that contains the binary, so that nothing is compiled twice,
# and the runtime base with its contents (the C library, libgcc and the CA certificates) from Debian's packages.
set -euo pipefail

binary=$(realpath "${1:?path of the longshore binary}")
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
image=longshore-test
container=
runner=
began=$SECONDS
buildah() { command buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run" "$@"; }
# buildah requires a policy file that says which images to trust, and Debian's package does not include one.
policy=$work/policy.json
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$policy"

finish() {
  trap - EXIT
  [ -z "${pid:-}" ] || kill -KILL "$pid" 2>/dev/null || true
  [ -z "$runner" ] || kill "$runner" 2>/dev/null || true
  [ -z "$container" ] || buildah umount "$container" >/dev/null 2>&1 || true
  buildah rm --all >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT
fail() { echo "image: $*" >&2; exit 1; }

echo "- the source that the build stage compiles"
# The build stage is replaced below, so its COPY is tested here: with only the files that .dockerignore lets through,
# the manifest must be complete and no compiled file may be missing.
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
# The shared target folder already has the dependencies, so only the crate itself is checked again.
(cd "$work/source" && CARGO_TARGET_DIR="$root/target" cargo check --quiet --locked --bin longshore) ||
  fail "the build stage's source does not compile: is a file missing in .dockerignore?"

echo "- the runtime base"
mkdir "$work/debs" "$work/base" "$work/build"
chmod 755 "$work" "$work/debs"
(cd "$work/debs" && apt-get download --quiet=2 -o APT::Sandbox::User=root libc6 libgcc-s1 ca-certificates)
for package in "$work"/debs/*.deb; do dpkg-deb --extract "$package" "$work/base"; done
rm -rf "$work"/base/usr/{sbin,share/doc,share/man,share/lintian,lib/x86_64-linux-gnu/gconv}
# Does what the package's postinst script does.
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
[ ! -e "$files/bin/sh" ] || fail "the image contains a shell"
[ -s "$files/etc/ssl/certs/ca-certificates.crt" ] || fail "the image contains no CA certificates"
expect "writable files" "$(find "$files" -perm /o+w -type f)" ""
size=$(du -sm "$files" | cut -f1)
[ "$size" -le 80 ] || fail "the image has $size MiB, more than the limit of 80 MiB"
buildah umount "$container" >/dev/null

echo "- running it"
run() { buildah run --isolation chroot "$@"; }
version=$(run "$container" -- /usr/local/bin/longshore --version)
[[ $version == "longshore "* ]] || fail "--version says $version"

# Runs the image as a pod does, but on loopback: it becomes ready, does not run as root, and exits on SIGTERM.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
health=127.0.0.1:$(free_port)
files=$(buildah mount "$container")
install -m 444 /dev/stdin "$files/tenants.yaml" <<'YAML'
tenants:
  acme:
    stores:
      default: {bucket: acme, config: {region: us-east-1}, credential_provider: {type: anonymous}}
YAML
run --env LONGSHORE_LISTEN_ADDR="127.0.0.1:$(free_port)" --env LONGSHORE_HEALTH_ADDR="$health" \
  --env LONGSHORE_TENANTS_FILE=/tenants.yaml "$container" -- /usr/local/bin/longshore serve &
runner=$!
until python3 -c "import urllib.request as u; u.urlopen('http://$health/readyz', timeout=2)" 2>/dev/null; do
  kill -0 "$runner" 2>/dev/null || fail "serve exited before it was ready"
  [ $((SECONDS - began)) -lt 300 ] || fail "serve did not become ready in time"
  sleep 0.2
done
# Finds the server's process from outside the container, by its name and by this address in its environment.
pid=$(for process in /proc/[0-9]*; do
  if [ "$(cat "$process/comm" 2>/dev/null)" = longshore ] &&
    tr '\0' '\n' 2>/dev/null <"$process/environ" | grep -qx "LONGSHORE_HEALTH_ADDR=$health"; then echo "${process#/proc/}"; fi
done)
expect "the process's user" "$(awk '/^[UG]id:/ { print $2 }' "/proc/$pid/status" | paste -sd:)" 65532:65532
kill -TERM "$pid"
wait "$runner" || fail "serve exited with $? on SIGTERM"
runner=
buildah umount "$container" >/dev/null
echo "image: $version, user $(config User), $size MiB, of which the binary $(($(stat -c %s "$binary") >> 20)) MiB"
