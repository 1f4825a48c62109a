"""Runs the programs in the README and docs/CLIENTS.md exactly as printed there."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from support import process, stubs
from support.paths import PROTO, ROOT, TESTS, TOOLS

ADDRESS = "127.0.0.1:50051"
CLIENTS = "docs/CLIENTS.md"
HELLO = b"Hello, harbour!"


def shown(page, language):
    """Returns the only code block of a language on a page."""
    [block] = re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    return block


@pytest.fixture
def hello(demo):
    """The object that the programs read."""
    demo.client("demo").put("hello.txt", HELLO)


@pytest.fixture
def app(demo, hello, tmp_path):
    """Writes the program that a page shows into a folder that has the protos."""
    (tmp_path / "proto").symlink_to(PROTO)

    def write(page, language, name):
        program = shown(page, language)
        assert ADDRESS in program
        (tmp_path / name).write_text(program.replace(ADDRESS, demo.address))
        return tmp_path

    return write


def run(folder, *command, **environment):
    """Runs a command in a folder, to its end."""
    return subprocess.run(command, cwd=folder, env=process.bare_environment(**environment), capture_output=True,
                          timeout=120)


def said(folder, *command, **environment):
    """Runs a command that must succeed, and returns its output."""
    done = run(folder, *command, **environment)
    assert done.returncode == 0, f"{command}\n{done.stderr.decode()}"
    return done.stdout


def reads_hello(demo, folder, *command, **environment):
    """Checks that a program prints the object, and fails once the object is deleted."""
    assert said(folder, *command, **environment) == HELLO
    demo.client("demo").delete("hello.txt")
    done = run(folder, *command, **environment)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"there is no object with this key" in done.stderr


def test_go(demo, app, tmp_path_factory):
    folder = app(CLIENTS, "go", "main.go")
    client = TESTS / "polyglot" / "go"
    (folder / "go.mod").write_text(re.sub("^module .*", "module example.com/app", (client / "go.mod").read_text()))
    shutil.copy(client / "go.sum", folder)
    # The page calls `protoc`: provide the one from grpcio-tools.
    protoc = tmp_path_factory.mktemp("bin") / "protoc"
    protoc.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m grpc_tools.protoc "$@"\n')
    protoc.chmod(0o755)
    path = os.pathsep.join([str(protoc.parent), str(TOOLS / "bin"), os.environ["PATH"]])
    said(folder, "sh", "-c", shown(CLIENTS, "sh"), PATH=path)
    reads_hello(demo, folder, TOOLS / "bin" / "go", "run", ".", GOTOOLCHAIN="local", CGO_ENABLED="0")


def test_java(demo, app):
    folder = app(CLIENTS, "java", "Hello.java")
    jars = f"{TOOLS}/polyglot/java/classes:{TOOLS}/grpc-java/jars/*"
    said(folder, "javac", "-cp", jars, "-d", "classes", "Hello.java")
    reads_hello(demo, folder, "java", "-cp", f"classes:{jars}", "Hello")


def test_js(demo, app):
    folder = app(CLIENTS, "js", "hello.js")
    reads_hello(demo, folder, "node", "hello.js", NODE_PATH=str(TOOLS / "grpc-js" / "node_modules"))


def test_python(app):
    folder = app("README.md", "python", "big.py")
    shutil.copy(ROOT / "README.md", folder)
    lines = said(folder, sys.executable, "big.py", PYTHONPATH=stubs.generate(), GRPC_VERBOSITY="NONE").decode()
    size = (ROOT / "README.md").stat().st_size
    assert re.match(rf'big.bin {size} "[0-9a-f]+"\n', lines), lines
    assert sum(map(int, re.findall(r"^(\d+) bytes$", lines, re.MULTILINE))) == size, lines
