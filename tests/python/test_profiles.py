"""Profiles of the AWS SDKs' shared files: Longshore finds the same credentials as botocore."""

import json

import botocore.session
import grpc
import pytest

import profile_cases
from support.aws import World, botocore_keys
from support.wait import eventually


@pytest.fixture
def world():
    running = World()
    yield running
    running.close()


@pytest.fixture(scope="module")
def shared_world():
    running = World()
    yield running
    running.close()


def laid(case, folder, url):
    """Writes the files of a case into a folder. Returns the environment."""
    def filled(text):
        return text.replace("{folder}", str(folder)).replace("{url}", url)

    folder.mkdir()
    for name, content in {"config": case.config, "credentials": case.credentials, **case.files}.items():
        if content is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else filled(content).encode())
    variables = {
        "HOME": str(folder), "AWS_CONFIG_FILE": "{folder}/config", "AWS_SHARED_CREDENTIALS_FILE": "{folder}/credentials",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1",
        **{f"AWS_ENDPOINT_URL_{service}": "{url}" for service in ("STS", "SSO", "SSO_OIDC")}, **case.variables}
    return {name: filled(value) for name, value in variables.items() if value}


@pytest.mark.parametrize("case", profile_cases.CASES, ids=lambda case: case.name)
def test_the_same_credentials_as_botocore(serve_store, shared_world, tmp_path, monkeypatch, case):
    world = shared_world
    expected = botocore_keys(monkeypatch, laid(case, tmp_path / "botocore", world.url), case.profile)
    assert (expected and expected[0]) == case.expected, "botocore"
    environment = laid(case, tmp_path / "longshore", world.url)
    world.keys.clear()
    try:
        server, client = serve_store(stores(world, [case.profile], kind=case.type), environment=environment)
        client.head("key", store="store0")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert case.expected is None, server.log.read_text()
    except AssertionError as error:
        # A problem that is found when the settings are read.
        assert "exited with 64" in str(error) and case.expected is None, error
    assert world.keys == ([expected] if expected else [])


def stores(world, profiles, kind="profile"):
    return {
        f"store{number}": {
            "url": "s3://bucket", "config": {"endpoint": world.url}, "client_options": {"allow_http": True},
            "retry_config": {"max_retries": 0}, "credential_provider": {"type": kind} if profile is None else {"type": kind, "profile": profile}}
        for number, profile in enumerate(profiles)}


def test_a_profile_sets_the_region_and_the_endpoint_as_for_boto3(serve_store, world, tmp_path, monkeypatch):
    case = profile_cases.Case("", "A", profile_cases.section(
        "profile a", profile_cases.keys("A"), region="eu-west-3", services="mine")
        + "[services mine]\ns3 =\n  endpoint_url = {url}\n", variables={"AWS_DEFAULT_REGION": ""})
    environment = laid(case, tmp_path / "home", world.url)
    store = stores(world, ["a"])["store0"]
    del store["config"]
    _, client = serve_store({"default": store}, environment=environment)
    client.head("key")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    botocore.session.Session(profile="a").create_client("s3").head_object(Bucket="bucket", Key="key")
    ours, botocores = world.scopes
    assert ours == botocores == ("/bucket/key", "eu-west-3/s3")


def test_a_renewed_sso_token_is_stored_and_tokens_are_not_logged(serve_store, world, tmp_path):
    renewed = next(case for case in profile_cases.CASES if case.name == "SSO with a token that is renewed")
    environment = {**laid(renewed, tmp_path / "home", world.url), "LONGSHORE_LOG": "trace"}
    server, client = serve_store(stores(world, [None], kind="default"), environment=environment)
    client.head("key", store="store0")
    file = tmp_path / "home" / profile_cases.cached("s")
    stored = json.loads(file.read_text())
    assert (stored["accessToken"], stored["refreshToken"], stored["clientId"]) == ("renewed", "next", "c")
    assert file.stat().st_mode & 0o777 == 0o600
    server.stop()
    assert "renewed" in world.tokens and "renewed" not in server.log.read_text()


@pytest.mark.parametrize("profile, why", [
    ("missing", "the profile missing is in neither of"),
    ("loop", "need each other as source_profile"),
    ("mfa", "has mfa_serial"),
    ("sso", "the SSO token of mine does not exist"),
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
sso_account_id = 1
sso_role_name = R
[sso-session mine]
sso_start_url = https://start
sso_region = eu-west-1
[profile half]
aws_access_key_id = HALF
""")
    environment = {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
                   "HOME": str(tmp_path)}
    server, client = serve_store(stores(world, [profile]), environment=environment)
    with pytest.raises(grpc.RpcError) as failed:
        client.head("key", store="store0")
    assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    server.logged(why)
    assert not world.ids


def test_the_default_chain_does_not_change_the_identity_if_a_source_fails(serve_store, world, tmp_path):
    (tmp_path / "credentials").write_text(profile_cases.SHARED)
    environment = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"), "AWS_CONFIG_FILE": str(tmp_path / "none"),
                   "AWS_PROFILE": "typo", "AWS_EC2_METADATA_DISABLED": "true"}
    server, client = serve_store(stores(world, [None], kind="default"), environment=environment)
    with pytest.raises(grpc.RpcError) as failed:
        client.head("key", store="store0")
    assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    server.logged("the profile typo is in neither of")


def test_without_credentials_the_default_chain_names_every_place(serve_store, world, tmp_path):
    environment = {"AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "nothing"),
                   "BOTO_CONFIG": str(tmp_path / "boto"), "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"}
    server, client = serve_store(stores(world, [None], kind="default"), environment=environment)
    with pytest.raises(grpc.RpcError):
        client.head("key", store="store0")
    log = server.logged("no provider has credentials")
    for place in ["AWS_ACCESS_KEY_ID", str(tmp_path / "nothing"), str(tmp_path / "boto"), "http://127.0.0.1:1"]:
        assert place in log, place
