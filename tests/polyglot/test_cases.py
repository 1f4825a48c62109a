"""Every case in every language: what the client saw, what the server told of it, and what is in the store."""

import grpc
import pytest
from longshore.v1 import upload_service_pb2

from calling.cases import CASES, COMPRESSED, DATA, SINGLES, key_of, request_id
from calling.clients import LANGUAGES
from support.wait import eventually

in_every_language = pytest.mark.parametrize("language", LANGUAGES)

# What a client decides by itself has no details.
OWN = ("CANCELLED", "DEADLINE_EXCEEDED")
# What tonic's decoder refuses says nothing of the call.
UNSAID = {"MESSAGE_TOO_LARGE": {"tenant", "store"}}
# Node.js ends the body of a request before it resets the stream: what comes first is an upload of another size than was told,
# or a write of what has come.
CLOSED_FIRST = {("js", "Upload"): ("INVALID_ARGUMENT", "OK"), ("js", "WriteUpload"): ("OK",),
                ("js", "WriteUploadWithProgress"): ("OK",)}


def every(cases):
    """Each case in each language."""
    pairs = [(language, case.name) for language in LANGUAGES for case in cases]
    return pytest.mark.parametrize("language, name", pairs)


@every(CASES.values())
def test_what_the_client_saw(runs, language, name):
    case, saw = CASES[name], runs.seen(language, name)
    expected = dict(case.expect)
    if case.call == "Upload" and case.stored is not None:
        expected["key"] = key_of(case, language)
    assert {each: saw.get(each) for each in expected} == expected
    if saw["code"] in OWN:
        return
    assert saw["request_id"] == request_id(language, name)
    if saw["code"] == "OK":
        assert "x-request-id" in saw["headers"], "in the headers, not in the trailers"
    else:
        assert saw["details_code"] == grpc.StatusCode[saw["code"]].value[0]
        assert saw["details_message"] == saw["message"]


@every(SINGLES)
def test_compressed_messages_are_answered_alike(runs, language, name):
    plain, compressed = (runs.seen(language, each) for each in (name, name + COMPRESSED))
    for saw in (plain, compressed):
        del saw["request_id"]
        saw.pop("key", None)
    if plain["code"] in OWN:
        # What comes of it depends on who is faster.
        assert plain["code"] == compressed["code"]
        return
    said_to_plain, said_to_compressed = (set(saw.pop("facts", [])) for saw in (plain, compressed))
    assert said_to_compressed <= said_to_plain <= said_to_compressed | UNSAID.get(plain.get("reason"), set())
    assert plain == compressed


@every(CASES.values())
def test_what_the_server_told(runs, language, name):
    case = CASES[name]
    runs.seen(language, name)
    told = eventually("the call is in the log", lambda: runs.logged(language, name), within=5)
    if case.expect["code"] == "CANCELLED" and case.writes:
        assert told["bytes_in"] == sum(case.fields["chunks"]), "the server had it all, but for the end"
    expected = case.logged or (case.expect["code"],)
    if case.given_up:
        expected += CLOSED_FIRST.get((language, case.call), ())
    assert told["code"] in expected


@in_every_language
def test_what_is_in_the_store(runs, demo, language):
    """What was uploaded, and nothing of what failed or was given up."""
    runs(language)
    client = demo.client("demo")
    stored = {key_of(case, language): case.stored for case in CASES.values() if case.stored is not None}
    found = {found.key for found in client.walk(prefix=f"{language}/")}
    if (language, "Upload") in CLOSED_FIRST:
        # Without a size it is only likely that the end is not taken for the end.
        found -= {key_of(case, language) for case in CASES.values() if case.call == "Upload" and case.given_up
                  and "size" not in case.fields}
    assert found == set(stored)
    for key, size in stored.items():
        assert client.get(key).data == DATA[:size], key


@in_every_language
def test_no_upload_is_left(runs, demo, language):
    """Those of WriteUpload outlive a failure, and are not meant."""
    runs(language)
    client = demo.client("demo")

    def left():
        answer = client.uploads.ListUploads(upload_service_pb2.ListUploadsRequest(prefix=f"{language}/Upload"))
        return [upload.key for upload in answer.uploads]

    eventually("no multipart upload of Upload is left", lambda: left() == [], within=5)


@in_every_language
def test_no_read_is_left(runs, backend, language):
    """Those of whoever has cancelled or run out of time."""
    runs(language)
    eventually("S3 is not listened to any more", lambda: backend.waiting == 0, within=5)


@in_every_language
def test_messages_were_compressed(runs, language):
    """Where they were meant to be: a client that sends them plain is not answered by tonic."""
    whole = sum(case.stored for case in CASES.values() if case.stored and case.fields.get("gzip"))
    assert runs.sent_compressed(language) < 0.75 * whole


@in_every_language
def test_the_servers_are_well(runs, demo, broken, language):
    runs(language)
    for server in (demo, broken):
        assert server.process.poll() is None
        assert '"level":"ERROR"' not in server.log.read_text()
        assert "panicked" not in server.log.read_text()
