"""BINARY COUNT: serves COUNT tenants of one store, each in a file of its own, and measures how long the start and a
reload with one changed file take, and the memory that is in use after the start and after several reloads.

Fails if a median is above its limit: a start within 1 s, a reload within 200 ms, and 64 MiB and 2 KiB for each tenant
(after reloads, half as much again: the old and the new settings are in memory at the same time).
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

KIB = 1024
MIB = 1024 * KIB

STARTS = 3
RELOADS = 5
HEALTH = "127.0.0.1:19090"

TENANT = """tenants:
  {name}:
    callers:
      - {{name: caller, token_sha256: "{token:064x}", access: [read, write, delete, list]}}
    stores:
      default:
        url: s3://bucket-{name}/{prefix}
        config: {{region: eu-west-1, access_key_id: AKIAEXAMPLE, secret_access_key: "{token:040x}"}}
"""


def write(folder, number, prefix):
    text = TENANT.format(name=f"t{number:05}", token=number + 1, prefix=prefix)
    (folder / f"t{number:05}.yaml").write_text(text)


class Server:
    def __init__(self, binary, folder):
        variables = {
            "LONGSHORE_LISTEN_ADDR": "127.0.0.1:0",
            "LONGSHORE_HEALTH_ADDR": HEALTH,
            "LONGSHORE_TENANTS_FILE": str(folder),
            "LONGSHORE_RELOAD_INTERVAL": "unlimited",
            "LONGSHORE_LOG_FORMAT": "json",
        }
        began = time.monotonic()
        self.process = subprocess.Popen([binary, "serve"], stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, **variables})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            try:
                opener.open(f"http://{HEALTH}/readyz").close()
                break
            except (urllib.error.URLError, ConnectionError):
                assert self.process.poll() is None, "the server ended"
                time.sleep(0.005)
        self.start = time.monotonic() - began

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * KIB for line in status if line.startswith("VmRSS:"))

    def reload(self):
        """The time from the signal until the server says that it has reloaded the tenants."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGHUP)
        for line in self.process.stderr:
            line = json.loads(line)
            if line["message"] == "the tenants have been reloaded":
                return time.monotonic() - began
        raise AssertionError("the server ended")

    def end(self):
        self.process.terminate()
        self.process.communicate()


def judged(what, figure, limit, unit, scale=1.0):
    print(f"{what}: {figure / scale:.2f} {unit} (limit {limit / scale:.2f} {unit})")
    return figure <= limit


def main(binary, count):
    with tempfile.TemporaryDirectory(prefix="longshore-tenants-") as folder:
        folder = Path(folder)
        for number in range(count):
            write(folder, number, "first")
        starts = []
        for _ in range(STARTS):
            server = Server(binary, folder)
            starts.append(server.start)
            if len(starts) < STARTS:
                server.end()
        time.sleep(1)
        idle = server.memory()
        reloads = []
        for reload in range(RELOADS):
            write(folder, count // 2, f"other{reload}")
            reloads.append(server.reload())
        time.sleep(1)
        later = server.memory()
        server.end()
    room = 64 * MIB + count * 2 * KIB
    passed = [
        judged("start", statistics.median(starts), 1.0, "s"),
        judged("reload with one changed file", statistics.median(reloads), 0.2, "s"),
        judged("memory after the start", idle, room, "MiB", MIB),
        judged("memory after reloads", later, room * 1.5, "MiB", MIB),
    ]
    sys.exit(0 if all(passed) else 1)


main(sys.argv[1], int(sys.argv[2]))
