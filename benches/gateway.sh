#!/usr/bin/env bash
# Runs the gateway benchmark with the peers written in other languages (grpc-go with aws-sdk-go-v2, Python's grpcio
# with boto3), with grpcio as a caller, and with boto3 as a caller without a gateway.
#   benches/gateway.sh [ARGUMENT...]     passes ARGUMENTs to the benchmark; GATEWAY_PEERS="go" skips the Python peers
# Needs Python 3, and Go 1.26 for the Go peer. Installs the packages that it needs (tests/tools/install.sh, Go modules).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
built=${CARGO_TARGET_DIR:-$root/target}/gateway/peers
peers=" ${GATEWAY_PEERS:-go python} "

# Pinned, because other versions generate different code.
PROTOC_GEN_GO=v1.36.12
PROTOC_GEN_GO_GRPC=v1.6.2

"$root/tests/tools/install.sh" python
python=$root/tests/.tools/venv/bin/python
protos=("$root"/proto/longshore/v1/*.proto)
arguments=()

if [[ $peers == *" python "* ]]; then
  mkdir -p "$built/python"
  cp "$here"/gateway/peers/python/*.py "$built/python/"
  "$python" -m grpc_tools.protoc -I "$root/proto" --python_out="$built/python" --grpc_python_out="$built/python" "${protos[@]}"
  arguments+=(--peer "grpcio+boto3=$python $built/python/gateway.py" --grpcio-caller "$python $built/python/caller.py")
  arguments+=(--boto3-caller "$python $built/python/direct.py")
fi

if [[ $peers == *" go "* ]]; then
  mkdir -p "$built/go" "$built/bin"
  cp "$here"/gateway/peers/go/{main.go,go.mod,go.sum} "$built/go/"
  export GOTOOLCHAIN=local
  GOBIN=$built/bin go install "google.golang.org/protobuf/cmd/protoc-gen-go@$PROTOC_GEN_GO"
  GOBIN=$built/bin go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@$PROTOC_GEN_GO_GRPC"
  mapped=longshore.bench/gateway/longshore/v1
  options=(--go_opt=module=longshore.bench/gateway --go-grpc_opt=module=longshore.bench/gateway)
  for proto in "${protos[@]}"; do
    name=longshore/v1/$(basename "$proto")
    options+=("--go_opt=M$name=$mapped" "--go-grpc_opt=M$name=$mapped")
  done
  PATH=$built/bin:$PATH "$python" -m grpc_tools.protoc -I "$root/proto" --go_out="$built/go" --go-grpc_out="$built/go" \
    "${options[@]}" "${protos[@]}"
  (cd "$built/go" && CGO_ENABLED=0 go build -trimpath -o "$built/bin/gateway" .)
  arguments+=(--peer "grpc-go+aws-sdk-go-v2=$built/bin/gateway")
fi

cd "$root"
exec cargo bench --locked --bench gateway -- "${arguments[@]}" "$@"
