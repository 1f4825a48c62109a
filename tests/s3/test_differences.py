"""differences.py is about cases and servers that there are, and about nothing that is over."""

from fnmatch import fnmatchcase

import pytest
from comparing.cases import CASES, SERVERS
from differences import DIFFERENCES


def test_every_difference_is_of_a_case():
    assert [each for each in DIFFERENCES if each.server not in SERVERS
            or not any(fnmatchcase(case, each.case) for case in CASES)] == []


def test_no_difference_is_listed_twice():
    listed = [(each.server, each.case, each.steps, each.fields) for each in DIFFERENCES]
    assert len(listed) == len(set(listed))


def test_every_difference_was_met(server_kind, verdict):
    """Those of one case are looked for with it; those of many can be only now."""
    never_met = verdict.never_met(server_kind, CASES.values())
    if never_met is None:
        pytest.skip("some cases were left out")
    assert never_met == []
