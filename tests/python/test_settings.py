"""`longshore check`, `schema` and `token`: a JSON Schema validator that we did not write agrees with the server."""

import json
import re
import subprocess

import jsonschema
import pytest
import yaml

from support import process
from support.paths import ROOT


def run(binary, *arguments, **variables):
    """Runs a command. Returns its exit code, standard output and standard error."""
    done = subprocess.run([binary, *arguments], env=process.bare_environment(**variables), capture_output=True,
                          text=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def schema(binary):
    code, out, _ = run(binary, "schema")
    assert code == 0
    schema = json.loads(out)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture
def check(binary, schema, tmp_path):
    """Returns the verdict on a file that both the schema and `check --no-secrets` give."""
    def verdict(text):
        file = tmp_path / "tenants.yaml"
        file.write_text(text)
        code, _, problems = run(binary, "check", file, "--no-secrets")
        assert code in (0, 64), problems
        assert schema.is_valid(yaml.safe_load(text)) == (code == 0), f"{text}\n{problems}"
        return code == 0
    return verdict


def store(text, outside=""):
    return ("tenants: {acme: {stores: {default: {bucket: abc, credential_provider: {type: anonymous}, "
            f"{text}}}}}{outside}}}}}")


VALID = [
    "from_env: 'Yes'",
    "config: {aws_region: eu-west-1, checksum_algorithm: CRC32C, server_side_encryption: 'aws:kms', sse_kms_key_id: k}",
    "config: {endpoint_url: 'https://minio.example:9000/base', request_payer: requester, disable_tagging: '1'}",
    "config: {copy_if_not_exists: 'header:cf-copy-destination-if-none-match:*', conditional_put: Disabled}",
    "client_options: {connect_timeout: 500ms, pool_max_idle_per_host: 0, user_agent: quay/7}",
    "retry_config: {max_retries: 0, backoff: {base: 1.5, init_backoff: 1s}}",
    "transfer: {multipart_chunksize: 16777216, max_concurrency: '4', orphan_age: 7d, abort_orphans: true}",
    "prefix: prod",
]

INVALID = [
    "config: {regoin: eu-west-1}",
    "config: {disable_tagging: 1}",
    "config: {checksum_algorithm: md5}",
    "client_options: {connect_timeout: 5}",
    "client_options: {pool_max_idle_per_host: -1}",
    "retry_config: {backoff: {base: 0.5}}",
    "transfer: {part_size: 1048576}",
    "transfer: {max_concurrency: 101}",
    "credential_provider2: {type: env}",
    "config: []",
]


@pytest.mark.parametrize("text", VALID)
def test_valid_settings_satisfy_the_schema(check, text):
    assert check(store(text))


@pytest.mark.parametrize("text", INVALID)
def test_invalid_settings_violate_the_schema(check, text):
    assert not check(store(text))


def test_other_levels_satisfy_and_violate_the_schema(check):
    caller = "{name: a, token_sha256: '" + "ab" * 32 + "', access: [read, Bucket_Admin], prefixes: [x/]}"
    assert check(store("prefix: p", f", callers: [{caller}], limits: {{max_buffered: 64MiB}}, transfer: {{}}"))
    assert not check(store("prefix: p", ", callers: [{name: a, token_sha256: abc, access: [read]}]"))
    assert not check(store("prefix: p", ", limits: {max_in_flight: 0}"))
    assert check("x-any: [1, {}]\n" + store("prefix: p"))
    assert not check("y-any: 1\n" + store("prefix: p"))


def test_the_example_file_satisfies_the_schema(check):
    assert check((ROOT / "examples/tenants.yaml").read_text())


def test_every_yaml_file_in_the_documentation_satisfies_the_schema(schema):
    files = []
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        blocks = re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
        # Blocks with … are excerpts. tests/deploy/identity.py checks values of the chart.
        files += [block for block in blocks if re.search(r"^tenants:", block, re.MULTILINE) and "…" not in block
                  and not block.startswith("# values.yaml\n")]
    assert files
    for text in files:
        file = yaml.safe_load(text)
        # The chart's values have the tenants file in `tenants.config`.
        schema.validate(file["tenants"].get("config", file))


def test_the_schema_describes_every_setting(schema):
    def objects(node):
        if isinstance(node, dict):
            yield from [node] if "properties" in node else []
            for child in node.values():
                yield from objects(child)
        elif isinstance(node, list):
            for child in node:
                yield from objects(child)
    described = [value for node in objects(schema.schema) for value in node["properties"].values()]
    assert len(described) > 60 and all(value.get("description") for value in described)


def test_a_new_token_grants_what_the_tenants_file_says(binary, moto_bucket, serve):
    code, out, _ = run(binary, "token")
    assert code == 0
    token, digest = re.fullmatch(r'token: (longshore_\S+)\ntoken_sha256: "([0-9a-f]{64})"\n', out).groups()
    caller = {"name": "new", "token_sha256": digest, "access": ["read", "write", "list", "delete"]}
    server = serve({"acme": {"callers": [caller], "stores": {"default": moto_bucket.store()}}}, AUTH="required")
    server.client("acme", token).put("key", b"by the new token")
    assert moto_bucket.keys() == ["key"]


def test_a_file_argument_takes_the_place_of_the_variable(binary, tmp_path):
    file = tmp_path / "tenants.yaml"
    file.write_text(store("prefix: p"))
    code, out, problems = run(binary, "check", file, LONGSHORE_TENANTS_FILE="/nowhere")
    assert (code, problems) == (0, "") and "1 tenant, 1 store" in out
    assert run(binary, "check", LONGSHORE_TENANTS_FILE="/nowhere")[0] == 64


def test_values_that_look_like_variables_are_warned_of(binary, tmp_path):
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: {acme: {stores: {default: {bucket: abc, config: "
                    "{access_key_id: '${AWS_KEY}', secret_access_key: x}}}}}")
    code, out, problems = run(binary, "check", file)
    assert code == 0 and "1 tenant" in out
    assert problems.startswith(f"warning: {file}:1: tenants.acme.stores.default.config.access_key_id: ")
    assert "{env: NAME}" in problems and "AWS_KEY" not in problems


def test_hostile_files_are_rejected_quickly(binary, tmp_path):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
    for text in (bomb, "- " * 1_000_000, "[" * 1_000_000, "{a: " * 1_000_000, "? " * 1_000_000, "a: *a", "\0"):
        file = tmp_path / "tenants.yaml"
        file.write_text(text)
        code, _, problems = run(binary, "check", file)
        assert code == 64 and problems.startswith(f"{file}:"), problems


def test_an_untrusted_file_gets_nothing_of_the_servers_own(binary, tmp_path):
    (tmp_path / "tenants").mkdir()
    own = tmp_path / "tenants/secret"
    own.write_text("of-acme")
    (tmp_path / "tenants/link").symlink_to("/etc/passwd")
    file = tmp_path / "tenants.yaml"
    identity = {"AWS_ACCESS_KEY_ID": "SERVERID", "AWS_SECRET_ACCESS_KEY": "of-the-server", "AWS_ROLE_ARN": "",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}

    def verdict(text, trusted):
        file.write_text(f"tenants: {{acme: {{stores: {{default: {{bucket: abc, {text}}}}}}}}}")
        code, _, problems = run(binary, "check", LONGSHORE_TENANTS_FILE=str(file), LONGSHORE_TENANTS_TRUSTED=trusted, **identity)
        assert "of-the-server" not in problems
        return code, problems

    keys = "config: {{access_key_id: a, secret_access_key: {}}}"
    for text, key in [
        ("from_env: true", "from_env"),
        ("credential_provider: {type: env}", "credential_provider.type"),
        ("credential_provider: {type: container}", "credential_provider"),
        ("credential_provider: {type: imds}", "credential_provider.type"),
        ("credential_provider: {type: default}", "credential_provider.type"),
        ("credential_provider: {type: process, command: 'true'}", "credential_provider.command"),
        (keys.format("{env: AWS_SECRET_ACCESS_KEY}"), "config.secret_access_key.env"),
        (keys.format("{file: /etc/hostname}"), "config.secret_access_key.file"),
    ]:
        assert verdict(text, "true") == (0, ""), text
        code, problems = verdict(text, "false")
        assert code == 64 and f"stores.default.{key}: " in problems and "LONGSHORE_TENANTS_TRUSTED=false" in problems, problems
    code, problems = verdict(keys.format(f"{{file: {tmp_path}/tenants/link}}"), "false")
    assert code == 64 and "leads out of" in problems
    assert verdict(keys.format(f"{{file: {own}}}"), "false") == (0, "")


def test_in_an_untrusted_folder_a_tenant_has_its_own_file_and_folder(binary, tmp_path):
    def write(name, secret):
        text = f"{{bucket: abc, config: {{access_key_id: a, secret_access_key: {{file: {secret}}}}}}}"
        (tmp_path / "tenants" / f"{name}.yaml").write_text(f"tenants: {{{name}: {{stores: {{default: {text}}}}}}}")
        (tmp_path / "tenants" / name).mkdir()
        (tmp_path / "tenants" / name / "secret").write_text("s")

    def check():
        variables = process.bare_environment(LONGSHORE_TENANTS_FILE="tenants", LONGSHORE_TENANTS_TRUSTED="false")
        done = subprocess.run([binary, "check"], env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout + done.stderr

    (tmp_path / "tenants").mkdir()
    write("acme", "tenants/acme/secret")
    write("globex", "tenants/globex/secret")
    code, out = check()
    assert code == 0 and "2 tenants, 2 stores" in out, out
    write("thief", "tenants/acme/secret")
    code, out = check()
    assert code == 64 and "tenants/thief.yaml:1: tenants.thief.stores.default.config.secret_access_key.file: " in out, out
    assert "put the file into tenants/thief" in out
