"""A case: calls that are made on every server, and what is known about the right responses."""

from dataclasses import dataclass
from typing import Callable

# The servers whose responses are considered to be S3's, except for those that differences.py lists.
REFERENCES = ("moto", "versitygw")
SERVERS = (*REFERENCES, "embedded")

CASES = {}


@dataclass(frozen=True)
class Case:
    """`run` makes the calls. `also` names fields that are compared in addition to the usual ones."""

    name: str
    run: Callable
    judges: tuple
    also: frozenset
    servers: tuple


def case(judges=REFERENCES, also=""):
    """Turns a function that makes calls into a test on each judge and on the embedded server.

    A reference server that does not support what the case tests is not a judge; the case's file says why.
    """
    servers = (*judges, "embedded")

    def register(function):
        name = f"{function.__module__.removeprefix('test_')}.{function.__name__.removeprefix('test_')}"
        assert name not in CASES, f"two cases are named {name}"
        CASES[name] = found = Case(name, function, tuple(judges), frozenset(also.split()), tuple(servers))

        def test(server_kind, verdict):
            problems = verdict(found, server_kind)
            assert not problems, "\n".join([f"{name} on {server_kind}:", *problems])

        test.servers = tuple(servers)
        test.__name__, test.__doc__, test.__module__ = function.__name__, function.__doc__, function.__module__
        return test

    return register
