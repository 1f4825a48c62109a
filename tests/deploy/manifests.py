"""Renders the chart, and validates manifests as Kubernetes and `longshore check` do."""

import base64
import os
import re
import subprocess
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/longshore"
HELM = ROOT / "tests/.tools/bin/helm"
# The oldest version that the chart supports, and a recent one.
KUBERNETES = ("1.27.0", "1.37.0")
# Stands in for a value from another Secret. It is also a valid upload key.
STAND_IN = base64.b64encode(bytes(32)).decode()


class Refused(Exception):
    """Helm did not render the chart."""


class UniqueKeys(yaml.SafeLoader):
    """A YAML loader that rejects duplicate keys, as Kubernetes does."""


def unique_mapping(loader, node):
    keys = [loader.construct_object(key) for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    assert not twice, f"duplicate keys: {twice}"
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, unique_mapping)


def helm(command, release, *arguments, cwd=None):
    """Runs a Helm command that renders the chart, and returns its output."""
    done = subprocess.run([HELM, command, release, *arguments], capture_output=True, text=True, cwd=cwd, timeout=60)
    if done.returncode != 0:
        raise Refused(done.stderr)
    return done.stdout


def render(release, *arguments, cwd=None):
    return parse(helm("template", release, CHART, *arguments, cwd=cwd))


def parse(text):
    """Returns the manifests by kind. The chart has one of each."""
    documents = [document for document in yaml.load_all(text, UniqueKeys) if document]
    by_kind = {document["kind"]: document for document in documents}
    assert len(by_kind) == len(documents)
    return by_kind


def unique(what, items):
    assert len(items) == len(set(items)), f"duplicate {what}: {items}"


def judge(documents):
    """Checks what the API server checks: the schemas, and further rules that values can break."""
    for document in documents.values():
        for version in KUBERNETES:
            kubernetes_validate.validate(document, version, strict=True)
        metadata = document["metadata"]
        for text in [metadata["name"], metadata["namespace"], *metadata["labels"].values()]:
            assert isinstance(text, str), f"{document['kind']}: {text!r} is not a string"
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", metadata["name"]), metadata["name"]
        for label in metadata["labels"].values():
            assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", label), label
    service = documents["Service"]
    assert re.match("[a-z]", service["metadata"]["name"]), "the name of a Service must begin with a letter"
    assert service["spec"].get("clusterIP") != "None" or service["spec"]["type"] == "ClusterIP"
    template = documents["Deployment"]["spec"]["template"]
    pod, labels = template["spec"], template["metadata"]["labels"]
    selectors = [service["spec"]["selector"], documents["Deployment"]["spec"]["selector"]["matchLabels"]]
    if "PodDisruptionBudget" in documents:
        selectors.append(documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"])
    for selector in selectors:
        assert selector.items() <= labels.items(), "a selector does not select the pods"
    judge_container(pod, pod["containers"][0])


def judge_container(pod, container):
    volumes = [volume["name"] for volume in pod["volumes"]]
    unique("volumes", volumes)
    unique("mounts", [mount["mountPath"] for mount in container["volumeMounts"]])
    assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
    unique("variables", [entry["name"] for entry in container["env"]])
    unique("ports", [port["containerPort"] for port in container["ports"]])
    for entry in container["env"]:
        assert isinstance(entry.get("value", ""), str), f"{entry['name']} is not a string"
    assert pod["securityContext"]["runAsNonRoot"] is True


def environment(documents):
    """Returns the container's environment variables, with a stand-in for values from other Secrets."""
    (container,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", STAND_IN) for entry in container["env"]}


def is_folder(documents):
    """Whether the container reads a folder of tenants files."""
    return not os.path.splitext(environment(documents)["LONGSHORE_TENANTS_FILE"])[1]


def mounted_files(documents, tenants, folder):
    """Creates the files in volumes that `tenants` names, below `folder`, which stands for the folder of the tenants file.
    Returns `tenants` with their new paths."""
    (container,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    own = os.path.dirname(environment(documents)["LONGSHORE_TENANTS_FILE"] + ("/" if is_folder(documents) else ""))
    places = sorted((mount["mountPath"] for mount in container["volumeMounts"]), key=len, reverse=True)

    def created(match):
        place, below = match.groups()
        inside = place == own or place.startswith(own + "/")
        file = Path(f"{folder}{place.removeprefix(own)}" if inside else f"{folder}/{places.index(place)}.volume", below[1:])
        if below:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".crt":
                make_certificate(file, f"{folder}/unused.key")
            else:
                file.write_text("stand-in")
        else:
            file.mkdir(parents=True, exist_ok=True)
        return str(file)

    return re.sub(rf"({'|'.join(map(re.escape, places))})((?:/[-._/a-zA-Z0-9]+)?)(?![-._a-zA-Z0-9])", created, tenants)


def check(binary, documents, tenants=None, added=None):
    """Runs `longshore check` with the container's environment and with `tenants`, by default the Secret's tenants file.
    `added` are variables that the platform adds to the container."""
    env = environment(documents) | (added or {})
    if tenants is None:
        (tenants,) = documents["Secret"]["stringData"].values()
    with tempfile.TemporaryDirectory() as folder:
        # In a folder, a file may have to be named after its tenant.
        name = next(iter(yaml.safe_load(tenants)["tenants"])) if is_folder(documents) else "tenants"
        file = Path(folder, f"{name}.yaml")
        file.write_text(mounted_files(documents, tenants, folder))
        env["LONGSHORE_TENANTS_FILE"] = folder if is_folder(documents) else str(file)
        for name in {"LONGSHORE_JWT_JWKS_BEARER_TOKEN_FILE", "LONGSHORE_JWT_JWKS_CA_FILE"} & env.keys():
            env[name] = mounted_files(documents, env[name], folder)
        if "LONGSHORE_TLS_CERT" in env:
            env |= {"LONGSHORE_TLS_CERT": f"{folder}/tls.crt", "LONGSHORE_TLS_KEY": f"{folder}/tls.key"}
            make_certificate(env["LONGSHORE_TLS_CERT"], env["LONGSHORE_TLS_KEY"])
        if "LONGSHORE_TLS_CLIENT_CA" in env:
            env["LONGSHORE_TLS_CLIENT_CA"] = env["LONGSHORE_TLS_CERT"]
        if "LONGSHORE_TLS_CLIENT_CRL" in env:
            env["LONGSHORE_TLS_CLIENT_CRL"] = f"{folder}/ca.crl"
            make_revocation_list(folder)
        return subprocess.run([binary, "check"], env=env, capture_output=True, text=True, timeout=60)


def accepted(binary, documents):
    """Asserts that `longshore check` accepts what the chart renders."""
    done = check(binary, documents)
    assert done.returncode == 0, f"longshore check rejects the rendered settings:\n{done.stdout}{done.stderr}"


def make_certificate(cert, key):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=storage", "-days", "1", "-out", cert, "-keyout", key], check=True, capture_output=True)


def make_revocation_list(folder):
    """Makes the empty revocation list `ca.crl` of the certificate in `folder`."""
    config = Path(folder, "ca.conf")
    config.write_text(f"[ca]\ndefault_ca = own\n[own]\ndatabase = {folder}/index\ncrlnumber = {folder}/crlnumber\n"
                      f"default_md = sha256\ndefault_crl_days = 1\ncrl_extensions = list\n[list]\nauthorityKeyIdentifier = keyid\n")
    Path(folder, "index").touch()
    Path(folder, "crlnumber").write_text("01\n")
    subprocess.run(["openssl", "ca", "-config", config, "-gencrl", "-cert", f"{folder}/tls.crt", "-keyfile", f"{folder}/tls.key",
                    "-out", f"{folder}/ca.crl"], check=True, capture_output=True)


os.umask(0o077)
