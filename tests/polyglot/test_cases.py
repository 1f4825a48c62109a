"""Every case in every language: what the client saw, what the server logged, and what is in the store."""

import grpc
import pytest
from longshore.v1 import upload_service_pb2

from calling.cases import CASES, COMPRESSED, DATA, SINGLES, key_of, request_id
from calling.clients import LANGUAGES
from support.wait import eventually

in_every_language = pytest.mark.parametrize("language", LANGUAGES)

# Statuses that a client generates itself: they have no details.
OWN = ("CANCELLED", "DEADLINE_EXCEEDED")
# By reason: facts that may be missing if the message is compressed. tonic's decoder rejects it without knowing the call.
UNSAID = {"MESSAGE_TOO_LARGE": {"tenant", "store"}}
# Other statuses that the server may log when the client gives up. Node.js ends the request body before it resets the
# stream, so the server may see the end first: of an upload with the wrong size, or of a write that is complete as it is.
CLOSED_FIRST = {("js", "Upload"): ("INVALID_ARGUMENT", "OK"), ("js", "WriteUpload"): ("OK",),
                ("js", "WriteUploadWithProgress"): ("OK",)}


def every(cases):
    """Parametrizes a test with each case in each language."""
    pairs = [(language, case.name) for language in LANGUAGES for case in cases]
    return pytest.mark.parametrize("language, name", pairs)


@every(CASES.values())
def test_client_sees_the_expected_result(runs, language, name):
    case, saw = CASES[name], runs.seen(language, name)
    expected = dict(case.expect)
    if case.call == "Upload" and case.stored is not None:
        expected["key"] = key_of(case, language)
    assert {each: saw.get(each) for each in expected} == expected
    if saw["code"] in OWN:
        return
    assert saw["request_id"] == request_id(language, name)
    if saw["code"] == "OK":
        assert "x-request-id" in saw["headers"], "the request id must be in the headers, not in the trailers"
    else:
        assert saw["details_code"] == grpc.StatusCode[saw["code"]].value[0]
        assert saw["details_message"] == saw["message"]


@every(SINGLES)
def test_compressed_messages_get_the_same_response(runs, language, name):
    plain, compressed = (runs.seen(language, each) for each in (name, name + COMPRESSED))
    for saw in (plain, compressed):
        del saw["request_id"]
        saw.pop("key", None)
    if plain["code"] in OWN:
        # The rest depends on whether the client or the server is faster.
        assert plain["code"] == compressed["code"]
        return
    said_to_plain, said_to_compressed = (set(saw.pop("facts", [])) for saw in (plain, compressed))
    assert said_to_compressed <= said_to_plain <= said_to_compressed | UNSAID.get(plain.get("reason"), set())
    assert plain == compressed


@every(CASES.values())
def test_server_logs_the_expected_status(runs, language, name):
    case = CASES[name]
    runs.seen(language, name)
    told = eventually("the call is in the log", lambda: runs.logged(language, name), within=5)
    if case.expect["code"] == "CANCELLED" and case.writes:
        assert told["bytes_in"] == sum(case.fields["chunks"]), "the server must have received everything except the end"
    expected = case.logged or (case.expect["code"],)
    if case.given_up:
        expected += CLOSED_FIRST.get((language, case.call), ())
    assert told["code"] in expected


@in_every_language
def test_store_has_exactly_the_finished_uploads(runs, demo, language):
    """The store has what was uploaded, and nothing of the uploads that failed or were given up."""
    runs(language)
    client = demo.client("demo")
    stored = {key_of(case, language): case.stored for case in CASES.values() if case.stored is not None}
    found = {found.key for found in client.walk(prefix=f"{language}/")}
    if (language, "Upload") in CLOSED_FIRST:
        # Without a size, the server may take the end of an abandoned upload for a regular end.
        found -= {key_of(case, language) for case in CASES.values() if case.call == "Upload" and case.given_up
                  and "size" not in case.fields}
    assert found == set(stored)
    for key, size in stored.items():
        assert client.get(key).data == DATA[:size], key


@in_every_language
def test_no_multipart_upload_of_upload_is_left(runs, demo, language):
    """Uploads of WriteUpload outlive a failure by design, so they are not checked here."""
    runs(language)
    client = demo.client("demo")

    def left():
        answer = client.uploads.ListUploads(upload_service_pb2.ListUploadsRequest(prefix=f"{language}/Upload"))
        return [upload.key for upload in answer.uploads]

    eventually("no multipart upload of Upload is left", lambda: left() == [], within=5)


@in_every_language
def test_abandoned_reads_close_their_s3_connections(runs, backend, language):
    """Abandoned: the caller has cancelled, or its deadline has passed."""
    runs(language)
    eventually("Longshore has closed its connections for stalled reads", lambda: backend.waiting == 0, within=5)


@in_every_language
def test_messages_were_compressed(runs, language):
    """Clients compress the messages in the cases that say so. tonic would accept uncompressed ones too."""
    whole = sum(case.stored for case in CASES.values() if case.stored and case.fields.get("gzip"))
    assert runs.sent_compressed(language) < 0.75 * whole


@in_every_language
def test_servers_keep_running_without_errors(runs, demo, broken, language):
    runs(language)
    for server in (demo, broken):
        assert server.process.poll() is None
        assert '"level":"ERROR"' not in server.log.read_text()
        assert "panicked" not in server.log.read_text()
