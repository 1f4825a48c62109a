"""The servers. Each is started when it is first needed."""

import configparser
import contextlib
import re
import subprocess

from support import process, s3


class Servers:
    """Starts and stops the servers. `binary` is that of Longshore."""

    def __init__(self, binary, new_folder):
        self._binary = binary
        self._new_folder = new_folder
        self._started = {}

    def __call__(self, kind):
        if kind not in self._started:
            self._started[kind] = self._start(kind)
        return self._started[kind][0]

    def _start(self, kind):
        folder = self._new_folder(kind)
        if kind == "embedded":
            return _start_embedded(self._binary, folder)
        running, found = s3.start(kind, folder / "log")
        return found, lambda: _stop_reference(running)

    def stop(self):
        """Stops all servers. Only the embedded server has to stop in time."""
        for server, _ in self._started.values():
            server.close()
        for kind in sorted(self._started, key="embedded".__eq__):
            self._started[kind][1]()


def _stop_reference(running):
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.stop(running)


def _start_embedded(binary, folder):
    # Imported here because it generates the gRPC client, which the other servers do not need.
    from support.server import Demo

    demo = Demo(binary, folder)
    keys = configparser.ConfigParser()
    keys.read(demo.data / "credentials")
    bucket, region = re.search(r"bucket `(.+?)`, region (\S+?)\)", demo.greeting()).groups()
    server = s3.S3Server(
        "embedded", demo.s3_endpoint, bucket, region, keys["default"]["aws_access_key_id"],
        keys["default"]["aws_secret_access_key"])
    return server, demo.stop
