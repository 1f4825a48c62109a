"""Presigned URLs and upload forms, used by a client without credentials. boto3 signs the same requests."""

import base64
import datetime
import json
import re
import subprocess
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config
from google.protobuf import duration_pb2
from longshore.v1 import object_pb2, object_service_pb2 as objects, upload_service_pb2 as uploads

from support.client import MIB, crc32c, multipart_etag
from support.wait import eventually
from support.web import post_form, send
from test_errors import failure, reason

GET, PUT, HEAD, DELETE = (f"SIGN_METHOD_{name}" for name in ("GET", "PUT", "HEAD", "DELETE"))


def lifetime(seconds):
    return duration_pb2.Duration(seconds=seconds)


def sign(client, method, *keys, seconds=60, **fields):
    request = objects.SignRequest(method=method, keys=keys, expires_in=lifetime(seconds), **fields)
    return list(client.objects.Sign(request).urls)


def form(client, seconds=60, **fields):
    return client.objects.SignPost(objects.SignPostRequest(expires_in=lifetime(seconds), **fields))


def pairs(answer):
    return [(field.name, field.value) for field in answer.fields]


def code(answer):
    found = re.search(rb"<Code>(.*?)</Code>", answer.body)
    return f"{answer.status} {found[1].decode() if found else ''}"


@pytest.fixture
def client(demo):
    return demo.client("demo")


def test_each_method_does_what_its_url_says(client):
    key = "sign/a b/ü+%2F//~.txt"
    write = {"attributes": {"content_type": "text/plain", "metadata": {"quay": "ä"}}, "tags": {"a b": "c+d=e"},
             "mode": {"create": {}}, "size": 9, "crc32c": crc32c(b"123456789")}
    [put] = sign(client, PUT, key, write=write)
    assert put.headers["content-length"] == "9" and put.headers["if-none-match"] == "*"
    assert send("PUT", put.url, put.headers, b"123456789").status == 200
    assert code(send("PUT", put.url, put.headers, b"123456789")) == "412 PreconditionFailed"
    head = client.head(key)
    assert (head.attributes.content_type, dict(head.attributes.metadata)) == ("text/plain", {"quay": "ä"})
    assert client.tags(key) == {"a b": "c+d=e"}

    response = {"content_type": "application/json", "content_disposition": 'attachment; filename="x y"',
                "cache_control": "no-store", "content_language": "de", "content_encoding": "identity",
                "expires": "Thu, 01 Dec 1994 16:00:00 GMT"}
    for method, name in [(GET, "GET"), (HEAD, "HEAD")]:
        [signed] = sign(client, method, key, response_headers=response)
        answer = send(name, signed.url)
        assert (answer.status, answer.body) == (200, b"123456789" if name == "GET" else b"")
        assert {field: answer.headers[field.replace("_", "-")] for field in response} == response
    [part] = sign(client, GET, key, range={"bounded": {"start": 2, "end": 5}})
    assert dict(part.headers) == {"range": "bytes=2-4"}
    answer = send("GET", part.url, part.headers)
    assert (answer.status, answer.body) == (206, b"345")
    [delete] = sign(client, DELETE, key)
    assert send("DELETE", delete.url).status == 204
    assert reason(failure(client.head, key)).reason == "OBJECT_NOT_FOUND"


def test_curl_uses_a_url_with_its_headers(client, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"from curl")
    [put] = sign(client, PUT, "sign/curl", write={"attributes": {"content_type": "text/plain"}})
    headers = [option for name, value in put.headers.items() for option in ("-H", f"{name}: {value}")]
    subprocess.run(["curl", "--fail", "-sS", "--noproxy", "*", *headers, "-T", file, put.url], check=True)
    [get] = sign(client, GET, "sign/curl")
    assert subprocess.check_output(["curl", "--fail", "-sS", "--noproxy", "*", get.url]) == b"from curl"


def test_a_put_must_be_as_it_was_signed(client):
    write = {"attributes": {"content_type": "text/plain"}, "size": 4, "crc32c": crc32c(b"good")}
    [put] = sign(client, PUT, "sign/exact", write=write)
    assert code(send("PUT", put.url, put.headers, b"evil")) == "400 BadDigest"
    others = {name: value for name, value in put.headers.items() if name != "content-length"}
    assert code(send("PUT", put.url, others, b"longer")) == "403 SignatureDoesNotMatch"
    for name in ("content-type", "x-amz-checksum-crc32c"):
        without = {other: value for other, value in put.headers.items() if other != name}
        assert send("PUT", put.url, without, b"good").status == 403, name
        assert send("PUT", put.url, {**put.headers, name: "x"}, b"good").status in (400, 403), name
    assert send("PUT", put.url, {**put.headers, "x-amz-meta-more": "x"}, b"good").status == 403
    assert send("GET", put.url, put.headers).status == 403
    assert send("PUT", put.url, put.headers, b"good").status == 200


def test_a_change_to_any_character_is_refused(client):
    client.put("sign/k", b"x")
    [get] = sign(client, GET, "sign/k", seconds=100, response_headers={"content_type": "text/plain"})
    there = urlsplit(get.url)
    start = len(f"{there.scheme}://{there.netloc}/")
    accepted = []
    for at in range(start, len(get.url)):
        for other in ("0", "z"):
            if get.url[at] == other or (get.url[at] in "abcdefABCDEF" and get.url[at - 1] == "%"):
                continue
            changed = get.url[:at] + other + get.url[at + 1:]
            if send("GET", changed).status < 400:
                accepted.append((at, changed))
    assert not accepted
    assert send("GET", get.url).status == 200


def test_a_url_expires(client):
    client.put("sign/soon", b"x")
    [later] = sign(client, GET, "sign/soon", seconds=3600)
    [soon] = sign(client, GET, "sign/soon", seconds=1)
    eventually("the URL has expired", lambda: code(send("GET", soon.url)) == "403 AccessDenied", within=20)
    assert send("GET", later.url).status == 200


def test_a_thousand_keys_and_no_more(client):
    keys = [f"sign/{number}" for number in range(1000)]
    urls = sign(client, GET, *keys)
    assert [url.key for url in urls] == keys
    assert len({url.url for url in urls}) == 1000 and len({url.expire_time.seconds for url in urls}) == 1
    found = failure(sign, client, GET, *keys, "more")
    assert reason(found).reason == "INVALID_FIELD" and "`keys`" in found.details()
    found = failure(sign, client, GET, *[f"{number:04}" + "ü" * 490 for number in range(1000)])
    assert "sign" in found.details() and "keys or fewer" in found.details(), found.details()
    fewer = int(re.search(r"sign (\d+) keys", found.details())[1])
    assert len(sign(client, GET, *[f"{number:04}" + "ü" * 490 for number in range(fewer)])) == fewer


# The clock of botocore's signer.
CLOCK = "botocore.auth.get_current_datetime"


def at(url):
    return datetime.datetime.strptime(parse_qs(urlsplit(url).query)["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ")


def signature(url):
    return parse_qs(urlsplit(url).query)["X-Amz-Signature"]


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_boto3_makes_the_same_signatures(serve_store, style):
    public = "https://files.example.com:8443"
    store = {"bucket": "my-bucket", "prefix": "pre/", "client_options": {"allow_http": True},
             "config": {"endpoint": "http://127.0.0.1:9", "public_endpoint": public, "region": "eu-west-3",
                        "access_key_id": "AKID", "secret_access_key": "s3cret", "session_token": "to/k+en==",
                        "virtual_hosted_style_request": style == "virtual"}}
    client = serve_store({"default": store})[1]
    boto = boto3_client(public, style)
    key = "a b/ü+%2F~//$&=@:.txt"
    cases = [
        (GET, "get_object", {"version": "v/1", "range": {"bounded": {"start": 5, "end": 10}},
                             "response_headers": {"content_type": "text/plain", "cache_control": "no-cache"}},
         {"VersionId": "v/1", "Range": "bytes=5-9", "ResponseContentType": "text/plain",
          "ResponseCacheControl": "no-cache"}),
        (HEAD, "head_object", {}, {}),
        (DELETE, "delete_object", {"version": "v1"}, {"VersionId": "v1"}),
        (PUT, "put_object",
         {"write": {"attributes": {"content_type": "text/plain", "metadata": {"quay": "7"}, "expires": ""},
                    "tags": {"a b": "c+d=e"}, "mode": {"create": {}}, "size": 9, "crc32c": 0xE3069283}},
         {"ContentType": "text/plain", "Metadata": {"quay": "7"}, "Tagging": "a%20b=c%2Bd%3De", "IfNoneMatch": "*",
          "ContentLength": 9, "ChecksumCRC32C": "4waSgw=="}),
    ]
    for method, operation, fields, params in cases:
        [ours] = sign(client, method, key, seconds=3600, **fields)
        with mock.patch(CLOCK, lambda *_: at(ours.url)):
            theirs = boto.generate_presigned_url(
                operation, Params={"Bucket": "my-bucket", "Key": f"pre/{key}", **params}, ExpiresIn=3600)
        assert urlsplit(ours.url)[:3] == urlsplit(theirs)[:3]
        assert parse_qs(urlsplit(ours.url).query) == parse_qs(urlsplit(theirs).query), operation


def boto3_client(endpoint, style):
    return boto3.session.Session().client(
        "s3", endpoint_url=endpoint, region_name="eu-west-3", aws_access_key_id="AKID", aws_secret_access_key="s3cret",
        aws_session_token="to/k+en==",
        config=Config(signature_version="s3v4", s3={"addressing_style": style},
                      request_checksum_calculation="when_required"))


def test_a_form_uploads_one_object(client):
    made = form(client, key="post/exact ü", size={"min": 1, "max": 10},
                attributes={"content_type": "image/png", "metadata": {"quay": "7"}, "cache_control": "no-store"},
                tags={"a b": "c = d"}, success_status=201)
    answer = post_form(made.url, pairs(made), b"123456789", after=[("late", "ignored")])
    assert answer.status == 201, answer.body
    assert b"<Bucket>demo</Bucket><Key>post/exact \xc3\xbc</Key><ETag>" in answer.body
    head = client.head("post/exact ü")
    assert (head.meta.size, head.attributes.content_type) == (9, "image/png")
    assert (dict(head.attributes.metadata), head.attributes.cache_control) == ({"quay": "7"}, "no-store")
    assert client.tags("post/exact ü") == {"a b": "c = d"}
    assert code(post_form(made.url, pairs(made), b"")) == "400 EntityTooSmall"
    assert code(post_form(made.url, pairs(made), b"x" * 11)) == "400 EntityTooLarge"
    assert code(post_form(made.url, pairs(made), b"x" * 3_000_000)) == "400 EntityTooLarge"
    assert client.get("post/exact ü").data == b"123456789"


def test_a_form_for_a_prefix(client):
    made = form(client, key_prefix="post/in/", content_type_prefix="image/")
    fields = pairs(made)
    answer = post_form(made.url, [*fields, ("Content-Type", "image/gif")], b"1", filename="a b.gif")
    assert (answer.status, answer.body) == (204, b"")
    assert client.head("post/in/a b.gif").attributes.content_type == "image/gif"

    def with_key(key, kind="image/gif"):
        others = [(name, value) for name, value in fields if name != "key"]
        return post_form(made.url, [("key", key), *others, ("Content-Type", kind)], b"2")

    assert with_key("post/in/chosen").status == 204
    assert client.get("post/in/chosen").data == b"2"
    for answer in [with_key("post/out"), with_key("post/in/x", "text/html"), post_form(made.url, fields, b"3"),
                   post_form(made.url, [*fields, ("Content-Type", "image/gif"), ("x-amz-meta-a", "b")], b"4"),
                   post_form(made.url, [*fields, ("Content-Type", "image/gif"), ("acl", "public-read")], b"4")]:
        assert code(answer) == "403 AccessDenied" and b"Invalid according to Policy" in answer.body
    answer = post_form(made.url, [*fields, ("Content-Type", "image/gif"), ("x-ignore-me", "b"), ("submit", "Go")], b"5")
    assert answer.status == 204


def test_a_form_redirects(client):
    made = form(client, key="post/redirected", success_redirect="https://example.com/done?a=b")
    answer = post_form(made.url, pairs(made), b"x")
    assert answer.status == 303
    there = urlsplit(answer.headers["location"])
    etag = client.head("post/redirected").meta.etag
    assert (there.netloc, there.path) == ("example.com", "/done")
    assert parse_qs(there.query) == {"a": ["b"], "bucket": ["demo"], "key": ["post/redirected"], "etag": [etag]}
    made = form(client, key="post/200", success_status=200)
    assert post_form(made.url, pairs(made), b"x").status == 200


def test_a_changed_form_is_refused(client):
    made = form(client, key="post/k", seconds=100)
    accepted = []
    for index, (name, value) in enumerate(pairs(made)):
        for at in range(0, len(value), 7):
            fields = pairs(made)
            fields[index] = (name, value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1:])
            if post_form(made.url, fields, b"x").status < 400:
                accepted.append((name, at))
    assert not accepted
    for left_out in range(len(made.fields)):
        fields = pairs(made)
        del fields[left_out]
        assert post_form(made.url, fields, b"x").status >= 400, made.fields[left_out]
    policy = json.loads(base64.b64decode(dict(pairs(made))["policy"]))
    assert made.expire_time.ToDatetime().strftime("%Y-%m-%dT%H:%M:%S.000Z") == policy["expiration"]


def test_an_expired_form_is_refused(client):
    made = form(client, key="post/soon", seconds=1)
    expires = made.expire_time.ToDatetime(tzinfo=datetime.timezone.utc)
    while datetime.datetime.now(datetime.timezone.utc) <= expires:
        pass
    answer = post_form(made.url, pairs(made), b"x")
    assert code(answer) == "403 AccessDenied" and b"Policy expired" in answer.body


def test_boto3_makes_the_same_signature_of_a_policy(serve_store):
    store = {"bucket": "my-bucket",
             "config": {"endpoint": "https://files.example.com", "region": "eu-west-3", "access_key_id": "AKID",
                        "secret_access_key": "s3cret", "session_token": "to/k+en=="}}
    client = serve_store({"default": store})[1]
    made = form(client, key="k", size={"min": 1, "max": 2}, attributes={"content_type": "text/plain"})
    fields = dict(pairs(made))
    boto = boto3_client("https://files.example.com", "path")
    now = datetime.datetime.strptime(fields["x-amz-date"], "%Y%m%dT%H%M%SZ")
    with mock.patch(CLOCK, lambda *_: now), mock.patch("json.dumps", lambda *_, **__: base64.b64decode(
            fields["policy"]).decode()):
        theirs = boto.generate_presigned_post("my-bucket", "k", Fields={"Content-Type": "text/plain"}, ExpiresIn=60)
    assert theirs == {"url": made.url, "fields": fields}


def finish(client, started, size, **fields):
    return client.uploads.FinishUpload(uploads.FinishUploadRequest(upload_id=started.upload_id, size=size, **fields))


def signed_parts(client, started, parts):
    request = uploads.SignPartsRequest(upload_id=started.upload_id, parts=parts, expires_in=lifetime(60))
    return list(client.uploads.SignParts(request).parts)


def put_parts(client, started, data, checksums=False):
    """Writes all parts by their URLs. Returns their numbers and ETags."""
    size = started.part_size
    pieces = [data[start:start + size] for start in range(0, len(data), size)]
    parts = [{"part_number": number, "checksum": crc32c(piece).to_bytes(4, "big") if checksums else b""}
             for number, piece in enumerate(pieces, 1)]
    etags = []
    for part, piece in zip(signed_parts(client, started, parts), pieces):
        answer = send("PUT", part.url, part.headers, piece)
        assert answer.status == 200, answer.body
        etags.append({"part_number": part.part_number, "etag": answer.headers["etag"]})
    return etags


def start(client, key, **fields):
    return client.uploads.StartUpload(uploads.StartUploadRequest(key=key, part_size=5 * MIB, **fields))


DATA = bytes(range(256)) * (12 * MIB // 256 + 1)


def test_parts_go_straight_to_s3(client):
    started = start(client, "parts/sums", size=len(DATA), checksum_algorithm="CHECKSUM_ALGORITHM_CRC32C")
    assert started.checksum_algorithm == object_pb2.CHECKSUM_ALGORITHM_CRC32C
    etags = put_parts(client, started, DATA, checksums=True)
    query = uploads.QueryUploadRequest(upload_id=started.upload_id)
    assert client.uploads.QueryUpload(query).persisted_size == len(DATA)
    for _ in range(2):
        finished = finish(client, started, len(DATA), crc32c=crc32c(DATA), part_etags=etags)
        assert finished.verification == uploads.UPLOAD_VERIFICATION_OBJECT
        assert finished.meta.etag == multipart_etag(DATA, 5 * MIB)
    assert finish(client, started, len(DATA)).verification == uploads.UPLOAD_VERIFICATION_PARTS
    assert client.get("parts/sums").data == DATA


def test_parts_without_checksums_are_unverified(client):
    started = start(client, "parts/plain")
    assert started.checksum_algorithm == object_pb2.CHECKSUM_ALGORITHM_UNSPECIFIED
    put_parts(client, started, DATA)
    [again] = signed_parts(client, started, [{"part_number": 2}])
    assert (again.offset, again.size, dict(again.headers)) == (5 * MIB, 5 * MIB, {})
    found = failure(finish, client, started, len(DATA) - 1)
    assert reason(found).reason == "SIZE_MISMATCH"
    known = [{"part_number": 2, "etag": '"another"'}]
    assert reason(failure(finish, client, started, len(DATA), part_etags=known)).reason == "PRECONDITION_FAILED"
    assert finish(client, started, len(DATA)).verification == uploads.UPLOAD_VERIFICATION_UNVERIFIED
    assert client.get("parts/plain").data == DATA


def test_a_part_must_be_as_it_was_signed(client):
    started = start(client, "parts/exact", size=6 * MIB, checksum_algorithm="CHECKSUM_ALGORITHM_CRC32C")
    data = b"x" * MIB
    [part] = signed_parts(client, started, [{"part_number": 2, "checksum": crc32c(data).to_bytes(4, "big")}])
    assert (part.offset, part.size) == (5 * MIB, MIB)
    assert code(send("PUT", part.url, part.headers, b"y" * MIB)) == "400 BadDigest"
    headers = {name: value for name, value in part.headers.items() if name != "content-length"}
    assert send("PUT", part.url, headers, data + b"x").status == 403
    assert send("PUT", part.url.replace("partNumber=2", "partNumber=1"), part.headers, data).status == 403
    assert send("PUT", part.url, part.headers, data).status == 200
    for parts, field in [([], "parts"), ([{"part_number": 3, "checksum": b"1234"}], "parts[0].part_number"),
                         ([{"part_number": 1}], "parts[0].checksum")]:
        found = failure(signed_parts, client, started, parts)
        assert reason(found).reason == "INVALID_FIELD" and f"`{field}`" in found.details()
    client.uploads.CancelUpload(uploads.CancelUploadRequest(upload_id=started.upload_id))
    assert code(send("PUT", part.url, part.headers, data)) == "404 NoSuchUpload"


def test_no_url_is_logged(serve_store, versitygw_bucket):
    server, client = serve_store({"default": versitygw_bucket.store()}, LOG="trace")
    [get] = sign(client, GET, "k")
    made = form(client, key="k")
    secret = [signature(get.url)[0], dict(pairs(made))["x-amz-signature"], dict(pairs(made))["policy"]]
    server.stop()
    assert not [text for text in secret if text in server.log.read_text()]


@pytest.mark.parametrize("kind", ["versitygw", "moto"])
def test_other_servers_accept_the_urls(request, serve_store, kind):
    bucket = request.getfixturevalue(f"{kind}_bucket")
    client = serve_store({"default": bucket.store(prefix="pre/")})[1]
    [put] = sign(client, PUT, "k ü", write={"attributes": {"content_type": "text/plain", "metadata": {"a": "b"}}})
    assert send("PUT", put.url, put.headers, b"data").status == 200
    [get] = sign(client, GET, "k ü", response_headers={"content_type": "text/csv"})
    answer = send("GET", get.url)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"data", "text/csv")
    assert bucket.head("pre/k ü")["Metadata"] == {"a": "b"}
    if kind == "versitygw":
        assert send("GET", get.url[:-1] + ("0" if get.url[-1] != "0" else "1")).status == 403
        assert send("PUT", put.url, {**put.headers, "content-type": "text/html"}, b"data").status == 403
    [delete] = sign(client, DELETE, "k ü")
    assert send("DELETE", delete.url).status == 204
    assert not bucket.keys()
    started = start(client, "large")
    etags = put_parts(client, started, DATA)
    assert finish(client, started, len(DATA), part_etags=etags).meta.size == len(DATA)
    assert bucket.get("pre/large") == DATA
