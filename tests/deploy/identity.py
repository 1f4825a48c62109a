"""[LONGSHORE_BINARY]: renders and checks the examples in docs/IDENTITY.md, without AWS and without a cluster.

Each section's values and tenants files are used together. The variables that EKS adds to pods are added here, too.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

from manifests import KUBERNETES, ROOT, check, judge, render
from values import account, mount, volume

PAGE = (ROOT / "docs/IDENTITY.md").read_text()
TENANTS = {"tenants": {"acme": {"stores": {"default": {"bucket": "b", "credential_provider": {"type": "anonymous"}}}}}}
ROLE_ARN = "eks.amazonaws.com/role-arn"
# What EKS sets in the pods of a ServiceAccount that is associated with a role.
POD_IDENTITY = {
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token",
}
HAVE_POD_IDENTITY = {"EKS Pod Identity", "A role for each tenant"}


def blocks(language, text=PAGE):
    fenced = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [block for found, block in fenced if found == language]


def added(title, documents):
    """What EKS adds to the environment: its webhook for IRSA reads the annotation of the ServiceAccount."""
    role = account(documents)["metadata"].get("annotations", {}).get(ROLE_ARN)
    irsa = {"AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"}
    return (irsa if role else {}) | (POD_IDENTITY if title in HAVE_POD_IDENTITY else {})


def rendered(values, tenants):
    if "existingSecret" not in values.get("tenants", {}):
        values = values | {"tenants": values.get("tenants", {}) | {"config": tenants}}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "values.yaml").write_text(yaml.safe_dump(values))
        documents = render("longshore", "--namespace", "storage", "--values", f"{folder}/values.yaml")
    judge(documents)
    return documents


def examples(page=PAGE):
    """Yields the title of the section, the values and the tenants file of each pair that the page shows."""
    for section in page.split("\n## ")[1:]:
        title, values, tenants = section.splitlines()[0], {}, TENANTS
        found = [(block.splitlines()[0], yaml.safe_load(block)) for block in blocks("yaml", section)]
        for (kind, content), (following, _) in zip(found, [*found[1:], ("", None)]):
            if kind == "# values.yaml":
                values = content
                # Otherwise, the values belong to the tenants file before them.
                if following == "# tenants.yaml":
                    continue
            elif kind == "# tenants.yaml":
                tenants = content
            else:
                judge_manifest(content)
                continue
            yield title, values, tenants


def judge_manifest(manifest):
    """Of custom resources, only what all manifests have is checked."""
    assert manifest["apiVersion"] and manifest["kind"] and manifest["metadata"]["namespace"] == "storage"
    if not manifest["apiVersion"].startswith(("external-secrets.io/", "secrets-store.csi.x-k8s.io/", "cert-manager.io/")):
        for version in KUBERNETES:
            kubernetes_validate.validate(manifest, version, strict=True)


def outcome(binary, title, values, tenants):
    documents = rendered(values, tenants)
    if not binary:
        return documents, ""
    extra = added(title, documents)
    done = check(binary, documents, None if "Secret" in documents else yaml.safe_dump(tenants), extra)
    assert (done.returncode, done.stderr) == (0, ""), f"{title}: {tenants}\n{done.stdout}{done.stderr}"
    if extra and tenants is not TENANTS:
        assert check(binary, documents).returncode == 64, f"{title}: the variables of EKS are not used"
    return documents, done.stdout


def policies():
    found = [json.loads(block) for block in blocks("json")]
    for policy in found:
        assert policy["Version"] == "2012-10-17"
        for statement in policy["Statement"]:
            assert statement["Effect"] == "Allow" and statement["Action"]
            assert ("Principal" in statement) != ("Resource" in statement)
    return len(found)


def commands():
    for block in blocks("sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def manifests(found):
    """Checks the parts of the manifests that give the pods an identity."""
    by_title = {}
    for title, documents in found:
        by_title.setdefault(title, []).append(documents)
    for documents in by_title["EKS: IAM roles for service accounts"]:
        assert account(documents)["metadata"]["name"] == "longshore"
        assert account(documents)["metadata"]["annotations"] == {ROLE_ARN: "arn:aws:iam::111122223333:role/longshore"}
        assert account(documents)["automountServiceAccountToken"] is False
    assert all(account(documents)["metadata"]["name"] == "longshore" for documents in by_title["EKS Pod Identity"])
    for documents in by_title["Clusters with their own OIDC issuer"]:
        (source,) = volume(documents, "tokens")["projected"]["sources"]
        assert source["serviceAccountToken"] == {"path": "aws", "audience": "sts.amazonaws.com", "expirationSeconds": 3600}
        assert mount(documents, "tokens")["mountPath"] == "/var/run/secrets/longshore"
    secrets = [documents for documents in by_title["Keys from a secrets manager"]
               if "acme" in {volume["name"] for volume in documents["Deployment"]["spec"]["template"]["spec"]["volumes"]}]
    assert {"secret", "csi"} == {key for documents in secrets for key in volume(documents, "acme")} - {"name"}


def main(binary=None):
    found, outputs = [], []
    for title, values, tenants in examples():
        documents, output = outcome(binary, title, values, tenants)
        found.append((title, documents))
        outputs.append(output)
    assert len(found) >= 10
    manifests(found)
    commands()
    (shown,) = [block for block in blocks("") if "settings are valid" in block]
    lines = [line.removeprefix("   ") for line in shown.splitlines()]
    assert not binary or "\n".join(lines) + "\n" in outputs, f"`check` prints none of what the page shows:\n{outputs}"
    print(f"{len(found)} pairs of values and tenants files, {policies()} policies")


if __name__ == "__main__":
    main(*sys.argv[1:])
