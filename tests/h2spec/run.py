"""H2SPEC BINARY: runs h2spec against `longshore demo` and compares the failed cases with expected.txt."""

import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from support.server import Demo

EXPECTED = Path(__file__).with_name("expected.txt")
# Seconds that h2spec waits for a response.
PATIENCE = 2
LONGEST_RUN = 600


def expected():
    """Returns the cases that may fail, as (package, description)."""
    lines = EXPECTED.read_text().splitlines()
    return {tuple(part.strip() for part in line.split("|", 1)) for line in lines if line and not line.startswith("#")}


def run(h2spec, address, report):
    host, port = address.split(":")
    command = [h2spec, "--strict", "--host", host, "--port", port, "--timeout", str(PATIENCE), "--junit-report", report]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LONGEST_RUN).stdout
    cases = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = (case.get("package"), case.get("classname"))
        failed = case.find("error") is not None or case.find("failure") is not None
        cases[name] = "failed" if failed else "skipped" if case.find("skipped") is not None else "passed"
    return cases, output


def report(cases, output):
    listed = expected()
    failed = {name for name, outcome in cases.items() if outcome == "failed"}
    unknown = listed - set(cases)
    print(f"\nh2spec against the gRPC port of longshore demo: {len(cases)} cases")
    for outcome in ("passed", "skipped", "failed"):
        print(f"  {outcome:12}{sum(found == outcome for found in cases.values())}")
    for heading, names in (("expected", failed & listed), ("UNEXPECTED", failed - listed),
                           ("passed although listed", listed & set(cases) - failed), ("UNKNOWN CASE", unknown)):
        for package, description in sorted(names):
            print(f"  {heading}: {package}: {description}")
    if failed - listed:
        print(output[output.find("Failures:"):])
    good = bool(cases) and failed <= listed and not unknown
    print(f"  verdict     {'passed' if good else 'FAILED'}")
    return 0 if good else 1


def main(h2spec, binary):
    folder = Path(tempfile.mkdtemp(prefix="longshore-h2spec-"))
    server = None
    try:
        server = Demo(binary, folder)
        return report(*run(h2spec, server.address, folder / "report.xml"))
    finally:
        if server:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
