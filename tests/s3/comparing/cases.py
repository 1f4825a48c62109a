"""A case: calls that every server gets, and what is known about the right answers."""

from dataclasses import dataclass
from typing import Callable

# The servers whose answers are taken for S3's, but for what differences.py lists.
REFERENCES = ("moto", "versitygw")
SERVERS = (*REFERENCES, "embedded")

CASES = {}


@dataclass(frozen=True)
class Case:
    """`run` makes the calls; `also` are the fields that its steps are compared in beyond the usual ones."""

    name: str
    run: Callable
    judges: tuple
    also: frozenset
    servers: tuple


def case(judges=REFERENCES, also=""):
    """Makes a test of a function that makes calls: on each judge and on the embedded server.

    A reference server is no judge where it cannot do what the case is about at all; the case's file says why.
    """
    servers = (*judges, "embedded")

    def register(function):
        name = f"{function.__module__.removeprefix('test_')}.{function.__name__.removeprefix('test_')}"
        assert name not in CASES, f"two cases are called {name}"
        CASES[name] = found = Case(name, function, tuple(judges), frozenset(also.split()), tuple(servers))

        def test(server_kind, verdict):
            problems = verdict(found, server_kind)
            assert not problems, "\n".join([f"{name} on {server_kind}:", *problems])

        test.servers = tuple(servers)
        test.__name__, test.__doc__, test.__module__ = function.__name__, function.__doc__, function.__module__
        return test

    return register
