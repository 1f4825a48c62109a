"""Profiles of the AWS SDKs' shared files: Longshore finds the same credentials as botocore."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import botocore.session
import grpc
import pytest

ROLE = "arn:aws:iam::123456789012:role/{}"


class World:
    """An S3 server and an STS in one. It records the access key id of each S3 request. The credentials of a role show
    which role was assumed, and with which credentials."""

    def __init__(self):
        self.ids = []
        world = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def signer(self):
                found = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
                return found.group(1) if found else "TOKEN"

            def answer(self, status, body=b"", **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_HEAD(self):
                world.ids.append(self.signer())
                self.answer(200, ETag='"e"')

            def do_POST(self):
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                action, role = form["Action"][0], form["RoleArn"][0].rsplit("/", 1)[1]
                external = form.get("ExternalId", [""])[0]
                name = f"{role}{external}BY{self.signer()}"
                body = (f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
                        f"<AccessKeyId>{name}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
                        f"<Expiration>2199-01-01T00:00:00Z</Expiration></Credentials></{action}Result></{action}Response>")
                self.answer(200, body.encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def world():
    running = World()
    yield running
    running.server.shutdown()
    running.server.server_close()


CONFIG = """
# A comment
[default]
region = eu-west-1
aws_access_key_id = CONFIGDEFAULT
aws_secret_access_key = s
s3 =
  addressing_style = path

[profile keys]
aws_access_key_id = CONFIGKEYS
aws_secret_access_key = s

[profile 'two words']
aws_access_key_id = TWOWORDS
aws_secret_access_key = s

[profile process]
credential_process = cat "{folder}/process out.json"
aws_access_key_id = CONFIGPROCESS
aws_secret_access_key = s

[profile process-and-keys]
credential_process = cat "{folder}/process out.json"

[profile role]
role_arn = arn:aws:iam::123456789012:role/ROLE
source_profile = keys
external_id = EXT

[profile chained]
role_arn = arn:aws:iam::123456789012:role/CHAINED
source_profile = role

[profile itself]
role_arn = arn:aws:iam::123456789012:role/ITSELF
source_profile = itself
aws_access_key_id = OWNKEYS
aws_secret_access_key = s

[profile over-both]
role_arn = arn:aws:iam::123456789012:role/OVERBOTH
source_profile = both-keys

[profile both-keys]
role_arn = arn:aws:iam::123456789012:role/NOTTHIS
source_profile = keys
  
aws_access_key_id = BASEKEYS
aws_secret_access_key = s

[profile indented]
  aws_access_key_id = INDENTED
  aws_secret_access_key = s

[profile environment]
role_arn = arn:aws:iam::123456789012:role/FROMENV
credential_source = Environment

[profile pod]
role_arn = arn:aws:iam::123456789012:role/POD
web_identity_token_file = {folder}/token
role_session_name = pods

[profile over-pod]
role_arn = arn:aws:iam::123456789012:role/OVERPOD
source_profile = pod
"""

CREDENTIALS = """
[default]
aws_access_key_id = SHAREDDEFAULT
aws_secret_access_key = s
aws_session_token = t

[process-and-keys]
aws_access_key_id = SHAREDPROCESS
aws_secret_access_key = s

[only-here]
aws_access_key_id = ONLYHERE
aws_secret_access_key = s
"""

PROFILES = ["default", "keys", "two words", "process", "process-and-keys", "role", "chained", "itself", "environment",
            "pod", "over-pod", "only-here", "over-both", "indented"]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "config").write_text(CONFIG.replace("{folder}", str(tmp_path)))
    (tmp_path / "credentials").write_text(CREDENTIALS)
    (tmp_path / "process out.json").write_text('{"Version": 1, "AccessKeyId": "PROCESS", "SecretAccessKey": "s"}')
    (tmp_path / "token").write_text("a.b.c")
    return {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}


def stores(world, profiles, kind="profile"):
    return {
        f"store{number}": {
            "url": "s3://bucket", "config": {"endpoint": world.url}, "client_options": {"allow_http": True},
            "retry_config": {"max_retries": 0}, "credential_provider": {"type": kind} if profile is None else {"type": kind, "profile": profile}}
        for number, profile in enumerate(profiles)}


def test_the_same_credentials_as_botocore(serve_store, world, files, monkeypatch):
    keys = {"AWS_ACCESS_KEY_ID": "ENVKEYS", "AWS_SECRET_ACCESS_KEY": "s"}
    variables = {**files, "AWS_ENDPOINT_URL_STS": world.url, "AWS_DEFAULT_REGION": "us-east-1"}
    _, client = serve_store(stores(world, PROFILES), environment={**variables, **keys})
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for number, profile in enumerate(PROFILES):
        client.head("key", store=f"store{number}")
        # botocore would take the keys of the environment first.
        with monkeypatch.context() as only:
            if profile == "environment":
                for name, value in keys.items():
                    only.setenv(name, value)
            session = botocore.session.Session(profile=profile)
            expected = session.get_credentials().get_frozen_credentials().access_key
        assert world.ids[-1] == expected, profile
    assert len(world.ids) == len(PROFILES)


@pytest.mark.parametrize("profile, why", [
    ("missing", "the profile missing is in neither of"),
    ("loop", "need each other as source_profile"),
    ("mfa", "has mfa_serial"),
    ("sso", "uses SSO"),
    ("half", "has aws_access_key_id, but no aws_secret_access_key"),
])
def test_a_profile_without_credentials_is_an_error_that_says_why(serve_store, world, tmp_path, profile, why):
    config = tmp_path / "config"
    config.write_text("""
[profile loop]
role_arn = arn:aws:iam::123456789012:role/A
source_profile = pool
[profile pool]
role_arn = arn:aws:iam::123456789012:role/B
source_profile = loop
[profile mfa]
role_arn = arn:aws:iam::123456789012:role/C
source_profile = loop
mfa_serial = arn:aws:iam::123456789012:mfa/me
[profile sso]
sso_session = mine
[profile half]
aws_access_key_id = HALF
""")
    environment = {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    server, client = serve_store(stores(world, [profile]), environment=environment)
    with pytest.raises(grpc.RpcError) as failed:
        client.head("key", store="store0")
    assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert why in server.log.read_text()
    assert not world.ids


def test_the_default_chain_looks_where_botocore_looks(serve_store, world, files, tmp_path, monkeypatch):
    boto = tmp_path / "boto.cfg"
    boto.write_text("[Credentials]\naws_access_key_id = BOTO2\naws_secret_access_key = s\n")
    nothing = {"AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
               "AWS_EC2_METADATA_DISABLED": "true", "BOTO_CONFIG": str(tmp_path / "none")}
    sts = {"AWS_ENDPOINT_URL_STS": world.url, "AWS_DEFAULT_REGION": "us-east-1"}
    irsa = {"AWS_ROLE_ARN": ROLE.format("IRSA"), "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token")}
    for variables, profile in [
        ({"AWS_ACCESS_KEY_ID": "ENVKEYS", "AWS_SECRET_ACCESS_KEY": "s", **files, **irsa}, "default"),
        ({**files, **irsa}, "default"),
        ({**files, **irsa}, "role"),
        (files, "keys"),
        ({"BOTO_CONFIG": str(boto)}, "default"),
    ]:
        environment = {**nothing, **sts, **variables}
        if profile != "default":
            environment["AWS_PROFILE"] = profile
        _, client = serve_store(stores(world, [None], kind="default"), environment=environment)
        client.head("key", store="store0")
        with monkeypatch.context() as only:
            for name, value in environment.items():
                only.setenv(name, value)
            expected = botocore.session.Session().get_credentials().get_frozen_credentials().access_key
        assert world.ids[-1] == expected, (variables, profile)


def test_the_default_chain_does_not_change_the_identity_if_a_source_fails(serve_store, world, files):
    environment = {**files, "AWS_PROFILE": "typo", "AWS_EC2_METADATA_DISABLED": "true"}
    server, client = serve_store(stores(world, [None], kind="default"), environment=environment)
    with pytest.raises(grpc.RpcError) as failed:
        client.head("key", store="store0")
    assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "the profile typo is in neither of" in server.log.read_text()


def test_without_credentials_the_default_chain_names_every_place(serve_store, world, tmp_path):
    environment = {"AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "nothing"),
                   "BOTO_CONFIG": str(tmp_path / "boto"), "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"}
    server, client = serve_store(stores(world, [None], kind="default"), environment=environment)
    with pytest.raises(grpc.RpcError):
        client.head("key", store="store0")
    log = server.log.read_text()
    for place in ["AWS_ACCESS_KEY_ID", str(tmp_path / "nothing"), str(tmp_path / "boto"), "http://127.0.0.1:1"]:
        assert place in log, place
