"""A check: a line for each cell, and the verdict."""

import json as json_module

from rich.text import Text

from optrun.analysis.check import FAILING, Check, CheckLine
from optrun.analysis.leaderboard import worst
from optrun.analysis.selection import title_of
from optrun.cli.ci.case import Case
from optrun.cli.ci.report import Report
from optrun.cli.text.console import console, emit
from optrun.cli.text.tables import Column, TableLayout
from optrun.config import Issue
from optrun.errors import printable

COLOURS = {"ok": "green", "new": "dim"}


def print_check(found: Check, *, json: bool) -> None:
    """Print a check on stdout."""
    if json:
        print(json_module.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False))
        return
    columns = [column for column in _columns(found) if not column.is_empty]
    layout = TableLayout(columns, [column.word_width for column in columns])
    emit(layout.table(console().width), Text(printable(found.verdict), "green" if found.passed else "red"))


def note_check(report: Report, whole: Case, found: Check) -> None:
    """Add the outcome of a check, and a case for each line, to the CI report."""
    whole.outcome = "passed" if found.passed else "failed"
    whole.problem = None if found.passed else "failure"
    whole.messages = [] if found.passed else [found.verdict]
    for line in found.lines:
        case = Case(line.name, f"check of {found.metric}", line.outcome) if line.name else whole
        values = {
            "baseline": line.baseline,
            _name(found): line.result,
            "difference": line.difference,
            "p": line.p,
        }
        case.metrics = {name: _number(value) for name, value in values.items() if value is not None}
        case.metrics["n"] = str(line.n)
        if line.outcome in FAILING:
            case.problem, case.messages = "failure", [_message(line, found)]
            report.issues.append(Issue(case.name, None, None, "", case.messages[0]))
        if case is not whole:
            report.cases.append(case)


def _columns(found: Check) -> list[Column]:
    lines = found.lines
    return [
        Column("", [Text(line.outcome, COLOURS.get(line.outcome, "red")) for line in lines]),
        Column("problem", [printable(line.problem) for line in lines]),
        Column(title_of(found.by), [printable(line.value) for line in lines]),
        Column(
            "baseline",
            [_value(line.baseline, line, found) if found.baseline else "" for line in lines],
            right=True,
        ),
        Column(_name(found), [_value(line.result, line, found) for line in lines], right=True),
        Column(
            "difference" if found.target is None else f"to {found.target:.10g}",
            ["" if line.difference is None else f"{line.difference:+.3g}" for line in lines],
            right=True,
        ),
        Column("n", [str(line.n) for line in lines], right=True),
        Column("p", ["" if line.p is None else f"{line.p:.2g}" for line in lines], right=True),
        Column("", ["" if found.target is None else line.test for line in lines]),
        Column("", [line.note for line in lines]),
    ]


def _name(found: Check) -> str:
    """Return the name of what is judged: of seeds, beside a target, a mean or a median."""
    if found.target is None or all(line.n <= 1 for line in found.lines):
        return "new" if found.target is None else "value"
    return "median" if found.p is None else "mean"


def _value(value: float | None, line: CheckLine, found: Check) -> str:
    if value is not None:
        return _number(value)
    return worst(found.metric) if line.n and line.outcome != "new" else ""


def _number(value: float) -> str:
    return f"{value:.6g}"


def _message(line: CheckLine, found: Check) -> str:
    """Return what is wrong with a cell in a sentence."""
    if line.outcome == "missing":
        return f"{found.metric} is missing: {line.note}"
    difference = "" if line.difference is None else f" (by {line.difference:+.3g})"
    if found.target is not None:
        p = "" if line.p is None else f", p = {line.p:.2g} in the {line.test}"
        note = f": {line.note}" if line.note else ""
        return f"{found.metric} misses {found.target:.10g}: {_value(line.result, line, found)}{difference}{p}{note}"
    return (
        f"{found.metric} is {line.outcome}: {_value(line.result, line, found)}{difference}, "
        f"the baseline has {_value(line.baseline, line, found)}" + (f": {line.note}" if line.note else "")
    )
