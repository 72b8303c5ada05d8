"""`smoke`: a matrix of optimizers and schedulers, and the reasons of failures."""

import json as json_module
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from string import ascii_letters, digits

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from optrun.cli.ci.case import Case
from optrun.cli.ci.report import Report
from optrun.cli.text.console import console, emit
from optrun.config import Issue
from optrun.errors import printable
from optrun.selftest.smoke import STEPS, Combination, Outcome, Verdict, outcomes

MARKS = {
    "passed": ("✓", "green"),
    "partly": ("◐", "green"),
    "not applicable": ("–", "dim"),
    "failed": ("✗", "red"),
}
MOST = 20
"""The most failures of one optimizer to print; JUnit and JSON have all."""

Matrix = Mapping[str, Mapping[str, list[Outcome]]]


def with_progress(
    chosen: Sequence[Combination], steps: int, interrupted: Callable[[], bool], *, quiet: bool
) -> Iterator[Outcome]:
    """Yield the outcomes, with a progress bar if stderr is a terminal."""
    yield from track(
        outcomes(chosen, steps, interrupted=interrupted),
        total=len(chosen),
        description="smoke",
        console=Console(stderr=True),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )


def matrix(found: Iterable[Outcome]) -> Matrix:
    """Group the outcomes by optimizer and scheduler."""
    by_names: dict[str, dict[str, list[Outcome]]] = {}
    for each in found:
        names = each.combination
        by_names.setdefault(names.optimizer, {}).setdefault(names.scheduler, []).append(each)
    return by_names


def note_outcome(report: Report, outcome: Outcome) -> None:
    """Add an outcome to the CI report."""
    name = str(outcome.combination)
    problem = {Verdict.FAILED: "failure", Verdict.NOT_APPLICABLE: "skipped"}.get(outcome.verdict)
    messages = [outcome.reason] if outcome.reason else []
    report.cases.append(
        Case(
            name,
            f"smoke.{outcome.combination.optimizer}",
            str(outcome.verdict),
            problem,  # type: ignore[arg-type]
            messages,
            seconds=outcome.seconds,
        )
    )
    if outcome.verdict is Verdict.FAILED:
        report.issues.append(Issue(name, None, None, "", outcome.reason))


def rows(found: Matrix) -> list[Case]:
    """Return a case for each optimizer, for the job summary."""
    cases = []
    for name, row in found.items():
        every = [outcome for of in row.values() for outcome in of]
        failed = [outcome for outcome in every if outcome.verdict is Verdict.FAILED]
        cases.append(
            Case(
                name,
                "smoke",
                "failed" if failed else "ok",
                "failure" if failed else None,
                [f"{outcome.combination}: {outcome.reason}" for outcome in failed[:MOST]],
                {verdict: str(sum(each.verdict is verdict for each in every)) for verdict in Verdict},
                sum(each.seconds for each in every),
            )
        )
    return cases


def print_matrix(found: Sequence[Outcome], steps: int, plugins: Sequence[str], *, json: bool) -> bool:
    """Print the results of all combinations; return whether at least one passed and none failed."""
    counts = {verdict: sum(each.verdict is verdict for each in found) for verdict in Verdict}
    good = counts[Verdict.PASSED] > 0 and not counts[Verdict.FAILED]
    extra = [word for plugin in plugins for word in ("--plugin", plugin)]
    extra += ["--steps", str(steps)] if steps != STEPS else []
    if json:
        cases = [{**vars(each.combination), "verdict": each.verdict, "reason": each.reason} for each in found]
        print(json_module.dumps({**counts, "cases": cases}, ensure_ascii=False))
        return good
    _print_marks(matrix(found))
    _print_refusals([each for each in found if each.verdict is Verdict.NOT_APPLICABLE])
    _print_failures([each for each in found if each.verdict is Verdict.FAILED], extra)
    names = [
        {getattr(each.combination, part) for each in found} for part in ("optimizer", "scheduler", "problem")
    ]
    size = " × ".join(
        f"{len(of)} {part}{'s' * (len(of) != 1)}"
        for of, part in zip(names, ("optimizer", "scheduler", "problem"), strict=True)
    )
    total = ", ".join(f"{count:,} {verdict}" for verdict, count in counts.items())
    emit(
        Text(f"\n{total}: {size} in {sum(each.seconds for each in found):.1f} s", "green" if good else "red")
    )
    return good


def _print_marks(found: Matrix) -> None:
    schedulers = list(dict.fromkeys(name for row in found.values() for name in row))
    letters = dict(zip(schedulers, (ascii_letters[26:] + ascii_letters[:26] + digits), strict=False))
    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    made.add_column("", no_wrap=True)
    for name in schedulers:
        made.add_column(letters.get(name, "…"))
    used = set()
    for name, row in found.items():
        marks = [_mark(row[each]) for each in schedulers]
        used.update(marks)
        made.add_row(printable(name), *(Text(*MARKS[mark]) for mark in marks))
    emit(made)
    emit("")
    _print_legend([f"{letters.get(name, '…')} {printable(name)}" for name in schedulers])
    meanings = {
        "passed": "passed",
        "partly": "passed where applicable",
        "not applicable": "not applicable",
        "failed": "failed",
    }
    emit("  ".join(f"{MARKS[mark][0]} {meaning}" for mark, meaning in meanings.items() if mark in used))


def _mark(cell: Sequence[Outcome]) -> str:
    verdicts = {each.verdict for each in cell}
    if Verdict.FAILED in verdicts:
        return "failed"
    return "partly" if len(verdicts) == 2 else str(verdicts.pop())


def _print_legend(entries: Sequence[str]) -> None:
    line = ""
    for entry in entries:
        if line and len(line) + 2 + len(entry) > min(console().width, 100):
            emit(line)
            line = ""
        line += ("  " if line else "") + entry
    emit(line)


def _print_refusals(refused: Sequence[Outcome]) -> None:
    if not refused:
        return
    emit(Text("\nnot applicable", "bold"))
    reasons: dict[tuple[str, str], list[Combination]] = {}
    for each in refused:
        reasons.setdefault((each.combination.optimizer, each.reason), []).append(each.combination)
    for (name, reason), of in reasons.items():
        problems = ", ".join(dict.fromkeys(each.problem for each in of))
        schedulers = dict.fromkeys(each.scheduler for each in of)
        count = "" if len(schedulers) == 1 else f", {len(schedulers)} schedulers"
        with_one = f" with {next(iter(schedulers))}" if len(schedulers) == 1 else ""
        emit(Text(f"  {printable(name)}{printable(with_one)} on {problems}{count}: {printable(reason)}"))


def _print_failures(failed: Sequence[Outcome], extra: Sequence[str]) -> None:
    if failed:
        emit(Text("\nfailed", "bold"))
    for optimizer, group in groupby(failed, key=lambda each: each.combination.optimizer):
        every = list(group)
        for each in every[:MOST]:
            emit(Text(f"  {printable(f'{each.combination}: {each.reason}')}"))
            names = each.combination
            command = ["--optimizer", optimizer, "--scheduler", names.scheduler, "--problem", names.problem]
            emit(Text(f"    optrun smoke {printable(shlex.join([*command, *extra]))}", "cyan"))
        if len(every) > MOST:
            whole = shlex.join(["--optimizer", optimizer, "--json", *extra])
            emit(Text(f"  and {len(every) - MOST} more: optrun smoke {printable(whole)}"))
