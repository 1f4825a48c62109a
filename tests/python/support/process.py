"""Child processes that never outlive the tests."""

import os
import shutil
import signal
import socket
import subprocess


def free_ports(count):
    """Ports of the loopback address that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def bare_environment(**variables):
    """Nothing of whoever runs the tests: neither credentials nor proxies nor settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return {**kept, **variables}


def start(command, **options):
    """Starts `command`; the kernel ends it should the tests be killed outright."""
    guard = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    return subprocess.Popen([*guard, *map(str, command)], stdin=options.pop("stdin", subprocess.DEVNULL), **options)


def stop(process, within=15):
    """Asks `process` to end, and makes it end if it does not. Returns its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
