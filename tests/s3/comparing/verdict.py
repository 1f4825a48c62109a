"""Judges a server's responses: by what the case states, otherwise by the first judge that is not known to be wrong."""

import functools
from fnmatch import fnmatchcase

from . import outcome
from .calls import Calls, Failed


# The `right` of a difference that does not say what would be right.
UNSAID = object()


class Runs:
    """Runs each case once on each server, when its results are first needed."""

    def __init__(self, server_of):
        self._server_of = server_of
        self._buckets = 0

    @functools.cache
    def steps(self, case, kind):
        server = self._server_of(kind)
        self._buckets += 1
        name = "".join(letter if letter.isalnum() else "-" for letter in case.name)[:45].strip("-")
        bucket = f"{name}-{self._buckets}"
        server.client.create_bucket(Bucket=bucket)
        on = Calls(server, bucket, case.also)
        try:
            case.run(on)
        except Failed as failed:
            on.record("the case ran to its end", {"status": f"no: {failed}"})
        else:
            on.record("the case ran to its end", {"status": "yes"}).says(status="yes")
        return on.steps


class Verdict:
    """Called with a case and a kind of server. Returns the problems, one line each."""

    def __init__(self, runs, differences):
        self._runs = runs
        self._differences = differences
        self.judged = set()
        self.met = set()

    def __call__(self, case, kind):
        self.judged.add((case.name, kind))
        runs = {judge: self._runs.steps(case, judge) for judge in case.judges}
        mine = self._runs.steps(case, kind)
        steps = list(dict.fromkeys(step for run in (mine, *runs.values()) for step in run))
        problems, met = [], set()
        for step in steps:
            for field, problem in self._problems(case, step, runs, mine):
                excused = [each for each in self._differences if covers(each, kind, case.name, step, field)]
                met.update(excused)
                if not excused:
                    problems.append(f"  {step!r}: {field}: {problem}")
        self.met |= met
        # Differences that cover several cases are checked once all cases have been judged.
        listed = [each for each in self._differences if each.server == kind and each.case == case.name]
        problems += [f"  {each.steps!r}: {kind} does not differ in {each.fields}: remove this entry from differences.py"
                     for each in listed if each not in met]
        return problems

    def _problems(self, case, step, runs, mine):
        """Yields every field with a wrong value. If the status is wrong, yields only that."""
        stated = next((run[step].stated for run in (mine, *runs.values()) if step in run), {})
        if step not in mine:
            yield "status", "the step was not reached"
            return
        said = mine[step].recorded
        fit = [judge for judge in runs if self._fit(judge, case, step, runs[judge], stated)]
        fallback = {each.fields: each.right for each in self._differences if each.right is not UNSAID
                    and any(covers(each, judge, case.name, step, each.fields) for judge in runs)}
        fields = {"status", *said, *stated, *(field for judge in fit for field in runs[judge][step].recorded)}
        for field in sorted(fields, key=lambda field: (field != "status", field != "code", field)):
            if field in stated:
                right, by = stated[field], "S3's documentation"
            else:
                by = next((judge for judge in fit if not self._differs(judge, case, step, field)), None)
                if by is not None:
                    right = runs[by][step].recorded.get(field)
                elif field == "status" and field not in said:
                    # Notes have no status.
                    continue
                elif field == "status":
                    # A step that neither the case nor a judge determines only prepares later steps: it must succeed.
                    by, right = "the default", said.get(field) if said.get(field) in range(200, 300) else "a success"
                elif field == "code" or field in fallback:
                    by, right = "S3's documentation", fallback.get(field)
                else:
                    continue
            if not outcome.same(said.get(field), right):
                if field == "status":
                    yield field, f"{said.get(field)!r}, but {right!r} according to {by}; whole response: {_short(said)}"
                    return
                yield field, f"{_short(said.get(field))}, but {_short(right)} according to {by}"

    def _fit(self, judge, case, step, run, stated):
        """Whether a judge reached this step, and responded with S3's status as far as that is known."""
        if step not in run or self._differs(judge, case, step, "status"):
            return False
        said = run[step].recorded
        return "status" not in stated or said.get("status") == stated["status"]

    def _differs(self, judge, case, step, field):
        return any(covers(each, judge, case.name, step, field) for each in self._differences)

    def never_met(self, kind, cases):
        """Returns the differences that no case showed, or None as long as not all cases have been judged."""
        if not all((case.name, kind) in self.judged for case in cases if kind in case.servers):
            return None
        return [each for each in self._differences if each.server == kind and each not in self.met]


def _short(value):
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def covers(difference, kind, case, step, field):
    """Whether an entry of differences.py covers this field of this step."""
    return (difference.server == kind and fnmatchcase(case, difference.case) and fnmatchcase(step, difference.steps)
            and (difference.fields == "*" or field in difference.fields.split()))
