"""[LONGSHORE_BINARY]: renders and checks the examples in docs/AUTHENTICATION.md, without a cluster."""

import re
import subprocess
import sys

import kubernetes_validate
import yaml

from identity import blocks, examples, outcome, rendered
from manifests import KUBERNETES, ROOT, check, environment
from values import mount, volume

PAGE = (ROOT / "docs/AUTHENTICATION.md").read_text()
BEFORE_JWT, JWT = PAGE.split("\n## JWT\n")
KEYS = "/var/run/secrets/longshore-jwks"

# The issuer of the server, by the names of its variables in the page and in the chart.
NAMES = {"ISSUER": "issuer", "AUDIENCE": "audience", "JWKS_URL": "jwksUrl", "TENANT_CLAIM": "tenantClaim"}
SHOWN = dict(re.findall(r"^LONGSHORE_JWT_(\w+)=(.*)$", PAGE, re.MULTILINE))
SERVER = {"auth": {"jwt": {NAMES[name]: value for name, value in SHOWN.items()}}}


def judge_keys(documents):
    """Checks that the files of the tenants file are those that the chart mounts."""
    token, authority = volume(documents, "jwks")["projected"]["sources"]
    assert token == {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    assert authority["configMap"] == {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    assert mount(documents, "jwks") == {"name": "jwks", "mountPath": KEYS, "readOnly": True}
    assert documents["Deployment"]["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def tokens_and_certificates(binary):
    # The providers of the examples' stores need what EKS sets.
    found = [outcome(binary, "EKS Pod Identity", values, tenants)[0] for _, values, tenants in examples(BEFORE_JWT)]
    assert len(found) >= 4
    with_ca = [documents for documents in found if "LONGSHORE_TLS_CLIENT_CA" in environment(documents)]
    assert {volume(documents, "client-ca")["configMap"]["name"] for documents in with_ca} == {"callers-ca-certificate"}
    assert any("LONGSHORE_TLS_CLIENT_CRL" in environment(documents) for documents in with_ca)
    return len(found)


def jwts(binary):
    values, checked = {}, 0
    for block in blocks("yaml", JWT):
        kind, content = block.splitlines()[0], yaml.safe_load(block)
        if kind == "# values.yaml":
            values = content
        elif kind.startswith("# tenants.yaml"):
            documents = rendered(values | (SERVER if "server: true" in block else {}), content)
            if KEYS in block:
                judge_keys(documents)
            if binary:
                done = check(binary, documents)
                assert (done.returncode, done.stderr) == (0, ""), f"{block}\n{done.stdout}{done.stderr}"
            checked += 1
        elif kind == "# manifest":
            for version in KUBERNETES:
                kubernetes_validate.validate(content, version, strict=True)
    assert checked >= 3
    return checked


def main(binary=None):
    checked = tokens_and_certificates(binary) + jwts(binary)
    for block in blocks("sh", PAGE):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
    print(f"{checked} tenants files")


if __name__ == "__main__":
    main(*sys.argv[1:])
