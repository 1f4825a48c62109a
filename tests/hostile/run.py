"""BINARY [CASE...]: runs the cases, each against its own server, and prints their findings."""

import importlib
import resource
import shutil
import sys
import tempfile
from pathlib import Path

from gateway import Backend, Gateway

CASES = ("idle", "messages", "bombs", "floods", "readers", "log")


def raise_open_files():
    """Raises the limit for this process and the servers, which have as many connections as the attacker."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def judge(case, binary, folder, backend):
    """Runs a case and prints its findings. Returns whether all of them are good."""
    module = importlib.import_module(f"cases.{case}")
    print(f"\n{module.__doc__.splitlines()[0]}", flush=True)
    good = True
    for number, variant in enumerate(getattr(module, "VARIANTS", [{}])):
        place = folder / f"{case}-{number}"
        place.mkdir()
        gateway = Gateway(binary, place, backend.stores())
        try:
            for finding in module.run(gateway, **variant):
                print(finding, flush=True)
                good = good and finding.good is not False
        except Exception as error:  # a failed case must not keep the others from running
            print(f"  {'':44}not measured: {type(error).__name__}: {error}", flush=True)
            good = False
        finally:
            gateway.end()
    return good


def main(binary, *cases):
    raise_open_files()
    folder = Path(tempfile.mkdtemp(prefix="longshore-hostile-"))
    backend = None
    try:
        backend = Backend(binary, folder)
        failed = [case for case in cases or CASES if not judge(case, binary, folder, backend)]
    finally:
        if backend:
            backend.end()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\nverdict: {'FAILED: ' + ', '.join(failed) if failed else 'passed'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
