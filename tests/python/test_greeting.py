"""Runs the commands that `longshore demo` prints, exactly as printed."""

import json
import os
import re
import shlex
import subprocess
import urllib.request

import pytest
from botocore.session import Session

from support import s3
from support.paths import TOOLS


def printed(demo, command):
    """Returns the printed lines that begin with `command`, possibly with environment variables in front of it."""
    return [line.strip() for line in demo.greeting().splitlines()
            if re.match(rf"\s+(\w+=\S+ )*{command} ", line)]


def run(line):
    """Runs a line in a shell, and returns the JSON documents that it prints."""
    environment = {"PATH": f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    decoder, text, found = json.JSONDecoder(), done.stdout.strip(), []
    while text:
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:].lstrip()
    return found


def test_printed_grpcurl_commands(demo, demo_client):
    lines = printed(demo, "grpcurl")
    methods = [line.rsplit("/", 1)[1] for line in lines]
    assert {"Put", "Get", "List"} <= set(methods)
    answers = [(method, run(line)) for method, line in zip(methods, lines, strict=True)]

    answered = dict(answers)
    [put] = answered["Put"]
    assert put["meta"]["etag"] == s3_etag(demo_client, put["meta"]["key"])
    [get] = answered["Get"]
    assert get["info"]["meta"]["key"] == put["meta"]["key"]
    assert get["chunk"]["data"] == json.loads(shlex.split(lines[methods.index("Put")])[-3])["data"]
    [listed] = answered["List"]
    assert put["meta"]["key"] in [found["key"] for found in listed["objects"]]
    if "Copy" in answered:
        [copied] = answered["Copy"]
        assert copied["meta"]["etag"] == put["meta"]["etag"]
        assert demo_client.get(copied["meta"]["key"]).data == demo_client.get(put["meta"]["key"]).data


def s3_etag(client, key):
    return client.head(key).meta.etag


def test_reflection_describes_every_service(demo):
    grpcurl = str(TOOLS / "bin" / "grpcurl")

    def ask(*words):
        return subprocess.run([grpcurl, "-plaintext", demo.address, *words], capture_output=True, text=True,
                              timeout=30, check=True).stdout

    services = ask("list").split()
    assert {"longshore.v1.ObjectService", "longshore.v1.StoreService", "grpc.health.v1.Health"} <= set(services)
    for service in services:
        assert f"service {service.rsplit('.', 1)[1]}" in ask("describe", service), service
    assert "rpc Upload ( stream .longshore.v1.UploadRequest )" in ask("describe", "longshore.v1.ObjectService")


def test_printed_aws_cli_command(demo, demo_client, monkeypatch):
    demo_client.put("by-the-aws-cli", b"x")
    [line] = printed(demo, "aws")
    words = shlex.split(line)
    name, credentials = words[0].split("=", 1)
    assert name == "AWS_SHARED_CREDENTIALS_FILE"
    endpoint = words[words.index("--endpoint-url") + 1]
    bucket = words[-1].removeprefix("s3://").rstrip("/")

    # botocore reads the file as the AWS CLI does.
    monkeypatch.setenv(name, credentials)
    found = Session().get_component("credential_provider").get_provider("shared-credentials-file").load()
    witness = s3.client(endpoint, found.access_key, found.secret_key, words[words.index("--region") + 1])
    assert "by-the-aws-cli" in [each["Key"] for each in witness.list_objects_v2(Bucket=bucket)["Contents"]]
    # The greeting prints the same keys.
    assert found.access_key in demo.greeting() and found.secret_key in demo.greeting()


def test_embedded_server_rejects_a_wrong_secret(demo):
    [line] = printed(demo, "aws")
    words = shlex.split(line)
    endpoint, bucket = words[words.index("--endpoint-url") + 1], words[-1].removeprefix("s3://").rstrip("/")
    known = re.search(r"access key id\s+(\S+)", demo.greeting())[1]
    stranger = s3.client(endpoint, known, "not-the-secret", "us-east-1")
    with pytest.raises(stranger.exceptions.ClientError) as refused:
        stranger.list_objects_v2(Bucket=bucket)
    assert refused.value.response["Error"]["Code"] == "SignatureDoesNotMatch"


def test_printed_urls_respond(demo, demo_client):
    demo_client.put("counted", b"x")
    urls = re.findall(r"http://\S+/(?:readyz|metrics)\b", demo.greeting())
    assert {url.rsplit("/", 1)[1] for url in urls} == {"readyz", "metrics"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for url in urls:
        with opener.open(url, timeout=5) as answer:
            assert answer.status == 200
            if url.endswith("metrics"):
                assert re.search(rb'rpc_server_call_duration\w*_count\{[^}]*ObjectService/Put[^}]*\} [1-9]', answer.read())
