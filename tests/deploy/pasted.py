"""[LONGSHORE_BINARY]: renders the chart with the commands in README.md and NOTES.txt, exactly as printed there."""

import re
import shlex
import sys
import tempfile
from pathlib import Path

import yaml

from manifests import CHART, ROOT, accepted, check, environment, helm, judge, parse, render

README = (ROOT / "README.md").read_text()
BASE = ("--values", CHART / "ci/minimal-values.yaml")
KEY = "uploads.existingSecret"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def words_of(text, command):
    """Returns the words of each line that begins with `command`."""
    return [shlex.split(line) for line in text.splitlines() if line.strip().startswith(command + " ")]


def literals(words):
    """Returns the keys of the Secret that `kubectl create secret generic` creates."""
    return {word.removeprefix("--from-literal=").split("=")[0] for word in words if word.startswith("--from-literal=")}


def readme_installs(binary):
    """Renders each `helm install` command in the README with the values files that the README shows."""
    files = {}
    for block in blocks("yaml"):
        if named := re.match(r"# (\S+\.yaml)\n", block):
            files[named[1]] = block
    commands = [words for block in blocks("sh") for words in words_of(block, "helm install")]
    secrets = {words[4]: literals(words) for block in blocks("sh") for words in words_of(block, "kubectl create secret generic")}
    assert commands and files
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "helm").symlink_to(ROOT / "helm")
        for name, text in files.items():
            Path(folder, name).write_text(text)
        for _, _, release, chart, *arguments in commands:
            assert chart == "helm/longshore"
            documents = parse(helm("template", release, chart, *arguments, cwd=folder))
            judge(documents)
            readme_secrets(documents, secrets)
            if binary:
                accepted(binary, documents)


def readme_secrets(documents, secrets):
    """Checks that the README creates a Secret for each file that the tenants file names."""
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    (tenants,) = documents["Secret"]["stringData"].values()
    volumes = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    files = {f"{mount['mountPath']}/{key}" for mount in pod["containers"][0]["volumeMounts"]
             for key in secrets.get(volumes.get(mount["name"]), ())}
    named = set(re.findall(r"file: (\S+)", tenants))
    assert named and named <= files, f"no Secret has {named - files}"


def readme_tenants(binary):
    """Checks that the README's tenants file is valid on its own, with the volume that the README shows later."""
    (tenants,) = [block for block in blocks("yaml") if block.startswith("tenants:\n  acme:")]
    (values,) = [block for block in blocks("yaml") if block.startswith("# my-values.yaml")]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "values.yaml")
        file.write_text(values)
        documents = render("longshore", "--values", file)
    if binary:
        done = check(binary, documents, tenants)
        assert done.returncode == 0, done.stderr


def notes(*arguments, release="rel"):
    text = helm("install", release, CHART, "--dry-run=client", "--namespace", "storage", *arguments)
    return text[text.index("NOTES:"):]


def notes_lines(*arguments, release="rel"):
    """Checks that the commands in the notes match the manifests for the same arguments. Returns the notes."""
    text = notes(*arguments, release=release)
    documents = render(release, "--namespace", "storage", *arguments)
    service = documents["Service"]
    (container,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    (forward,) = [words for words in words_of(text, "kubectl") if "port-forward" in words]
    assert forward[1:3] == ["--namespace", service["metadata"]["namespace"]]
    assert forward[4] == f"service/{service['metadata']['name']}"
    # For a Service without a cluster IP, kubectl forwards to the pod's own port.
    port = container["ports"][0]["containerPort"] if service["spec"].get("clusterIP") == "None" \
        else service["spec"]["ports"][0]["port"]
    assert forward[5] == f"50051:{port}"
    assert f"{service['metadata']['name']}.storage.svc:{port} " in text
    (call,) = words_of(text, "grpcurl")
    secure = any(volume["name"] == "tls" for volume in documents["Deployment"]["spec"]["template"]["spec"]["volumes"])
    assert call[1] == ("-insecure" if secure else "-plaintext")
    assert ("-proto" in call) == (environment(documents)["LONGSHORE_REFLECTION"] == "false")
    name, method = call[-1].removeprefix("longshore.v1.").split("/")
    protos = "".join(file.read_text() for file in (ROOT / "proto/longshore/v1").glob("*.proto"))
    assert f"service {name} " in protos and f"rpc {method}(" in protos
    return text


def notes_of_uploads(binary):
    """Checks that the notes say that UploadService is off, and how to turn it on, if pods share no key."""
    text = notes_lines(*BASE)
    assert "UploadService is off" in text
    (secret,) = [words for words in words_of(text, "kubectl") if "create" in words]
    (upgrade,) = words_of(text, "helm")
    name = secret[secret.index("generic") + 1]
    assert upgrade[upgrade.index("--set") + 1] == f"{KEY}={name}"
    documents = render("rel", *BASE, *upgrade[upgrade.index("--set"):])
    (container,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    (variable,) = [entry for entry in container["env"] if entry["name"] == "LONGSHORE_UPLOAD_KEY"]
    reference = variable["valueFrom"]["secretKeyRef"]
    assert reference["name"] == name and {reference["key"]} == literals(secret)
    if binary:
        accepted(binary, documents)
    assert "UploadService" not in notes_lines(*BASE, "--set", f"{KEY}=k")
    assert "UploadService" not in notes_lines(*BASE, "--set", "extraEnv[0].name=LONGSHORE_UPLOAD_KEY,extraEnv[0].value=k")
    assert "cannot be resumed" in notes_lines(*BASE, "--set", "replicaCount=1")


def main(binary=None):
    readme_installs(binary)
    readme_tenants(binary)
    notes_of_uploads(binary)
    notes_lines("--values", CHART / "ci/full-values.yaml")
    notes_lines(*BASE, release="12345")
    assert "authentication is off" in notes_lines(*BASE, "--set", "auth.mode=none,auth.allowInsecure=true")
    assert "restart" not in notes_lines("--set", "tenants.existingSecret=mine,uploads.existingSecret=keys")
    assert "will not scale" in notes_lines(*BASE, "--set", "autoscaling.enabled=true,resources.requests=null")
    assert "three quarters" in notes_lines(*BASE, "--set", "server.memoryBudget=900MiB")
    for key in yaml.safe_load((CHART / "values.yaml").read_text()):
        if key not in ("tenants", "replicaCount"):
            notes(*BASE, "--set", f"{key}=null")


if __name__ == "__main__":
    main(*sys.argv[1:])
