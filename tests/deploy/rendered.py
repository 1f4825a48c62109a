"""What must hold for every rendering of the chart: MANIFESTS [LONGSHORE_BINARY].

With a binary, `longshore check` gets the container's own environment and the tenants file from the Secret, and
then a broken tenants file, which it has to refuse.
"""

import base64
import os
import re
import subprocess
import sys
import tempfile

import yaml


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", duration).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


def hardened(pod, container):
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert container["resources"]["requests"] and container["resources"]["limits"]["memory"]
    assert not any("subPath" in mount for mount in container["volumeMounts"])


def consistent(documents, pod, container, env):
    drain = seconds(env["LONGSHORE_SHUTDOWN_DELAY"]) + seconds(env["LONGSHORE_SHUTDOWN_GRACE"])
    assert pod["terminationGracePeriodSeconds"] > drain
    assert not any(re.match(r"LONGSHORE_(PORT|SERVICE_)", name) for name in env)
    assert int(env["LONGSHORE_REPLICAS"]) >= documents["Deployment"]["spec"].get("replicas", 1)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert env["LONGSHORE_LISTEN_ADDR"].endswith(f":{ports['grpc']}")
    assert env["LONGSHORE_HEALTH_ADDR"].endswith(f":{ports['health']}")
    assert container["startupProbe"]["grpc"]["port"] == ports["health"]
    assert container["readinessProbe"]["grpc"]["port"] == ports["health"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "health"}
    labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (documents["Service"]["spec"]["selector"],
                     documents["Deployment"]["spec"]["selector"]["matchLabels"],
                     documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]):
        assert selector.items() <= labels.items()
    assert [port["targetPort"] for port in documents["Service"]["spec"]["ports"]] == ["grpc"]
    assert documents["ServiceAccount"]["automountServiceAccountToken"] is False
    mounted = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    assert documents["Secret"]["metadata"]["name"] in mounted


def check(binary, env, tenants):
    with tempfile.TemporaryDirectory() as folder:
        env = dict(env, LONGSHORE_TENANTS_FILE=f"{folder}/tenants.yaml")
        with open(env["LONGSHORE_TENANTS_FILE"], "w") as file:
            file.write(tenants)
        if "LONGSHORE_TLS_CERT" in env:
            env |= {"LONGSHORE_TLS_CERT": f"{folder}/tls.crt", "LONGSHORE_TLS_KEY": f"{folder}/tls.key"}
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-subj", "/CN=storage", "-days", "1", "-out", env["LONGSHORE_TLS_CERT"],
                 "-keyout", env["LONGSHORE_TLS_KEY"]], check=True, capture_output=True)
        return subprocess.run([binary, "check"], env=env, capture_output=True, text=True, timeout=60)


def main(manifests, binary=None):
    with open(manifests) as file:
        documents = {document["kind"]: document for document in yaml.safe_load_all(file) if document}
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    # What comes from another Secret is stood in for, by what can be an upload key.
    stand_in = base64.b64encode(bytes(32)).decode()
    env = {entry["name"]: entry.get("value", stand_in) for entry in container["env"]}
    hardened(pod, container)
    consistent(documents, pod, container, env)

    (tenants,) = documents["Secret"]["stringData"].values()
    assert env["LONGSHORE_TENANTS_FILE"].endswith("/" + next(iter(documents["Secret"]["stringData"])))
    assert "tenants" in yaml.safe_load(tenants)
    if binary:
        good = check(binary, env, tenants)
        assert good.returncode == 0, f"longshore check refuses the rendered settings:\n{good.stdout}{good.stderr}"
        bad = check(binary, env, tenants + "\nno_such_key: 1\n")
        assert bad.returncode == 64, f"longshore check accepts an unknown key: {bad.returncode}"
        assert "no_such_key" in bad.stdout + bad.stderr


if __name__ == "__main__":
    os.umask(0o077)
    main(*sys.argv[1:])
