"""What of compared sweeps has not ended, and what that means for their confirmation."""

import shlex
from collections.abc import Iterator, Sequence

from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.comparison import Comparison
from optrun.errors import counted


def selected_on_reported(found: Comparison, sweeps: Sequence[ComparedSweep]) -> Iterator[str]:
    """Yield why the seeds that are reported took part in the selection, and what would report others."""
    if not any(row.trials > 1 and not row.confirmed for table in found.problems for row in table.rows):
        return
    confirmed = [sweep.confirmed for sweep in sweeps if sweep.confirmed is not None]
    without = [sweep for sweep in sweeps if sweep.confirmed is None and not sweep.confirms]
    if begun := [sweep for sweep in sweeps if sweep.confirmed is not None and waiting(sweep.confirmed)]:
        left, runs = sum(map(waiting, confirmed)), sum(len(each.runs) for each in confirmed)
        cure = f"{left} of {counted(runs, 'run')} of the confirmation are left, and none of it is reported before"
        cure += to_resume(begun)
    elif later := [sweep for sweep in sweeps if sweep.confirmed is None and sweep.confirms]:
        cure = f"the confirmation on fresh seeds has not begun{to_resume(later)}"
    elif not without:
        cure = f"the confirmation lacks settings that are compared: give sweep.confirm.by={found.by}"
    else:
        of = f" of {', '.join(sweep.label for sweep in without)}" if confirmed else ""
        cure = f"sweep.confirm runs the best ones{of} on fresh seeds"
    yield f"the settings were selected on the seeds that are reported, which favours what had more trials: {cure}"


def unended(found: Comparison, sweeps: Sequence[ComparedSweep]) -> Iterator[str]:
    """Yield how many runs have not ended, those of the confirmation where nothing else is said of them."""
    if left := sum(map(waiting, sweeps)):
        of = [each for each in sweeps if waiting(each)]
        yield f"{counted(left, 'run')} of the sweeps have not ended{to_resume(of)}"
    confirmed = [
        sweep for sweep in sweeps if sweep.confirmed is not None and sweep.confirmed.runs is not sweep.runs
    ]
    left = sum(waiting(sweep.confirmed) for sweep in confirmed if sweep.confirmed is not None)
    if left and not any(True for _ in selected_on_reported(found, sweeps)):
        yield f"{counted(left, 'run')} of the confirmation have not ended{to_resume(confirmed)}"


def waiting(sweep: ComparedSweep) -> int:
    """Return how many runs of a sweep have not ended."""
    return sum(not run.status.final for run in sweep.runs)


def to_resume(sweeps: Sequence[ComparedSweep]) -> str:
    """Return what executes the rest of sweeps, as the end of a sentence; nothing where a process does or none can."""
    commands = [
        f"optrun resume {shlex.quote(str(sweep.path))}"
        + "".join(f" --plugin {shlex.quote(plugin)}" for plugin in sweep.plan.plugins)
        for sweep in sweeps
        if sweep.path is not None
    ]
    return f": {', '.join(commands)}" if commands else ""
