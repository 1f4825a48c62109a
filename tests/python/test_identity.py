"""The examples in docs/IDENTITY.md, served: which identity signs the requests to S3.

S3, STS and the agent of EKS Pod Identity are imitated by one server, which records how it is called.
"""

import json
import os
import re
from urllib.parse import parse_qs

import pytest
import yaml

from support.http_server import Handler, start
from support.paths import ROOT
from support.wait import eventually

ACCOUNT = "arn:aws:iam::111122223333:role/"
LATER = "2199-01-01T00:00:00Z"


class World:
    """S3, STS and the agent. The access key ids that it issues say how they were requested."""

    def __init__(self):
        self.ids, self.tokens = [], []
        world = self

        class Requests(Handler):
            def signer(self):
                found = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
                return found[1] if found else None

            def body(self):
                return self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()

            def do_PUT(self):
                self.body()
                world.ids.append(self.signer())
                self.answer(200, ETag='"e"')

            def do_GET(self):
                assert self.path == "/v1/credentials"
                world.tokens.append(self.headers["Authorization"])
                pod = {"AccessKeyId": "POD", "SecretAccessKey": "s", "Token": "t", "Expiration": LATER}
                self.answer(200, json.dumps(pod).encode())

            def do_POST(self):
                form = {name: value for name, [value] in parse_qs(self.body()).items()}
                tags = [f"{form[f'Tags.member.{n}.Key']}={form[f'Tags.member.{n}.Value']}"
                        for n in range(1, 9) if f"Tags.member.{n}.Key" in form]
                by = self.signer() or form["WebIdentityToken"]
                asked = [form["RoleArn"].rsplit("/", 1)[1], by, form.get("ExternalId", ""), *sorted(tags)]
                action = form["Action"]
                answer = (f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
                          f"<AccessKeyId>{'|'.join(asked)}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
                          f"<SessionToken>t</SessionToken><Expiration>{LATER}</Expiration></Credentials></{action}Result>"
                          f"</{action}Response>")
                self.answer(200, answer.encode())

        self.server, self.url = start(Requests)


@pytest.fixture
def world():
    world = World()
    yield world
    world.server.shutdown()
    world.server.server_close()


@pytest.fixture
def run(serve, world):
    """Serves the tenants file of a section, on this world. `paths` replaces those in the file."""

    def begin(title, paths=None, environment=None):
        page = (ROOT / "docs/IDENTITY.md").read_text()
        section = page.split(f"\n## {title}\n")[1].split("\n## ")[0]
        text = re.search(r"^```yaml\n(# tenants.yaml\n.*?)^```$", section, re.DOTALL | re.MULTILINE)[1]
        for path, place in (paths or {}).items():
            assert path in text
            text = text.replace(path, str(place))
        tenants = yaml.safe_load(text)["tenants"]
        for tenant in tenants.values():
            for store in tenant["stores"].values():
                store["config"]["endpoint"] = world.url
                store["client_options"] = {"allow_http": True}
                if store["credential_provider"]["type"] == "assume_role":
                    store["credential_provider"]["endpoint"] = world.url
        return serve(tenants, environment={"AWS_ENDPOINT_URL_STS": world.url, **(environment or {})})

    return begin


@pytest.fixture
def token(tmp_path):
    token = tmp_path / "token"
    token.write_text("TOKEN\n")
    return token


def test_the_roles_of_a_service_account(run, world, token):
    server = run("EKS: IAM roles for service accounts",
                 environment={"AWS_ROLE_ARN": ACCOUNT + "longshore", "AWS_WEB_IDENTITY_TOKEN_FILE": str(token)})
    server.client("acme").put("key", b"data")
    server.client("globex").put("key", b"data")
    assert world.ids == ["longshore|TOKEN|", "longshore-globex|TOKEN|"]


@pytest.fixture
def pod_identity(world, token):
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": world.url + "/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)}


def test_pod_identity(run, world, pod_identity):
    run("EKS Pod Identity", environment=pod_identity).client("acme").put("key", b"data")
    assert (world.ids, world.tokens) == (["POD"], ["TOKEN"])


def test_pod_identity_assumes_a_role_for_each_tenant(run, world, pod_identity):
    run("A role for each tenant", environment=pod_identity).client("acme").put("key", b"data")
    assert world.ids == ["longshore-acme|POD|acme-42|store=default|tenant=acme"]


def test_a_token_of_the_clusters_own_issuer(run, world, token):
    server = run("Clusters with their own OIDC issuer", {"/var/run/secrets/longshore/aws": token})
    server.client("acme").put("key", b"data")
    assert world.ids == ["longshore|TOKEN|"]


def test_keys_in_a_kubernetes_volume_are_rotated(run, world, tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()

    def write(version, key):
        """Replaces all files at once, as the kubelet does."""
        folder = volume / f"..{version}"
        folder.mkdir()
        (folder / "access_key_id").write_text(key)
        (folder / "secret_access_key").write_text("s")
        (volume / "..data_tmp").symlink_to(folder.name)
        os.replace(volume / "..data_tmp", volume / "..data")

    write("first", "OLD")
    for name in ("access_key_id", "secret_access_key"):
        (volume / name).symlink_to(f"..data/{name}")
    client = run("Keys from a secrets manager", {"/run/secrets/acme": volume}).client("acme")
    client.put("key", b"data")
    assert world.ids == ["OLD"]
    write("second", "NEW")

    def signs_with_the_new_key():
        client.put("key", b"data")
        return world.ids[-1] == "NEW"

    eventually("the new key is in use", signs_with_the_new_key, within=30)
