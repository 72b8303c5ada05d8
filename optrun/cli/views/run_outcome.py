"""The result that `run` and `resume` print, and their exit code."""

import json as json_module
import shlex
import sys
from collections.abc import Sequence

from optrun.api.runs import Run
from optrun.cli.ci.case import Case
from optrun.cli.text.metrics import metric_lines, number
from optrun.config import Issue
from optrun.errors import printable, printable_lines
from optrun.store import Status


def note_outcome(case: Case, run: Run, misses: Sequence[Issue]) -> list[Issue]:
    """Fill in the CI case of a run, missed expectations included; return the issues to annotate."""
    case.outcome = str(run.status)
    case.metrics = {"steps": str(run.steps)} | {name: number(value) for name, value in run.summary.items()}
    if run.status is Status.INTERRUPTED:
        case.problem, case.messages = "error", [f"interrupted at step {run.steps}"]
    elif run.status is Status.DIVERGED:
        case.problem, case.messages = "failure", [run.reason]
    elif run.status is Status.FAILED:
        case.problem, case.messages = "error", [run.reason]
    elif misses:
        case.problem, case.outcome = "failure", "expectation missed"
    case.messages += map(str, misses)
    if run.status not in (Status.DIVERGED, Status.FAILED):
        return [*misses]
    return [Issue(case.name, None, None, "", f"{run.status}: {run.reason}"), *misses]


def print_outcome(
    run: Run, misses: Sequence[Issue], *, json: bool, quiet: bool, plugins: Sequence[str] = ()
) -> int:
    """Print the status, the metrics and the next commands of a run; return the exit code."""
    if json:
        from optrun.analysis.summaries import run_object

        print(
            json_module.dumps(
                {
                    **run_object(run.path, run.status, run),
                    **({"expect": [*map(str, misses)] or "met"} if run.config.get("expect") else {}),
                },
                allow_nan=False,
            )
        )
    elif quiet:
        if run.path:
            print(run.path)
    else:
        _print_summary(run)
    for miss in misses:
        print(miss, file=sys.stderr)
    if run.status is Status.INTERRUPTED:
        command = [
            "optrun",
            "resume",
            str(run.path),
            *(each for plugin in plugins for each in ("--plugin", plugin)),
        ]
        where = f": {printable(shlex.join(command))}" if run.path else ", and was not saved"
        print(f"interrupted at step {run.steps}{where}", file=sys.stderr)
        return 128 + (run.signal or 2)
    if run.status in (Status.DIVERGED, Status.FAILED):
        if quiet:
            print(printable_lines(f"{run.config['name']}: {run.status}: {run.reason}"), file=sys.stderr)
        return 1
    return 4 if misses else 0


def _print_summary(run: Run) -> None:
    reason = f": {run.reason}" if run.reason else ""
    taken = f"{run.steps} step{'s' * (run.steps != 1)}"
    print(printable_lines(f"{run.config['name']}: {run.status} after {taken}{reason}"))
    for line in metric_lines(run.summary, run.baselines):
        print(f"  {printable(line)}")
    if run.path:
        print(printable(str(run.path)))
        if run.status is not Status.INTERRUPTED:
            path = printable(shlex.quote(str(run.path)))
            print(f"next: optrun curves {path}\n      optrun export {path} -o curves.csv", file=sys.stderr)
