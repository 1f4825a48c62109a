"""MANIFESTS [LONGSHORE_BINARY]: checks what must hold for every rendering of the chart.

With a binary, also runs `longshore check` with the container's environment: with the tenants file from the Secret,
which it must accept, and with an invalid tenants file, which it must reject.
"""

import re
import sys

import yaml

from manifests import accepted, check, environment, judge, parse


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
    assert [port["targetPort"] for port in documents["Service"]["spec"]["ports"]] == ["grpc"]
    assert documents["ServiceAccount"]["automountServiceAccountToken"] is False
    mounted = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    assert documents["Secret"]["metadata"]["name"] in mounted


def main(manifests, binary=None):
    with open(manifests) as file:
        documents = parse(file.read())
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    env = environment(documents)
    judge(documents)
    hardened(pod, container)
    consistent(documents, pod, container, env)

    (tenants,) = documents["Secret"]["stringData"].values()
    assert env["LONGSHORE_TENANTS_FILE"].endswith("/" + next(iter(documents["Secret"]["stringData"])))
    assert "tenants" in yaml.safe_load(tenants)
    if binary:
        accepted(binary, documents)
        bad = check(binary, documents, tenants + "\nno_such_key: 1\n")
        assert bad.returncode == 64, f"longshore check accepts an unknown key: {bad.returncode}"
        assert "no_such_key" in bad.stdout + bad.stderr


if __name__ == "__main__":
    main(*sys.argv[1:])
