"""`sweep --dry-run`: settings, packs, and an estimate of the time."""

import json as json_module
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from optrun.analysis.confirmation import foreseen
from optrun.cli.text.console import counted, emit, size
from optrun.cli.text.setting_table import Labels, settings_table
from optrun.cli.text.tables import Column
from optrun.cli.views.run_plan import about
from optrun.cli.views.sweep_table import MOST_SETTINGS, run_numbers
from optrun.errors import printable
from optrun.store import Store
from optrun.store.locate import RESULTS, RUNS
from optrun.sweeps.estimate import estimate_sweep
from optrun.sweeps.plan.expand import Plan
from optrun.sweeps.plan.packs import Group, divided
from optrun.sweeps.sweep_store import directory_of, looked_up


def print_sweep_plan(
    plan: Plan,
    groups: Sequence[Group],
    directory: Path | None,
    jobs: int,
    limit: int | None,
    *,
    plugins: Sequence[str],
    json: bool,
    retry_failed: bool,
    accept_changes: bool,
) -> None:
    """Print the settings of a sweep, its packs, an estimate of the time, and where it would be stored."""
    stages, confirming = plan.outline, foreseen(plan)
    where = directory or directory_of(plan, RUNS)
    left = _left(where, plan, groups, retry_failed=retry_failed, accept_changes=accept_changes)
    runs = left[:limit]
    packs = divided(groups, runs, jobs, plan.most_lanes)
    needed = estimate_sweep(plan, groups, packs, jobs, plugins)
    if json:
        document = {
            "sweep": str(where),
            "runs": plan.size,
            "settings": list(plan.settings),
            "seeds": [config.seed for config in plan.configs[: plan.repeats]],
            "left": len(left),
            "stages": [{"settings": count, "until": until} for count, until in stages],
            "confirming": confirming,
            "packs": [list(pack) for pack in packs],
            "jobs": jobs,
            "estimate": asdict(needed),
        }
        print(json_module.dumps(document, ensure_ascii=False, allow_nan=False))
        return
    shown = plan.settings[:MOST_SETTINGS]
    numbers = [run_numbers(index * plan.repeats, plan.repeats) for index in range(len(shown))]
    emit(settings_table([Column("run", numbers, right=True)], Labels(plan.settings), shown, []))
    if len(plan.settings) > MOST_SETTINGS:
        emit(f"… and {len(plan.settings) - MOST_SETTINGS:,} more: --json has all")
    widths = Counter(len(pack) for pack in packs)
    lanes = ", ".join(
        f"{count:,} × {counted(width, 'lane')}" for width, count in sorted(widths.items(), reverse=True)
    )
    seeds = f", each with {plan.repeats} seeds" if plan.repeats > 1 else ""
    emit(f"\n{counted(plan.size, 'run')}: {counted(plan.size // plan.repeats, 'setting')}{seeds}")
    for line in _stages(stages):
        emit(line)
    if confirming:
        most = "about " * plan.method.grows
        emit(f"then {most}{counted(confirming, 'run')} more, which confirm the best settings on fresh seeds")
    if len(left) < len(plan.configs):
        emit(f"{counted(len(plan.configs) - len(left), 'run')} ended before: {len(left):,} left")
    if limit is not None and limit < len(left):
        emit(f"{counted(len(runs), 'run')} would be executed: --limit {limit}")
    if not packs:
        emit(f"nothing is left to run: the results are in {printable(str(where))}")
        print("nothing was written", file=sys.stderr)
        return
    emit(f"{counted(len(packs), 'pack')} ({lanes}), -j {jobs}")
    if packs and not needed.tried:
        emit("time and size could not be estimated: no trial of a pack ended")
    else:
        tried = f"estimated from a short trial of {counted(needed.tried, 'pack')}"
        emit(f"about {about(needed.seconds)} and {size(needed.bytes)} ({tried})")
    emit(f"would be stored in {printable(str(where))}")
    print("nothing was written", file=sys.stderr)


def _left(
    where: Path, plan: Plan, groups: Sequence[Group], *, retry_failed: bool, accept_changes: bool
) -> list[int]:
    """Return the planned runs that have not ended in a directory, or have failed and are to be retried.

    Raises what the sweep itself would raise: StoreError if the directory holds something else, ChangedError if data or
    code have changed and that is not accepted.
    """
    runs = range(len(plan.configs))
    if not (where / RESULTS).exists():
        return list(runs)
    with Store.open(where) as store:
        found = looked_up(store, plan, groups, accept_changes=accept_changes)
    again = {run for run, record in found.items() if retry_failed and record.status == "failed"}
    return [run for run in runs if run in again or run not in found or not found[run].status.final]


def _stages(stages: Sequence[tuple[int, int | None]]) -> list[str]:
    """Return the rungs or generations of a sweep in words; empty if all settings are known before."""
    if any(until is not None for _, until in stages):
        steps = ["the end" if until is None else f"step {until:,}" for _, until in stages]
        parts = [f"{count:,} to {step}" for (count, _), step in zip(stages, steps, strict=True)]
        return [f"settings per rung: {', '.join(parts)}"]
    sizes = ", ".join(f"{count:,}" for count, _ in stages)
    return [f"generations of {sizes} settings; the first one is shown"] if len(stages) > 1 else []
