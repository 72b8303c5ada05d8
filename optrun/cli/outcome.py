"""What `run` and `resume` print at the end of a run."""

import json as json_module
import shlex
import sys

from optrun.api import Run
from optrun.store import Status


def print_outcome(run: Run, *, json: bool, quiet: bool) -> int:
    """Print how a run ended, what came of it and what to type next; return the exit code."""
    if json:
        print(
            json_module.dumps(
                {
                    "run": str(run.path) if run.path else None,
                    "status": str(run.status),
                    "reason": run.reason,
                    "steps": run.steps,
                    **run.summary,
                },
                allow_nan=False,
            )
        )
    elif quiet:
        print(run.path or "")
    else:
        _print_summary(run)
    if run.status is Status.INTERRUPTED:
        where = f": optrun resume {shlex.quote(str(run.path))}" if run.path else ", and was not saved"
        print(f"interrupted at step {run.steps}{where}", file=sys.stderr)
        return 128 + (run.signal or 2)
    return 1 if run.status in (Status.DIVERGED, Status.FAILED) else 0


def _print_summary(run: Run) -> None:
    reason = f": {run.reason}" if run.reason else ""
    print(f"{run.config['name']}: {run.status} after {run.steps} steps{reason}")
    width = max(map(len, run.summary), default=0)
    for name, value in run.summary.items():
        print(f"  {name:<{width}}  {'not finite' if value is None else format(value, '.6g')}")
    if run.path:
        print(run.path)
        if run.status is not Status.INTERRUPTED:
            path = shlex.quote(str(run.path))
            print(f"next: optrun export {path} --format csv -o curves.csv", file=sys.stderr)
