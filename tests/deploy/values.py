"""[LONGSHORE_BINARY]: checks that unusual but valid values render to manifests that Kubernetes and the server accept.

Also checks that invalid values are rejected with a message that names the value.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

import yaml

from manifests import CHART, ROOT, Refused, accepted, environment, judge, render

BASE = CHART / "ci/minimal-values.yaml"
LONG = "a" * 61 + "-" + "b" * 20
SPREAD = "{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}"


def pod(documents):
    return documents["Deployment"]["spec"]["template"]["spec"]


def account(documents):
    return documents["ServiceAccount"]


def volume(documents, name):
    (found,) = [volume for volume in pod(documents)["volumes"] if volume["name"] == name]
    return found


def mount(documents, name):
    (found,) = [mount for mount in pod(documents)["containers"][0]["volumeMounts"] if mount["name"] == name]
    return found


def labels(documents):
    return documents["Deployment"]["spec"]["template"]["metadata"]["labels"]


# The release, the values, and a condition on the manifests.
RENDERED = [
    ("rel", "audit: {log: stdout, wait: 1s, buffer: 64MiB}", lambda d: [
        environment(d)[f"LONGSHORE_AUDIT_{name}"] for name in ("LOG", "WAIT", "BUFFER")] == ["stdout", "1s", "64MiB"]),
    ("rel", "audit: {log: /audit/calls.log}\nextraVolumes: [{name: audit, emptyDir: {}}]\n"
        "extraVolumeMounts: [{name: audit, mountPath: /audit}]",
        lambda d: environment(d)["LONGSHORE_AUDIT_LOG"] == "/audit/calls.log"),
    ("rel", "audit: {log: null, wait: null, buffer: null}",
        lambda d: not any("AUDIT" in name for name in environment(d))),
    # Strings that consist of digits.
    ("12345", "{}", lambda d: d["Deployment"]["metadata"]["name"] == "12345-longshore"
        and d["Service"]["metadata"]["name"] == "svc-12345-longshore"),
    ("1e3", "{}", lambda d: labels(d)["app.kubernetes.io/instance"] == "1e3"),
    ("rel.1", "{}", lambda d: d["Service"]["metadata"]["name"] == "rel-1-longshore"),
    ("rel", 'nameOverride: "123"', lambda d: labels(d)["app.kubernetes.io/name"] == "123"),
    ("rel", 'fullnameOverride: "123"', lambda d: d["Secret"]["metadata"]["name"] == "123-tenants"),
    ("rel", 'fullnameOverride: "true"', lambda d: d["Service"]["metadata"]["name"] == "true"),
    ("rel", 'serviceAccount: {name: "123", annotations: {example.com/id: "123"}}',
        lambda d: pod(d)["serviceAccountName"] == "123"),
    ("rel", 'serviceAccount: {create: false, name: "123"}', lambda d: "ServiceAccount" not in d),
    # An issuer whose tokens name their tenant.
    ("rel", "auth: {jwt: {issuer: 'https://i.example', audience: longshore, tenantClaim: /tenant, jwksUrl: 'https://i.example/k', "
        "jwksBearerTokenFile: /var/run/secrets/longshore-jwks/token, jwksCaFile: /var/run/secrets/longshore-jwks/ca.crt, "
        "leeway: 1m}}\nserviceAccount: {clusterKeys: true}",
        lambda d: {name.removeprefix("LONGSHORE_JWT_"): value for name, value in environment(d).items() if "_JWT_" in name} == {
            "ISSUER": "https://i.example", "AUDIENCE": "longshore", "TENANT_CLAIM": "/tenant", "JWKS_URL": "https://i.example/k",
            "JWKS_BEARER_TOKEN_FILE": "/var/run/secrets/longshore-jwks/token",
            "JWKS_CA_FILE": "/var/run/secrets/longshore-jwks/ca.crt", "LEEWAY": "1m"}),
    # Operators with certificates.
    ("rel", "tls: {existingSecret: a, clientCA: {existingSecret: b}}\n"
        "admin: {listenAddress: 0.0.0.0, sans: [ops.internal, 'spiffe://td/ops']}",
        lambda d: environment(d)["LONGSHORE_ADMIN_SANS"] == "ops.internal,spiffe://td/ops"),
    # The identity of the pods.
    ("rel", "{}", lambda d: account(d)["automountServiceAccountToken"] is False
        and pod(d)["automountServiceAccountToken"] is False and "annotations" not in account(d)["metadata"]
        and not any("projected" in volume for volume in pod(d)["volumes"])),
    ("rel", "serviceAccount: {automount: true, annotations: {eks.amazonaws.com/role-arn: 'arn:aws:iam::1:role/r'}}",
        lambda d: account(d)["automountServiceAccountToken"] is True and pod(d)["automountServiceAccountToken"] is True
        and account(d)["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"}),
    ("rel", "serviceAccount: {create: false, name: mine, tokens: [{name: aws, audience: sts.amazonaws.com, "
        "expirationSeconds: 86400}, {name: '1', audience: '2'}]}",
        lambda d: volume(d, "tokens")["projected"]["sources"] == [
            {"serviceAccountToken": {"path": "aws", "audience": "sts.amazonaws.com", "expirationSeconds": 86400}},
            {"serviceAccountToken": {"path": "1", "audience": "2", "expirationSeconds": 3600}}]
        and mount(d, "tokens") == {"name": "tokens", "mountPath": "/var/run/secrets/longshore", "readOnly": True}
        and pod(d)["serviceAccountName"] == "mine"),
    ("rel", "serviceAccount: {clusterKeys: true, tokens: [{name: aws, audience: sts.amazonaws.com}]}",
        lambda d: mount(d, "jwks")["mountPath"] == "/var/run/secrets/longshore-jwks"
        and mount(d, "tokens")["mountPath"] == "/var/run/secrets/longshore"),
    ("rel", "extraEnv: [{name: AWS_REGION, value: eu-west-1}, "
        "{name: AWS_ENDPOINT_URL_STS, value: 'https://sts.eu-west-1.amazonaws.com'}]",
        lambda d: environment(d)["AWS_REGION"] == "eu-west-1"
        and environment(d)["AWS_ENDPOINT_URL_STS"] == "https://sts.eu-west-1.amazonaws.com"),
    ("rel", "extraVolumes: [{name: s, projected: {sources: [{serviceAccountToken: {path: t, audience: a, "
        "expirationSeconds: 600}}, {secret: {name: x, items: [{key: k, path: acme/k}]}}]}}]\n"
        "extraVolumeMounts: [{name: s, mountPath: /etc/longshore/tenants/tenants/acme, readOnly: true}]\ntenants: {trusted: false}",
        lambda d: mount(d, "s")["mountPath"] == "/etc/longshore/tenants/tenants/acme"
        and environment(d)["LONGSHORE_TENANTS_TRUSTED"] == "false"),
    ("rel", 'tls: {existingSecret: "123", certKey: "1", keyKey: "2"}',
        lambda d: pod(d)["volumes"][1]["secret"]["secretName"] == "123"),
    ("rel", 'tls: {existingSecret: a, clientCA: {existingSecret: "1", key: "2"}, clientCRL: {existingConfigMap: "3"}}',
        lambda d: volume(d, "client-ca")["secret"] == {"secretName": "1", "defaultMode": 0o440}
        and volume(d, "client-crl")["configMap"] == {"name": "3", "defaultMode": 0o440}
        and environment(d)["LONGSHORE_TLS_CLIENT_CA"] == mount(d, "client-ca")["mountPath"] + "/2"
        and environment(d)["LONGSHORE_TLS_CLIENT_CRL"] == mount(d, "client-crl")["mountPath"] + "/ca.crl"),
    ("rel", 'uploads: {existingSecret: "123", key: "1"}', None),
    ("rel", 'tenants: {key: "123"}', lambda d: list(d["Secret"]["stringData"]) == ["123"]),
    ("rel", 'priorityClassName: "1"', lambda d: pod(d)["priorityClassName"] == "1"),
    ("rel", 'imagePullSecrets: [{name: "1"}]', None),
    ("rel", 'image: {repository: "123", tag: "1.0"}', lambda d: pod(d)["containers"][0]["image"] == "123:1.0"),
    ("rel", 'podLabels: {team: "1"}\npodAnnotations: {id: "1", on: "true"}\nnodeSelector: {zone: "1"}', None),
    ("rel", 'service: {annotations: {id: "1"}, appProtocol: "1"}', None),
    ("rel", 'extraEnv: [{name: A, value: "1"}, {name: B, valueFrom: {secretKeyRef: {name: "1", key: "2"}}}]', None),
    ("rel", 'tolerations: [{key: "1", value: "1"}]', None),
    ("rel", 'extraVolumes: [{name: "1", secret: {secretName: "2"}}]\nextraVolumeMounts: [{name: "1", mountPath: /1}]', None),
    ("rel", "tenants: {config: {tenants: {'123': {limits: {max_buffered: 67108864}, "
        "stores: {default: {bucket: '123', prefix: null, credential_provider: {type: anonymous}}}}}}}", None),
    # Long names are truncated, and end in a letter or digit.
    ("r" * 53, f"nameOverride: {LONG}", lambda d: len(d["Service"]["metadata"]["name"]) <= 63),
    ("rel", f"fullnameOverride: {LONG}", lambda d: d["Service"]["metadata"]["name"] == "a" * 61 + "-b"),
    ("rel", f"fullnameOverride: {LONG.replace('b', '-')}c", lambda d: d["Service"]["metadata"]["name"] == "a" * 61),
    ("rel", f"fullnameOverride: '{'1' * 59}-{'a' * 20}'", None),
    # Set twice.
    ("rel", "extraEnv: [{name: LONGSHORE_LOG, value: debug}]", lambda d: environment(d)["LONGSHORE_LOG"] == "debug"),
    ("rel", "extraEnv: [{name: LONGSHORE_REPLICAS, value: '7'}, {name: OTHER, value: ''}]",
        lambda d: environment(d)["LONGSHORE_REPLICAS"] == "7"),
    ("rel", "extraEnv: [{name: LONGSHORE_UPLOAD_KEY, valueFrom: {secretKeyRef: {name: s, key: k}}}]\n"
        "uploads: {existingSecret: other}", None),
    ("rel", "podLabels: {app.kubernetes.io/version: '7', app.kubernetes.io/name: longshore}",
        lambda d: labels(d)["app.kubernetes.io/version"] == "7"),
    ("rel", "podAnnotations: {note: x, kubectl.kubernetes.io/default-container: x}",
        lambda d: d["Deployment"]["spec"]["template"]["metadata"]["annotations"]["note"] == "x"),
    ("rel", "server: {reloadInterval: 30s}", lambda d: environment(d)["LONGSHORE_RELOAD_INTERVAL"] == "30s"),
    # The admin listener.
    ("rel", "{}", lambda d: environment(d)["LONGSHORE_ADMIN_ADDR"] == "127.0.0.1:9091"
        and [port["name"] for port in pod(d)["containers"][0]["ports"]] == ["grpc", "health"]),
    ("rel", "admin: {listenAddress: '::', existingSecret: '123', key: '1'}\nports: {admin: 9999}",
        lambda d: environment(d)["LONGSHORE_ADMIN_ADDR"] == "[::]:9999"
        and pod(d)["containers"][0]["ports"][2] == {"name": "admin", "containerPort": 9999, "protocol": "TCP"}),
    # Numbers.
    ("rel", "replicaCount: 10000", lambda d: d["Deployment"]["spec"]["replicas"] == 10000),
    ("rel", "replicaCount: 0", lambda d: environment(d)["LONGSHORE_REPLICAS"] == "1"),
    ("rel", "podSecurityContext: {runAsUser: 1000650000, fsGroup: null}",
        lambda d: pod(d)["securityContext"]["runAsUser"] == 1000650000 and "fsGroup" not in pod(d)["securityContext"]),
    ("rel", "podDisruptionBudget: {maxUnavailable: 2147483647}", None),
    ("rel", "podDisruptionBudget: {maxUnavailable: 0}", lambda d: d["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 0),
    ("rel", "podDisruptionBudget: {maxUnavailable: 100%}", None),
    ("rel", "resources: {requests: {cpu: 1, memory: 1073741824}, limits: {cpu: 1.5, memory: 2G, ephemeral-storage: 1Gi}}", None),
    ("rel", "server: {maxConcurrentStreams: 1000000, memoryBudget: 268435456, maxMessageBytes: 8 MiB}",
        lambda d: environment(d)["LONGSHORE_MAX_CONCURRENT_STREAMS"] == "1000000"),
    ("rel", "server: {listenAddress: '::'}", lambda d: environment(d)["LONGSHORE_LISTEN_ADDR"] == "[::]:50051"),
    # Maps that are merged with others.
    ("rel", "topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, "
        "labelSelector: {matchLabels: {a: b}}}]",
        lambda d: pod(d)["topologySpreadConstraints"][0]["labelSelector"] == {"matchLabels": {"a": "b"}}),
    ("rel", f"topologySpreadConstraints: [{SPREAD}]",
        lambda d: len(pod(d)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]) == 2),
    ("rel", "affinity: {podAffinity: null, podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
        "[{topologyKey: zone, labelSelector: {matchExpressions: [{key: a, operator: Exists}]}}]}}", None),
    ("rel", "extraVolumes: [{name: s, emptyDir: {}}]\nextraVolumeMounts: [{name: s, mountPath: /a}, {name: tenants, mountPath: /b}]",
        None),
    ("rel", "podAnnotations: {a: null, b: c}\npodLabels: {a: null}\nresources: {limits: {memory: null}}",
        lambda d: "a" not in labels(d)),
]

# A part of the message, and the values.
REFUSED = [
    ("/fullnameOverride", "fullnameOverride: 123"),
    ("/fullnameOverride", "fullnameOverride: My_Name"),
    ("/nameOverride", "nameOverride: a."),
    ("/service/port", "service: {port: '50051'}"),
    ("/ports/grpc", "ports: {grpc: '50051'}"),
    ("/replicaCount", "replicaCount: 10001"),
    ("/image/tag", "image: {tag: 1.0}"),
    ("/tls/existingSecret", "tls: {existingSecret: 123}"),
    ("/tls/certKey", "tls: {certKey: ..}"),
    ("/tls/clientCA", "tls: {existingSecret: a, clientCA: {secret: b}}"),
    ("requires TLS: set tls.existingSecret", "tls: {clientCA: {existingSecret: a}}"),
    ("requires tls.clientCA", "tls: {existingSecret: a, clientCRL: {existingSecret: b}}"),
    ("both existingSecret and existingConfigMap",
        "tls: {existingSecret: a, clientCA: {existingSecret: b, existingConfigMap: c}}"),
    ("/priorityClassName", "priorityClassName: 1"),
    ("/podLabels/a", "podLabels: {a: 1}"),
    ("invalid propertyName 'a b'", "podLabels: {'a b': c}"),
    ("/podLabels/a", "podLabels: {a: 'b c'}"),
    ("/podAnnotations/a", "podAnnotations: {a: true}"),
    ("/nodeSelector/a", "nodeSelector: {a: 1}"),
    ("/extraEnv/0/value", "extraEnv: [{name: A, value: 1}]"),
    ("/extraEnv/0/name", "extraEnv: [{name: 1A, value: a}]"),
    ("/extraEnv/0/name", "extraEnv: [{name: 1, value: a}]"),
    ("/extraEnv/0", "extraEnv: [{name: A, vale: a}]"),
    ("extraEnv contains A twice", "extraEnv: [{name: A, value: a}, {name: A, value: b}]"),
    ("server.listenAddress and ports.grpc", "extraEnv: [{name: LONGSHORE_LISTEN_ADDR, value: '0.0.0.0:1'}]"),
    ("admin.listenAddress and ports.admin", "extraEnv: [{name: LONGSHORE_ADMIN_ADDR, value: '0.0.0.0:1'}]"),
    ("set admin.existingSecret to a Secret", "admin: {listenAddress: 0.0.0.0}"),
    ("admin.sans requires tls.clientCA", "tls: {existingSecret: a}\nadmin: {sans: [ops.internal]}"),
    ("/admin/sans/0", "admin: {sans: ['*.internal']}"),
    ("ports.admin is 9090, which is also", "ports: {admin: 9090}"),
    ("shutdown.grace", "extraEnv: [{name: LONGSHORE_SHUTDOWN_GRACE, value: 10m}]"),
    ("auth.jwt.tenantClaim is not set", "auth: {jwt: {issuer: a, audience: b, jwksUrl: 'https://c'}}"),
    ("/auth/jwt/jwksUrl", "auth: {jwt: {jwksUrl: 'http://c'}}"),
    ("/auth/jwt/tenantClaim", "auth: {jwt: {tenantClaim: tenant}}"),
    ("/extraEnvFrom/0", "extraEnvFrom: [{secretRef: {name: a}, configMapRef: {name: b}}]"),
    ("which selects the release's pods", "podLabels: {app.kubernetes.io/name: other}"),
    ("/serviceAccount/automount", "serviceAccount: {automount: 'no'}"),
    ("/serviceAccount/clusterKeys", "serviceAccount: {clusterKeys: 'yes'}"),
    ("/serviceAccount/annotations/a", "serviceAccount: {annotations: {a: 1}}"),
    ("additional properties 'annotation' not allowed", "serviceAccount: {annotation: {}}"),
    ("/serviceAccount/tokens/0", "serviceAccount: {tokens: [{name: a}]}"),
    ("/serviceAccount/tokens/0/name", "serviceAccount: {tokens: [{name: a/b, audience: a}]}"),
    ("/serviceAccount/tokens/0/audience", "serviceAccount: {tokens: [{name: a, audience: ''}]}"),
    ("/serviceAccount/tokens/0/expirationSeconds", "serviceAccount: {tokens: [{name: a, audience: a, expirationSeconds: 60}]}"),
    ("serviceAccount.tokens contains a twice", "serviceAccount: {tokens: [{name: a, audience: a}, {name: a, audience: b}]}"),
    ("the name tokens is already in use", "extraVolumes: [{name: tokens, emptyDir: {}}]"),
    ("the name jwks is already in use", "extraVolumes: [{name: jwks, emptyDir: {}}]"),
    ("/tenants/trusted", "tenants: {trusted: 'false'}"),
    ("/extraVolumes/0/projected/sources/0",
        "extraVolumes: [{name: a, projected: {sources: [{serviceAccountToken: {path: t, audiences: [a]}}]}}]"),
    ("/extraVolumes/0", "extraVolumes: [{name: a, emptyDir: {}, hostPath: {path: /}}]"),
    ("the name tenants is already in use", "extraVolumes: [{name: tenants, emptyDir: {}}]"),
    ("the name a is already in use", "extraVolumes: [{name: a, emptyDir: {}}, {name: a, emptyDir: {}}]"),
    ("has no volume named a", "extraVolumeMounts: [{name: a, mountPath: /a}]"),
    ("already mounted at /etc/longshore/tenants", "extraVolumeMounts: [{name: tenants, mountPath: /etc/longshore/tenants}]"),
    ("/tolerations/0/value", "tolerations: [{key: a, value: 1}]"),
    ("/tolerations/0/value", "tolerations: [{key: a, operator: Exists, value: b}]"),
    ("zone with DoNotSchedule twice", f"topologySpreadConstraints: [{SPREAD}, {SPREAD}]"),
    ("/affinity", "affinity: {nodeAfinity: {}}"),
    ("/podSecurityContext", "podSecurityContext: {privileged: true}"),
    ("/resources/limits/memory", "resources: {limits: {memory: 1 Gi}}"),
    ("must not be larger than resources.limits.memory", "resources: {limits: {memory: 128Mi}}"),
    ("must not be larger than resources.limits.cpu", "resources: {limits: {cpu: 200m}}"),
    ("/podDisruptionBudget/maxUnavailable", "podDisruptionBudget: {maxUnavailable: '1'}"),
    ("/podDisruptionBudget/maxUnavailable", "podDisruptionBudget: {maxUnavailable: 101%}"),
    ("larger than autoscaling.maxReplicas", "autoscaling: {enabled: true, minReplicas: 11}"),
    ("service.headless requires service.type ClusterIP", "service: {headless: true, type: NodePort}"),
    ("ports.grpc and ports.health are both 9090", "ports: {grpc: 9090}"),
    ("/server/listenAddress", "server: {listenAddress: localhost}"),
    ("/server/messageTimeout", "server: {messageTimeout: 0s}"),
    ("/server/memoryWait", "server: {memoryWait: 30}"),
    ("/server/keepaliveTimeout", "server: {keepaliveTimeout: unlimited}"),
    ("/server/maxConnectionAge", "server: {maxConnectionAge: never}"),
    ("/server/maxConnections", "server: {maxConnections: 0}"),
    ("/server/storeIdleTimeout", "server: {storeIdleTimeout: 500ms}"),
    ("server.maxMessageBytes is 1KiB, must be from 64KiB to 1GiB", "server: {maxMessageBytes: 1KiB}"),
    ("/audit/log", "audit: {log: audit.log}"),
    ("/audit/wait", "audit: {log: stdout, wait: 5}"),
    ("audit.buffer is 1KiB", "audit: {log: stdout, buffer: 1KiB}"),
    ("where no volume is mounted for writing", "audit: {log: /audit/calls.log}"),
    ("where no volume is mounted for writing", "audit: {log: /audit/calls.log}\nextraVolumes: [{name: a, emptyDir: {}}]\n"
        "extraVolumeMounts: [{name: a, mountPath: /audit, readOnly: true}]"),
    ("server.memoryBudget is 8MiB", "server: {memoryBudget: 8MiB}"),
]

# For each chart value that sets a variable of the server: the variable, and an example.
SETTINGS = {
    "maxMessageBytes": ("MAX_MESSAGE_BYTES", "8MiB"),
    "messageTimeout": ("MESSAGE_TIMEOUT", "90s"),
    "memoryBudget": ("MEMORY_BUDGET", "512MiB"),
    "memoryWait": ("MEMORY_WAIT", "10m"),
    "uploadIdleTimeout": ("UPLOAD_IDLE_TIMEOUT", "1500ms"),
    "maxInFlight": ("MAX_IN_FLIGHT", 20000),
    "tenantLimits": ("TENANT_LIMITS", {"max_in_flight": 200}),
    "reloadInterval": ("RELOAD_INTERVAL", "30s"),
    "metricsTenants": ("METRICS_TENANTS", "acme,zeta"),
    "storeIdleTimeout": ("STORE_IDLE_TIMEOUT", "30m"),
    "maxConcurrentStreams": ("MAX_CONCURRENT_STREAMS", 200),
    "maxConnections": ("MAX_CONNECTIONS", 5000),
    "maxConnectionAge": ("MAX_CONNECTION_AGE", "unlimited"),
    "maxConnectionAgeGrace": ("MAX_CONNECTION_AGE_GRACE", "5m"),
    "maxConnectionIdle": ("MAX_CONNECTION_IDLE", "2h"),
    "keepaliveInterval": ("KEEPALIVE_INTERVAL", "30s"),
    "keepaliveTimeout": ("KEEPALIVE_TIMEOUT", "10s"),
    "handshakeTimeout": ("HANDSHAKE_TIMEOUT", "5s"),
    "reflection": ("REFLECTION", False),
    "log": ("LOG", "warn,longshore=debug"),
    "logFormat": ("LOG_FORMAT", "text"),
}
# Variables that the chart derives from other values.
DERIVED = {"LISTEN_ADDR", "HEALTH_ADDR", "ADMIN_ADDR", "ADMIN_TOKEN", "ADMIN_SANS", "TENANTS_FILE", "TENANTS_TRUSTED", "TLS_CERT", "TLS_KEY",
           "TLS_CLIENT_CA", "TLS_CLIENT_CRL", "AUTH", "ALLOW_INSECURE", "AUDIT_LOG", "AUDIT_WAIT", "AUDIT_BUFFER", "UPLOAD_KEY",
           "REPLICAS", "SHUTDOWN_DELAY", "SHUTDOWN_GRACE", "JWT_ISSUER", "JWT_AUDIENCE", "JWT_TENANT_CLAIM", "JWT_JWKS_URL",
           "JWT_JWKS_BEARER_TOKEN_FILE", "JWT_JWKS_CA_FILE", "JWT_LEEWAY"}


def paths(values, at=()):
    """Yields the path of every key in values.yaml."""
    for key, value in values.items():
        yield (*at, key)
        if isinstance(value, dict):
            yield from paths(value, (*at, key))


def with_values(release, text):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "values.yaml").write_text(text)
        return render(release, "--values", BASE, "--values", f"{folder}/values.yaml")


def good(binary, release, text, holds=None):
    try:
        documents = with_values(release, text)
        judge(documents)
        assert holds is None or holds(documents)
        if binary:
            accepted(binary, documents)
    except Exception as error:
        raise AssertionError(f"release {release}, values {text}: {error}") from error


def refused(message, text):
    try:
        with_values("rel", text)
    except Refused as error:
        assert message in str(error), f"{text}: the message does not contain {message!r}:\n{error}"
    else:
        raise AssertionError(f"{text}: accepted, but must be rejected")


def nulls(binary):
    """Checks that null is accepted for every key, unless no tenants would be left."""
    keys = list(paths(yaml.safe_load((CHART / "values.yaml").read_text())))
    for path in [*keys, ("global",)]:
        text = "null"
        for key in reversed(path):
            text = f"{{{key}: {text}}}"
        if path in {("tenants",), ("tenants", "config"), ("tenants", "config", "tenants")}:
            refused("no tenants are defined", text)
        else:
            good(binary, "rel", text)


def digits():
    """Checks that each key with a string value accepts a string of digits, or that the schema rejects it."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    for path in paths(defaults):
        value = defaults
        for key in path:
            value = value[key]
        if not isinstance(value, str):
            continue
        text = '"123"'
        for key in reversed(path):
            text = f"{{{key}: {text}}}"
        try:
            documents = with_values("rel", text)
        except Refused as error:
            assert path[-1] in str(error), f"{text}: {error}"
        else:
            judge(documents)


def settings(binary):
    """Checks that the chart has a value for each variable of the server, and leaves it unset if the value is null."""
    shown = re.findall(r"^\| `LONGSHORE_([A-Z_]+)`", (ROOT / "docs/CONFIG-REFERENCE.md").read_text(), re.MULTILINE)
    assert set(shown) == {name for name, _ in SETTINGS.values()} | DERIVED
    text = yaml.safe_dump({"server": {key: value for key, (_, value) in SETTINGS.items()}})

    def shown_in_variable(value):
        return json.dumps(value, separators=(",", ":")) if isinstance(value, dict) else str(value).replace("False", "false")

    def all_set(documents):
        env = environment(documents)
        return all(env[f"LONGSHORE_{name}"] == shown_in_variable(value) for name, value in SETTINGS.values())

    good(binary, "rel", text, all_set)
    unset = {f"LONGSHORE_{name}" for name, _ in SETTINGS.values()}
    text = yaml.safe_dump({"server": {key: None for key in SETTINGS}})
    good(binary, "rel", text, lambda documents: not unset & set(environment(documents)))


def main(binary=None):
    good(binary, "rel", "{}")
    for release, text, holds in RENDERED:
        good(binary, release, text, holds)
    for message, text in REFUSED:
        refused(message, text)
    nulls(binary)
    digits()
    settings(binary)
    print(f"{len(RENDERED)} rendered, {len(REFUSED)} rejected")


if __name__ == "__main__":
    main(*sys.argv[1:])
