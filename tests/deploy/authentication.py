"""[LONGSHORE_BINARY]: renders and checks the examples in docs/AUTHENTICATION.md, without a cluster."""

import subprocess
import sys

from identity import blocks, examples, outcome
from manifests import ROOT, environment
from values import volume

PAGE = (ROOT / "docs/AUTHENTICATION.md").read_text()


def main(binary=None):
    # The providers of the examples' stores need what EKS sets.
    found = [outcome(binary, "EKS Pod Identity", values, tenants)[0] for _, values, tenants in examples(PAGE)]
    assert len(found) >= 4
    with_ca = [documents for documents in found if "LONGSHORE_TLS_CLIENT_CA" in environment(documents)]
    assert {volume(documents, "client-ca")["configMap"]["name"] for documents in with_ca} == {"callers-ca-certificate"}
    assert any("LONGSHORE_TLS_CLIENT_CRL" in environment(documents) for documents in with_ca)
    for block in blocks("sh", PAGE):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
    print(f"{len(found)} pairs of values and tenants files")


if __name__ == "__main__":
    main(*sys.argv[1:])
