"""The audit log: every call has its two lines, whatever happens to the caller, the server or the disk."""

import collections
import hashlib
import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import urllib.request

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from longshore.v1 import admin_service_pb2, object_service_pb2

from support.client import MIB, upload_messages
from support.server import SERVING
from support.wait import eventually, settled

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def caller(name, **grant):
    digest = hashlib.sha256(name.encode()).hexdigest()
    return {"name": name, "token_sha256": digest, "access": ["read", "write", "list", "delete", "sign"], **grant}


def parsed(text):
    return [json.loads(line) for line in text.splitlines()]


class Audited:
    """A server with an audit log, and a client of it."""

    def __init__(self, serve, bucket, log, **settings):
        tenants = {"acme": {"callers": [caller("billing"), caller("reader", access=["read"])],
                            "stores": {"default": bucket.store("inside/")}}}
        self.log, self.bucket = log, bucket
        self.server = serve(tenants, AUTH="required", AUDIT_LOG=str(log), **settings)
        self.client = self.server.client(token="billing")

    def lines(self):
        """The lines of the file, once no more come."""
        settled("the audit log", lambda: os.path.getsize(self.log), still=0.3, within=30)
        return parsed(self.log.read_text())

    def page(self, path):
        return OPENER.open(f"http://{self.server.health_address}{path}").read().decode()

    def metric(self, name):
        return next(float(line.split()[-1]) for line in self.page("/metrics").splitlines() if line.startswith(name))

    def calls_counted(self):
        """How many calls ended, by AdminService."""
        admin = self.server.client(address=self.server.admin_address).admin
        usage = admin.GetUsage(admin_service_pb2.GetUsageRequest())
        return sum(counted.count for row in usage.callers for counted in row.calls)

    def refusal(self, call):
        with pytest.raises(grpc.RpcError) as failed:
            call()
        return failed.value


def details(error, kind):
    status = rpc_status.from_call(error)
    found = kind()
    return next(found for detail in status.details if detail.Unpack(found))


def pairs(lines):
    """The begin line and the end line of each call. Both exist, in this order, once."""
    calls = collections.defaultdict(list)
    for line in lines:
        calls[line["call"]].append(line)
    for of_call in calls.values():
        events = [line["event"] for line in of_call]
        assert events[0] == "begin" and events[-1] == "end" and set(events[1:-1]) <= {"keys"}, of_call
    return [(of_call[0], of_call[-1]) for of_call in calls.values()]


@pytest.fixture
def audited(serve, moto_bucket, tmp_path):
    return lambda log=None, **settings: Audited(serve, moto_bucket, log or tmp_path / "audit.log", **settings)


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    # Also for writing: the pipe then has a reader, which reads nothing yet.
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    yield path, reader
    os.close(reader)


def test_calls_have_a_line_before_their_first_request_and_one_at_the_end(audited):
    world = audited()
    assert stat.S_IMODE(world.log.stat().st_mode) == 0o600
    client = world.client
    client.put("a\t\"1\" ü", b"12345")
    assert client.get("a\t\"1\" ü").data == b"12345"
    client.copy("a\t\"1\" ü", "copy")
    client.rename("copy", "renamed")
    client.list(prefix="re")
    client.delete("renamed")
    client.upload("uploaded", [b"x" * 1000], {"size": 1000})
    denied = world.refusal(lambda: world.server.client(token="reader").put("denied", b"1"))
    assert denied.code().name == "PERMISSION_DENIED"
    unknown = world.refusal(lambda: world.server.client(token="nobody").put("unknown", b"1"))
    assert unknown.code().name == "UNAUTHENTICATED"
    assert world.server.health() == SERVING
    found = pairs(world.lines())
    assert [begin["method"].split("/")[1] for begin, _ in found] == [
        "Put", "Get", "Copy", "Rename", "List", "Delete", "Upload", "Put"]
    for begin, end in found:
        for name in ("request_id", "tenant", "caller", "method", "store", "key", "source_key", "peer"):
            assert begin.get(name) == end.get(name)
        assert (begin["tenant"], begin["store"]) == ("acme", "default")
    ends = [end for _, end in found]
    assert [end.get("key") for end in ends] == ["a\t\"1\" ü", "a\t\"1\" ü", "copy", "renamed", None, "renamed", "uploaded", "denied"]
    assert (ends[0]["bytes_in"], ends[1]["bytes_out"], ends[6]["bytes_in"]) == (5, 5, 1000)
    assert (ends[2]["source_store"], ends[2]["source_key"], ends[3]["source_key"]) == ("default", "a\t\"1\" ü", "copy")
    assert ends[4]["prefix"] == "re"
    assert [end["code"] for end in ends] == ["OK"] * 7 + ["PERMISSION_DENIED"]
    assert (ends[7]["reason"], ends[7]["caller"], ends[7]["s3_responses"]) == ("ACCESS_NOT_GRANTED", "reader", 0)
    assert all(end["s3_responses"] > 0 for end in ends[:7]), ends
    assert world.metric("longshore_audit_lines_total") == 16
    assert world.metric("longshore_audit_used_bytes") == 0


def test_the_ids_of_s3_requests_are_logged(serve, versitygw_bucket, tmp_path):
    world = Audited(serve, versitygw_bucket, tmp_path / "audit.log")
    world.client.put("key", b"1")
    assert world.refusal(lambda: world.client.head("missing")).code().name == "NOT_FOUND"
    ids = [end["s3_request_ids"] for _, end in pairs(world.lines())]
    assert [len(of_call) for of_call in ids] == [1, 1] and ids[0] != ids[1]


def test_all_keys_of_a_delete_many_are_logged(audited):
    world = audited()
    keys = [f"key-{number}" for number in range(2_500)]
    assert not any(result.HasField("error") for result in world.client.delete_many(keys))
    lines = world.lines()
    (_, end), = pairs(lines)
    assert [key["key"] for line in lines if line["event"] == "keys" for key in line["keys"]] == keys
    assert (end["code"], end["keys_sent"]) == ("OK", 2_500)


def test_what_is_signed_is_logged_and_no_url(audited):
    world = audited()
    request = object_service_pb2.SignRequest(method="SIGN_METHOD_PUT", keys=["a", "b"], expires_in={"seconds": 60})
    urls = world.client.objects.Sign(request).urls
    request = object_service_pb2.SignRequest(method="SIGN_METHOD_GET", keys=["c"], expires_in={"seconds": 5})
    world.client.objects.Sign(request)
    world.client.objects.SignPost(object_service_pb2.SignPostRequest(key_prefix="in/", expires_in={"seconds": 9}))
    lines = world.lines()
    several, one, form = pairs(lines)
    assert [key["key"] for line in lines if line["event"] == "keys" for key in line["keys"]] == ["a", "b"]
    for (begin, end), method, seconds, what in [
            (several, "PUT", 60, {}), (one, "GET", 5, {"key": "c"}), (form, "POST", 9, {"prefix": "in/"})]:
        for line in (begin, end):
            assert (line["signed_method"], line["signed_seconds"]) == (method, seconds)
            assert {name: line[name] for name in ("key", "prefix") if name in line} == what
        assert end["code"] == "OK" and end["s3_responses"] == 0
    signature = urls[0].url.split("X-Amz-Signature=")[1]
    assert signature not in str(lines)


def test_calls_fail_while_the_log_has_no_reader_and_no_line_is_lost(audited, pipe):
    path, reader = pipe
    world = audited(path, AUDIT_WAIT="100ms", AUDIT_BUFFER="64KiB")
    done, error = [], None
    while error is None:
        try:
            world.client.put(f"key-{len(done)}", b"1")
            done.append(f"key-{len(done)}")
        except grpc.RpcError as failed:
            error = failed
        assert len(done) < 2_000
    assert error.code().name == "UNAVAILABLE"
    assert details(error, error_details_pb2.ErrorInfo).reason == "AUDIT_UNAVAILABLE"
    assert details(error, error_details_pb2.RetryInfo).retry_delay.seconds > 0
    assert any(key == "grpc-retry-pushback-ms" for key, _ in error.trailing_metadata())
    # Health and admin do not wait, and neither do other calls that are refused.
    assert world.server.health() == SERVING
    assert world.calls_counted() > len(done)
    assert world.refusal(lambda: world.server.client(token="nobody").head("key")).code().name == "UNAUTHENTICATED"
    assert "audit log is not written" in world.page("/readyz")
    world.server.logged("audit log is not written")
    # What was refused has not reached S3.
    listed = world.bucket.client.list_objects_v2(Bucket=world.bucket.bucket, Prefix="inside/")
    assert listed["KeyCount"] == len(done)

    read = bytearray()

    def drained():
        try:
            read.extend(os.read(reader, MIB))
        except BlockingIOError:
            pass
        return read.count(b"\n") == 2 * len(done)

    eventually("all lines have been read", drained, within=20)
    found = pairs(parsed(read.decode()))
    assert [end["key"] for _, end in found] == done
    world.client.put("afterwards", b"1")
    eventually("the notice is gone", lambda: world.page("/readyz") == "ok\n", within=10)


def test_a_waiting_call_proceeds_when_the_log_is_read(audited, pipe):
    path, reader = pipe
    world = audited(path, AUDIT_WAIT="60s", AUDIT_BUFFER="64KiB")
    calls = []
    head = world.client.objects.Head.func.future
    while world.metric("longshore_audit_waiting") == 0:
        calls += [head(object_service_pb2.HeadRequest(key="missing"), metadata=[("authorization", "Bearer billing")],
                       timeout=60) for _ in range(50)]
        settled("the calls", lambda: sum(call.done() for call in calls), still=0.2, within=30)
        assert len(calls) < 3_000
    ended = threading.Event()

    def read():
        while not ended.wait(0.01):
            try:
                os.read(reader, MIB)
            except BlockingIOError:
                pass

    thread = threading.Thread(target=read)
    thread.start()
    try:
        assert {call.code().name for call in calls} == {"NOT_FOUND"}
    finally:
        ended.set()
        thread.join()


def test_a_full_disk_loses_no_line(audited, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount a tmpfs")
    try:
        filler = folder / "filler"
        filler.write_bytes(b"x" * 1000 * 1024)
        world = audited(folder / "audit.log", AUDIT_WAIT="100ms", AUDIT_BUFFER="64KiB")
        done = 0
        while True:
            try:
                world.client.put(f"key-{done}", b"1")
                done += 1
            except grpc.RpcError as error:
                assert error.code().name == "UNAVAILABLE"
                break
        assert "No space left on device" in world.page("/readyz")
        filler.unlink()
        eventually("everything is written", lambda: world.metric("longshore_audit_lines_total") == 2 * done, within=20)
        assert len(pairs(world.lines())) == done
        world.server.terminate()
        world.server.process.wait(20)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_renamed_log_is_opened_again_on_sighup_and_a_removed_one_without_it(audited):
    world = audited(RELOAD_INTERVAL="unlimited")
    old = world.log.with_suffix(".1")
    world.client.put("first", b"1")
    assert len(world.lines()) == 2
    world.log.rename(old)
    world.server.process.send_signal(signal.SIGHUP)
    eventually("there is a new file", world.log.exists, within=10)
    world.client.put("second", b"1")
    assert [line["key"] for line in world.lines()] == ["second"] * 2
    assert [line["key"] for line in parsed(old.read_text())] == ["first"] * 2
    world.log.unlink()

    def written_again():
        world.client.head("second")
        return world.log.exists()

    eventually("the file is created again", written_again, within=10, every=0.2)
    assert {line["event"] for line in world.lines()} == {"begin", "end"}


def test_every_call_of_a_load_with_cancellations_has_both_lines(audited):
    world = audited(LOG="error")
    world.client.put("large", b"x" * 3 * MIB)

    def work(number):
        chance = random.Random(number)
        client = world.server.client(token="billing")
        metadata = [("authorization", "Bearer billing")]
        for step in range(400):
            kind = chance.random()
            if kind < 0.2:
                request = object_service_pb2.GetRequest(key="large")
                streaming = client.objects.Get.func(request, metadata=metadata, timeout=60)
                next(iter(streaming))
                streaming.cancel()
            elif kind < 0.4:
                messages = upload_messages(f"{number}-{step}", iter([b"y" * 1000] * 3))
                upload = client.objects.Upload.func.future(messages, metadata=metadata, timeout=60)
                upload.cancel()
            elif kind < 0.5:
                head = client.objects.Head.func.future(object_service_pb2.HeadRequest(key="large"), metadata=metadata,
                                                       timeout=chance.choice([0.001, 0.005, 60]))
                head.exception()
            else:
                client.put(f"{number}-{step}", b"1")
        if number == 0:
            # Its calls end with the connection.
            client.objects.Get.func(object_service_pb2.GetRequest(key="large"), metadata=metadata, timeout=60)
            client.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    settled("the calls", world.calls_counted, still=1, within=60)
    found = pairs(world.lines())
    # A call that was cancelled before it reached the server is counted nowhere.
    assert len(found) == world.calls_counted()
    assert len(found) > 2_500
    codes = collections.Counter(end["code"] for _, end in found)
    assert codes["CANCELLED"] > 100 and codes["OK"] > 500, codes
    assert world.metric("longshore_audit_used_bytes") == 0


def test_a_killed_caller_in_the_middle_of_a_stream_has_its_last_line(audited, tmp_path):
    world = audited()
    # More than what fits into the buffers between the server and a caller that does not read.
    world.client.upload("large", [b"x" * MIB] * 128)
    script = tmp_path / "caller.py"
    script.write_text("""
import sys, time
from support.client import Client
from longshore.v1 import object_service_pb2
client = Client(sys.argv[1], token="billing")
stream = client.objects.Get(object_service_pb2.GetRequest(key="large"))
next(iter(stream))
print("reading", flush=True)
time.sleep(600)
""")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, script, world.server.address], stdout=subprocess.PIPE, env=environment) as running:
        try:
            assert running.stdout.readline() == b"reading\n"
            assert [line["event"] for line in world.lines()][-1] == "begin"
        finally:
            running.kill()
    eventually("the call has ended", lambda: world.lines()[-1]["event"] == "end", within=20)
    _, end = pairs(world.lines())[-1]
    assert (end["code"], end["key"]) == ("CANCELLED", "large")


def test_the_versions_that_calls_name_are_logged(audited, moto_bucket):
    moto_bucket.client.put_bucket_versioning(
        Bucket=moto_bucket.bucket, VersioningConfiguration={"Status": "Enabled"})
    world = audited()
    client, version = world.client, world.client.put("a", b"1").version
    client.get("a")
    client.get("a", version=version)
    client.head("a", version=version)
    client.get_ranges("a", [{"bounded": {"start": 0, "end": 1}}], version=version)
    client.objects.PutTags(object_service_pb2.PutTagsRequest(key="a", version=version, tags={"k": "v"}))
    source = {"key": "a", "version": version}
    client.objects.Copy(object_service_pb2.CopyRequest(source=source, destination={"key": "b"}))
    client.delete("a", version=version)
    found = [(begin["method"].split("/")[1], begin.get("version"), begin.get("source_version"))
             for begin, _ in pairs(world.lines())]
    named = [("Head", version, None), ("GetRanges", version, None), ("PutTags", version, None),
             ("Copy", None, version), ("Delete", version, None)]
    assert found == [("Put", None, None), ("Get", None, None), ("Get", version, None), *named]


def test_a_shutdown_writes_everything_to_standard_output(audited, tmp_path):
    world = audited("stdout")
    [world.client.put(f"key-{number}", b"1") for number in range(50)]
    world.server.terminate()
    assert world.server.process.wait(20) == 0
    assert len(pairs(parsed(world.server.out.read_text()))) == 50


def test_a_log_that_cannot_be_opened_keeps_the_server_from_starting(audited, tmp_path):
    os.mkfifo(tmp_path / "unread")
    for path, reason in [(tmp_path / "missing" / "audit.log", "no such file or directory"),
                         (tmp_path / "unread", "no process reads the pipe"), (tmp_path, "is a directory")]:
        with pytest.raises(AssertionError, match=f"cannot open the audit log in LONGSHORE_AUDIT_LOG: {reason}"):
            audited(path)
