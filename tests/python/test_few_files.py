"""A server with a low limit on open files: callers' connections leave enough descriptors for S3 and for probes."""

import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from support.wait import eventually


def is_closed(held):
    held.setblocking(False)
    try:
        # The server's first frames arrive before the end of the connection.
        while held.recv(65536):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def open_connections(address, count):
    host, port = address.split(":")
    return [socket.create_connection((host, int(port)), timeout=5) for _ in range(count)]


def limit_of_open_files(running):
    with open(f"/proc/{running.process.pid}/limits") as limits:
        return next(line.split()[3] for line in limits if line.startswith("Max open files"))


@pytest.mark.parametrize("open_files", [64, 128])
def test_connections_leave_descriptors_for_s3_and_for_probes(moto_bucket, serve_store, open_files):
    running, client = serve_store({"default": moto_bucket.store()}, open_files=open_files)
    assert limit_of_open_files(running) == str(open_files)
    client.put("key", b"data")
    taken = open_connections(running.address, 2 * open_files)
    try:
        eventually("the excess connections are closed", lambda: sum(map(is_closed, taken)) >= open_files, within=10)
        assert running.ready_status() == 200
        assert running.health(running.health_address) == 1
        with ThreadPoolExecutor(20) as threads:
            for number, found in enumerate(threads.map(lambda _: client.get("key").data, range(100))):
                assert found == b"data", number
    finally:
        for held in taken:
            held.close()

    def serves_another():
        try:
            return running.client("acme").head("key") is not None
        except grpc.RpcError:
            return False

    eventually("the server accepts connections again", serves_another, within=10)
