"""Child processes that never outlive the tests."""

import os
import shutil
import signal
import socket
import subprocess


def free_ports(count):
    """Returns loopback ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def bare_environment(**variables):
    """Returns an environment without the user's credentials, proxies and settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return {**kept, **variables}


def start(command, **options):
    """Starts `command`. If the tests are killed, the kernel ends it."""
    guard = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    return subprocess.Popen([*guard, *map(str, command)], stdin=options.pop("stdin", subprocess.DEVNULL), **options)


def end(process, within=15):
    """Sends SIGTERM to a program that is not under test. Kills it if it does not exit in time."""
    try:
        stop(process, within)
    except subprocess.TimeoutExpired:
        pass


def stop(process, within=15):
    """Sends SIGTERM and returns the exit code. If `process` does not exit in time, kills it and raises."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
