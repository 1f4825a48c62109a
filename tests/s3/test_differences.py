"""Every entry of differences.py refers to an existing case and server, and still holds."""

from fnmatch import fnmatchcase

import pytest
from comparing.cases import CASES, SERVERS
from differences import DIFFERENCES


def test_every_difference_refers_to_a_case():
    assert [each for each in DIFFERENCES if each.server not in SERVERS
            or not any(fnmatchcase(case, each.case) for case in CASES)] == []


def test_no_difference_is_listed_twice():
    listed = [(each.server, each.case, each.steps, each.fields) for each in DIFFERENCES]
    assert len(listed) == len(set(listed))


def test_every_difference_still_exists(server_kind, verdict):
    """Differences of a single case are checked with that case. Those of several cases can only be checked now."""
    never_met = verdict.never_met(server_kind, CASES.values())
    if never_met is None:
        pytest.skip("some cases were not run")
    assert never_met == []
