#!/usr/bin/env bash
# Checks the Helm chart without a cluster.
#   tests/deploy/chart.sh [LONGSHORE_BINARY]      with a binary, `longshore check` also checks the rendered settings
# First install the tools: tests/tools/install.sh helm python. Also needs openssl.
set -euo pipefail

binary=${1:+$(realpath "$1")}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
chart=$root/helm/longshore
tools=$root/tests/.tools
helm=$tools/bin/helm
python=$tools/venv/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "chart: $*" >&2; exit 1; }

# Keeps Helm from reading the user's own settings.
export HELM_CONFIG_HOME=$work HELM_CACHE_HOME=$work HELM_DATA_HOME=$work

render() { # NAME VALUES...
  local name=$1 version
  shift
  echo "- $name"
  "$helm" lint --strict --quiet "$chart" "$@"
  # The oldest version that the chart supports, and a recent one.
  for version in 1.27.0 1.37.0; do
    "$helm" template longshore "$chart" --namespace storage --kube-version "$version" "$@" >"$work/$name.yaml"
  done
  "$python" "$here/rendered.py" "$work/$name.yaml" ${binary:+"$binary"}
}

for values in "$chart"/ci/*-values.yaml; do
  render "$(basename "$values" -values.yaml)" --values "$values"
done

echo "- unusual values"
"$python" "$here/values.py" ${binary:+"$binary"}
echo "- commands in README.md and NOTES.txt"
"$python" "$here/pasted.py" ${binary:+"$binary"}

echo "- examples in docs/IDENTITY.md"
"$python" "$here/identity.py" ${binary:+"$binary"}

echo "- examples in docs/AUTHENTICATION.md"
"$python" "$here/authentication.py" ${binary:+"$binary"}

echo "- values that are rejected"
tenant=()
refused() { # PART-OF-THE-MESSAGE ARGUMENTS...
  local message=$1
  shift
  if "$helm" template longshore "$chart" "${tenant[@]}" "$@" >"$work/out" 2>&1; then fail "$* is accepted, but must be rejected"; fi
  grep -qF -- "$message" "$work/out" || { cat "$work/out" >&2; fail "$*: the message does not contain \"$message\""; }
}
refused "no tenants are defined"
tenant=(--values "$chart/ci/minimal-values.yaml")
# Rejected by the schema: unknown names, wrong types, invalid words.
refused "replicas" --set replicas=3
refused "additional properties 'repo' not allowed" --set image.repo=x
refused "/replicaCount" --set replicaCount=two
refused "/auth/mode" --set auth.mode=maybe
refused "/shutdown/grace" --set-string shutdown.grace=30
refused "/server/logFormat" --set server.logFormat=xml
refused "/tenants/config" --set tenants.config.tenant.acme.stores.default.bucket=b
refused "invalid propertyName 'ACME'" --set tenants.config.tenants.ACME.stores.default.bucket=b
refused "/podSecurityContext/runAsUser" --set podSecurityContext.runAsUser=0
refused "/podSecurityContext/runAsNonRoot" --set podSecurityContext.runAsNonRoot=false
# Rejected by the templates: combinations of two values.
refused "must be larger than" --set shutdown.terminationGracePeriodSeconds=35
refused "auth.allowInsecure" --set auth.mode=none

echo "- fields that the chart derives from values"
value() { # PYTHON-EXPRESSION ARGUMENTS...
  local expression=$1
  shift
  "$helm" template longshore "$chart" "${tenant[@]}" "$@" | "$python" -c '
import sys, yaml
d = {m["kind"]: m for m in yaml.safe_load_all(sys.stdin) if m}
pod = d["Deployment"]["spec"]["template"]
print(eval(sys.argv[1]))' "$expression"
}
same() { [ "$2" = "$3" ] || fail "$1: \"$2\" and \"$3\" differ"; }
same "grace period, computed" "$(value 'pod["spec"]["terminationGracePeriodSeconds"]' --set shutdown.delay=1m,shutdown.grace=1500ms)" 72
same "grace period, given" "$(value 'pod["spec"]["terminationGracePeriodSeconds"]' --set shutdown.terminationGracePeriodSeconds=36)" 36
same "port without TLS" "$(value 'd["Service"]["spec"]["ports"][0]["appProtocol"]')" kubernetes.io/h2c
same "port with TLS" "$(value 'd["Service"]["spec"]["ports"][0]["appProtocol"]' --set tls.existingSecret=t)" https
same "no Secret if an existing one is named" "$(value '"Secret" in d' --set tenants.existingSecret=mine)" False
same "no replicas with autoscaling" "$(value '"replicas" in d["Deployment"]["spec"]' --set autoscaling.enabled=true)" False
same "authentication deliberately off" "$(value '[e["value"] for e in pod["spec"]["containers"][0]["env"] if e["name"] == "LONGSHORE_ALLOW_INSECURE"]' \
  --set auth.mode=none,auth.allowInsecure=true)" "['true']"
same "a namespace that consists of digits" "$(value '[m["metadata"]["namespace"] for m in d.values()] == ["123"] * len(d)' --namespace 123)" True
# The server reloads the tenants: pods do not roll when they change.
one=$(value 'd["Deployment"]' --set tenants.config.tenants.a.stores.default.bucket=one)
same "Deployment after a change of the tenants" "$one" "$(value 'd["Deployment"]' --set tenants.config.tenants.a.stores.default.bucket=two)"

echo "chart: passed"
