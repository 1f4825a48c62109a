"""The clients, as processes."""

import json
import os
import subprocess
import sys

from support import process, stubs
from support.paths import PROTO, TESTS, TOOLS

HERE = TESTS / "polyglot"
# Seconds for all cases of one language.
BOUND = 180


def python():
    path = os.pathsep.join([stubs.generate(), str(TESTS / "python")])
    return [sys.executable, HERE / "python" / "client.py"], {"PYTHONPATH": path, "GRPC_VERBOSITY": "NONE"}


def go():
    return [TOOLS / "polyglot" / "go" / "client"], {}


def java():
    return ["java", "-cp", f"{TOOLS}/polyglot/java/classes:{TOOLS}/grpc-java/jars/*", "Client"], {}


def js():
    # The npm package contains google/protobuf, but not google/rpc.
    from google import rpc
    google = os.path.dirname(os.path.dirname(rpc.__path__[0]))
    return ["node", HERE / "js" / "client.js", PROTO, google], {"NODE_PATH": str(TOOLS / "grpc-js" / "node_modules")}


# How to start each client. tests/polyglot.sh has built those in compiled languages.
LANGUAGES = {"python": python, "go": go, "java": java, "js": js}


def run(language, told, data, folder):
    """Runs a language's client with all cases of `told`. Returns a (verdict, details) pair for each case's name, and a
    text that says how the client ended."""
    cases, log = folder / "cases.json", folder / "log"
    cases.write_text(json.dumps(told))
    command, environment = LANGUAGES[language]()
    with (folder / "said").open("w+") as said, log.open("wb") as errors:
        client = process.start(
            [*command, cases, data], stdout=said, stderr=errors, env=process.bare_environment(**environment))
        try:
            end = f"exited with {client.wait(BOUND)}"
        except subprocess.TimeoutExpired:
            client.kill()
            client.wait()
            end = f"did not finish within {BOUND} s"
        said.seek(0)
        lines = [line.rstrip("\n").split("\t", 2) for line in said]
    return {name: (verdict, rest) for verdict, name, rest in lines}, f"{end}: {log.read_text()}"
