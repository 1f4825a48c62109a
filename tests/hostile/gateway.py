"""The server under attack, and the S3 server behind it."""

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from support import process, server
from support.client import Client, pieces

MIB = 1024 * 1024
TOKEN = "a-token-of-the-hostile-script"
TENANT = "attacked"
# The memory that the process may use in addition to its memory budget.
BESIDE_BUDGET = 128 * MIB
BUDGET = 256 * MIB
TICK = os.sysconf("SC_CLK_TCK")


class Finding:
    """A measured figure, and whether it is good (None if it is not judged)."""

    def __init__(self, what, text, good=None):
        self.what, self.text, self.good = what, text, good

    def __str__(self):
        mark = {None: "", True: "ok", False: "FAILED"}[self.good]
        return f"  {self.what:44}{self.text:40}{mark}"


class Backend:
    """`longshore demo`, used as an S3 server."""

    def __init__(self, binary, folder):
        place = folder / "backend"
        place.mkdir()
        self.demo = server.Demo(binary, place)
        lines = (self.demo.data / "credentials").read_text().splitlines()
        self.keys = dict(line.split(" = ") for line in lines if " = " in line)
        self.endpoint = self.demo.s3_endpoint
        client = self.demo.client("demo")
        client.put("small", b"x" * 4096)
        client.close()

    def stores(self):
        keys = {name.removeprefix("aws_"): value for name, value in self.keys.items()}
        return {"default": {"url": "s3://demo", "config": {"endpoint": self.endpoint, **keys}}}

    def end(self):
        self.demo.stop()


class Gateway:
    """`longshore serve` with a tenant and authentication."""

    def __init__(self, binary, folder, stores, stderr=None, **settings):
        self.binary, self.folder, self.stores = binary, folder, stores
        tenants = folder / "tenants.yaml"
        caller = {"name": "caller", "token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest(),
                  "access": ["read", "write", "delete", "list"]}
        tenant = {"client_options": {"allow_http": True}, "callers": [caller], "stores": stores}
        tenants.write_text(json.dumps({"tenants": {TENANT: tenant}}))
        self.port, self.health_port = process.free_ports(2)
        self.address = f"127.0.0.1:{self.port}"
        variables = {"LISTEN_ADDR": self.address, "HEALTH_ADDR": f"127.0.0.1:{self.health_port}",
                     "TENANTS_FILE": str(tenants), "AUTH": "required", **settings}
        environment = process.bare_environment(**{f"LONGSHORE_{name}": value for name, value in variables.items()})
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = process.start([binary, "serve"], stdout=subprocess.DEVNULL, stderr=stderr or log,
                                         env=environment)
        self._until_ready()

    def _until_ready(self):
        deadline = time.monotonic() + 15
        while self.probe("readyz") != 200:
            assert self.process.poll() is None, f"the server exited: {self.log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, "the server did not become ready"
            time.sleep(0.05)

    def probe(self, path):
        """Returns the HTTP status of a probe, or None if there is no response."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.health_port}/{path}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def metric(self, name):
        """Returns the value of a metric with a single series, or None if it is not reported."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.health_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)), None)

    def put(self, key, size):
        """Stores an object of zeros."""
        client = Client(self.address, token=TOKEN)
        client.upload(key, pieces(bytes(size)))
        client.close()

    def memory(self, what="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(f"{what}:"))

    def forget_peak(self):
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def cpu(self):
        """Returns the CPU time used so far, in seconds."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def bystander(self):
        return Bystander(self.address)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Bystander:
    """A well-behaved caller in its own process. It makes one call after another until `end`."""

    def __init__(self, address):
        script = Path(__file__).with_name("bystander.py")
        self.process = process.start([sys.executable, script, address, TOKEN], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)

    def end(self):
        """Ends the process. Returns the latencies in milliseconds, shortest first, and the number of failed calls."""
        said, _ = self.process.communicate("", timeout=60)
        return json.loads(said)

    def seen(self):
        """Ends the process. Returns (median in ms, number of calls, number of failed calls)."""
        said = self.end()
        times = said["times"]
        return (times[len(times) // 2] if times else float("inf")), len(times), said["failed"]

    @staticmethod
    def beside(gateway, seconds):
        bystander = gateway.bystander()
        time.sleep(seconds)
        return bystander.seen()
