"""Runs Longshore as a process."""

import re
import signal
import urllib.error
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from . import process
from .client import Client
from .wait import eventually

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Server:
    """A running `longshore demo` or `longshore serve`."""

    def __init__(self, command, address, health_address, admin_address, folder, environment):
        self.address = address
        self.health_address = health_address
        self.admin_address = admin_address
        self.out, self.log = folder / "stdout", folder / "stderr"
        self.clients = []
        with self.out.open("wb") as out, self.log.open("wb") as log:
            self.process = process.start(command, stdout=out, stderr=log, env=environment, cwd=folder)
        try:
            eventually("the server is ready", self.is_ready, within=15)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def is_ready(self):
        ended = self.process.poll()
        assert ended is None, f"the server exited with {ended}: {self.log.read_text()}"
        return self.ready_status() == 200

    def ready_status(self):
        """Returns the HTTP status of /readyz, or None if there is no response."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{self.health_address}/readyz", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def health(self, address=None, service=""):
        """Returns the status from grpc.health.v1.Health/Check."""
        options = [("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(address or self.address, options=options) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            return check(health_pb2.HealthCheckRequest(service=service), timeout=5).status

    def client(self, tenant=None, token=None, tls=None, address=None):
        """`tls` has the credentials of a TLS channel; without them, the client uses plaintext."""
        client = Client(address or self.address, tenant, token, tls)
        self.clients.append(client)
        return client

    def memory(self, what):
        """Returns `VmRSS` (current) or `VmHWM` (peak) in bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(rf"^{what}:\s+(\d+) kB$", status.read(), re.MULTILINE)[1]) * 1024

    def logged(self, text):
        """Waits until the log contains a text, and returns the whole log: a thread of its own writes it."""
        return eventually(f"the log contains {text}", lambda: log if text in (log := self.log.read_text()) else None, within=20)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        for client in self.clients:
            client.close()
        process.stop(self.process)


def serve(binary, folder, tenants_file, open_files=None, environment=None, **settings):
    """Starts `longshore serve` on free ports. `settings` are LONGSHORE_ variables without the prefix, None to leave one
    unset. `open_files` limits its file descriptors. `environment` has other variables."""
    address, health_address, admin_address = (f"127.0.0.1:{port}" for port in process.free_ports(3))
    variables = {"LISTEN_ADDR": address, "HEALTH_ADDR": health_address, "ADMIN_ADDR": admin_address, "TENANTS_FILE": str(tenants_file),
                 "AUTH": "none", **settings}
    named = {f"LONGSHORE_{name}": value for name, value in variables.items() if value is not None}
    environment = process.bare_environment(**named, **(environment or {}))
    limit = [] if open_files is None else ["prlimit", f"--nofile={open_files}:{open_files}", "--"]
    return Server([*limit, binary, "serve"], address, health_address, admin_address, folder, environment)


class Demo(Server):
    """A running `longshore demo`."""

    def __init__(self, binary, folder):
        ports = process.free_ports(4)
        address, s3, health, admin = (f"127.0.0.1:{port}" for port in ports)
        self.data = folder / "data"
        command = [binary, "demo", "--data", self.data, "--listen", address, "--s3-listen", s3, "--health-listen", health,
                   "--admin-listen", admin]
        self.s3_endpoint = f"http://{s3}"
        super().__init__(command, address, health, admin, folder, process.bare_environment())
        eventually("the greeting is complete", lambda: "Ctrl-C" in self.greeting(), within=5)

    def greeting(self):
        return self.out.read_text()
