#!/usr/bin/env bash
# Calls the server with clients in four languages: Python's grpcio, grpc-go, grpc-java and @grpc/grpc-js.
#   tests/polyglot.sh [BINARY [PYTEST-ARGUMENT...]]     BINARY: default target/release/longshore; `-k go` tests only Go
# Installs its own packages (tests/tools/install.sh); needs Python 3, a JDK from version 17 on, Maven, Node.js and npm.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath --canonicalize-missing "${1:-$here/../target/release/longshore}")
shift || true
tools=$here/.tools
built=$tools/polyglot

"$here/tools/install.sh" python grpc-go grpc-java grpc-js
python=$tools/venv/bin/python
google=$("$python" -c 'import grpc_tools; print(grpc_tools.__path__[0])')/_proto
protos=("$here"/../proto/longshore/v1/*.proto)

build_go() {
  local module=longshore.tests/polyglot name proto
  local options=("--go_opt=module=$module" "--go-grpc_opt=module=$module")
  for proto in "${protos[@]}"; do
    name=longshore/v1/$(basename "$proto")
    options+=("--go_opt=M$name=$module/longshore/v1" "--go-grpc_opt=M$name=$module/longshore/v1")
  done
  mkdir "$built/go"
  cp "$here"/polyglot/go/{main.go,go.mod,go.sum} "$built/go/"
  PATH=$tools/bin:$PATH "$python" -m grpc_tools.protoc -I "$here/../proto" --go_out="$built/go" --go-grpc_out="$built/go" \
    "${options[@]}" "${protos[@]}"
  (cd "$built/go" && GOTOOLCHAIN=local CGO_ENABLED=0 "$tools/bin/go" build -trimpath -o client .)
}

build_java() {
  local grpc=$tools/grpc-java
  mkdir -p "$built"/java/{generated,classes}
  "$grpc/bin/protoc.exe" -I "$here/../proto" -I "$google" --plugin=protoc-gen-grpc-java="$grpc/bin/protoc-gen-grpc-java.exe" \
    --java_out="$built/java/generated" --grpc-java_out="$built/java/generated" "${protos[@]}"
  javac -proc:none -nowarn --release 17 -d "$built/java/classes" -cp "$grpc/jars/*" \
    "$here/polyglot/java/Client.java" "$built"/java/generated/com/longshore/v1/*.java
}

# Both are rebuilt every time: Go has its own build cache, and Java takes only seconds.
rm -rf "$built"
mkdir -p "$built"
build_go
build_java

export PYTHONDONTWRITEBYTECODE=1
cd "$here/polyglot"
exec "$python" -m pytest -c pytest.ini --binary="$binary" "$@"
