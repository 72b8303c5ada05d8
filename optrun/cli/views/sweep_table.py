"""What `sweep` prints: its plan, and how its settings did."""

import json as json_module
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

from optrun.analysis.leaderboard import Standing
from optrun.api.sweeps import Sweep
from optrun.cli.exits import reported
from optrun.cli.text.console import counted, emit, quoted, size, suggest
from optrun.cli.text.figures import number
from optrun.cli.text.setting_table import Labels, settings_table
from optrun.cli.text.tables import Column
from optrun.cli.views.run_plan import about
from optrun.config import Issue
from optrun.errors import printable, printable_lines
from optrun.store import Store
from optrun.store.locate import RUNS
from optrun.store.schema import RESULTS
from optrun.sweeps.estimate import estimate_sweep
from optrun.sweeps.plan.expand import Plan
from optrun.sweeps.plan.packs import Group, divided
from optrun.sweeps.plan.stages import outline
from optrun.sweeps.sweep_store import directory_of, looked_up

MOST_SETTINGS = 20
MOST_REASONS = 5
LOSSES = ("final_loss", "train_loss")
"""Figures of a run that ends at a target which say little but that it is there."""


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
    """Print the settings of a sweep, and the packs in which they would be executed."""
    stages = outline(plan)
    where = directory or directory_of(plan, RUNS)
    left = _left(where, plan, groups, retry_failed=retry_failed, accept_changes=accept_changes)
    runs = left[:limit]
    packs = divided(groups, runs, jobs)
    needed = estimate_sweep(plan, groups, packs, jobs, plugins)
    if json:
        document = {
            "sweep": str(where),
            "runs": plan.size,
            "settings": plan.settings,
            "seeds": [config.seed for config in plan.configs[: plan.repeats]],
            "left": len(left),
            "stages": [{"settings": count, "until": until} for count, until in stages],
            "packs": packs,
            "jobs": jobs,
            "estimate": asdict(needed),
        }
        print(json_module.dumps(document, ensure_ascii=False, allow_nan=False))
        return
    shown = plan.settings[:MOST_SETTINGS]
    numbers = [_numbers(index * plan.repeats, plan.repeats) for index in range(len(shown))]
    emit(settings_table([Column("run", numbers, right=True)], Labels(plan.settings), shown, []))
    if len(plan.settings) > MOST_SETTINGS:
        emit(f"… and {len(plan.settings) - MOST_SETTINGS:,} more: --json has all")
    widths = Counter(len(pack) for pack in packs)
    lanes = ", ".join(
        f"{count:,} of {counted(width, 'lane')}" for width, count in sorted(widths.items(), reverse=True)
    )
    seeds = f", each with {plan.repeats} seeds" if plan.repeats > 1 else ""
    emit(f"\n{counted(plan.size, 'run')}: {counted(plan.size // plan.repeats, 'setting')}{seeds}")
    for line in _stages(stages):
        emit(line)
    if len(left) < len(plan.configs):
        emit(f"{counted(len(plan.configs) - len(left), 'run')} of them ended before: {len(left):,} left")
    if limit is not None and limit < len(left):
        emit(f"{counted(len(runs), 'run')} of them would be executed: --limit {limit}")
    if not packs:
        emit(f"nothing is left to run: it is in {printable(str(where))}")
        print("nothing was written", file=sys.stderr)
        return
    emit(f"{counted(len(packs), 'pack')} ({lanes}), -j {jobs}")
    if packs and not needed.tried:
        emit("time and size could not be estimated: no pack that was tried came to its end")
    else:
        tried = f"estimated from {counted(needed.tried, 'pack')}, tried for a moment"
        emit(f"about {about(needed.seconds)} and {size(needed.bytes)} ({tried})")
    emit(f"would be stored in {printable(str(where))}")
    print("nothing was written", file=sys.stderr)


def _left(
    where: Path, plan: Plan, groups: Sequence[Group], *, retry_failed: bool, accept_changes: bool
) -> list[int]:
    """Return the runs, of those that are known before, that have not ended in a directory, or are tried again.

    Raises StoreError where it is no run directory, or one of other runs, and ChangedError where it is one of other data
    or code, unless that is accepted: all that the sweep itself would raise.
    """
    runs = range(len(plan.configs))
    if not (where / RESULTS).exists():
        return list(runs)
    with Store.open(where) as store:
        found = looked_up(store, plan, groups, accept_changes=accept_changes)
    again = {run for run, record in found.items() if retry_failed and record.status == "failed"}
    return [run for run in runs if run in again or run not in found or not found[run].status.final]


def _stages(stages: Sequence[tuple[int, int | None]]) -> list[str]:
    """Return what is decided on the way, where something is, in words."""
    if any(until is not None for _, until in stages):
        steps = ["the end" if until is None else f"step {until:,}" for _, until in stages]
        parts = [f"{count:,} to {step}" for (count, _), step in zip(stages, steps, strict=True)]
        return [f"settings that go on: {', '.join(parts)}"]
    sizes = ", ".join(f"{count:,}" for count, _ in stages)
    return [f"generations of {sizes} settings, of which the first one is shown"] if len(stages) > 1 else []


def print_table(
    sweep: Sweep,
    misses: Sequence[Issue],
    again: Sequence[str],
    *,
    json: bool,
    quiet: bool,
) -> None:
    """Print how the settings of a sweep did, what went wrong, and what to type next: `again` are its arguments."""
    states = sweep.states
    left = sweep.left
    failed = [(run, state.reason) for run, state in enumerate(states) if state.status == "failed"]
    if json:
        document = {
            "sweep": str(sweep.path) if sweep.path else None,
            "runs": len(states),
            "left": left,
            "statuses": dict(Counter(str(state.status) for state in states)),
            "metric": sweep.metric.model_dump(),
            "table": [standing.to_dict() for standing in sweep.standings()],
            "failed": [{"run": run, "reason": reason} for run, reason in failed],
            "expect": [*map(str, misses)],
        }
        print(json_module.dumps(document, ensure_ascii=False, allow_nan=False))
    elif quiet:
        if sweep.path:
            print(sweep.path)
    else:
        if any(state.status.final for state in states):
            command = f"show {quoted(sweep.path)}" if sweep.path else None
            print_standings(sweep.standings(), sweep.metric.name, command)
        if sweep.path:
            emit(printable(str(sweep.path)))
        if sweep.executed == left == 0:
            print(f"nothing is left to run: {counted(len(states), 'run')} ended before", file=sys.stderr)
    for run, reason in failed[:MOST_REASONS]:
        print(printable(f"run {run} failed: {reason}"), file=sys.stderr)
        if reported.debug:
            _print_traceback(sweep, run)
    for miss in misses[:MOST_REASONS]:
        print(printable(str(miss)), file=sys.stderr)
    diverged = sum(state.status == "diverged" for state in states)
    if diverged and not (json or quiet):
        print(f"{diverged:,} of {counted(len(states), 'run')} diverged", file=sys.stderr)
    for what, count in (("failed", len(failed)), ("missed expectations", len(misses))):
        if count > MOST_REASONS:
            print(f"… {count:,} {what} in all", file=sys.stderr)
    if left:
        then = "goes on" if sweep.path else "begins anew, since nothing was stored"
        print(f"{counted(left, 'run')} left: the same command {then}", file=sys.stderr)
        suggest(" ".join(["sweep", *map(quoted, again)]))
    elif not (json or quiet) and sweep.path:
        path = quoted(sweep.path)
        shown = failed[0][0] if failed else sweep.standings()[0].first
        suggest(f"show {path}:{shown}", f"curves {path}", f"export {path} -o curves.csv")


def _print_traceback(sweep: Sweep, run: int) -> None:
    if sweep.path is None:
        return
    with Store.open(sweep.path) as store:
        print(printable_lines(store.traceback(run)), file=sys.stderr)


def leaderboard_table(standings: Sequence[Standing], metric: str, most: int) -> Table:
    """Return the settings as a table, the best first, no more than ``most`` of them."""
    shown = standings[:most]
    after = [
        Column(
            metric,
            [_figure(each, number) for each in shown],
            right=True,
            short=[_figure(each, _short) for each in shown],
        )
    ]
    if any(each.runs > 1 for each in standings):
        after.append(Column("quartiles", [quartiles_text(each, _short) for each in shown], spare=True))
    after += _gone(shown)
    if any(each.reached for each in standings):
        steps = ["" if each.steps_to_target is None else f"{each.steps_to_target:,g}" for each in shown]
        after.append(Column("steps to target", steps, right=True))
    if any(each.pruned for each in shown):
        after.append(Column("pruned at", [f"step {each.pruned:,}" if each.pruned else "" for each in shown]))
    if any(each.waiting for each in shown):
        left = [f"{each.waiting} of {each.runs}" if each.waiting else "" for each in shown]
        after.append(Column("left", left))
    after.append(Column("run", [_numbers(each.first, each.runs) for each in shown], right=True))
    places = Column("", [str(place) for place in range(1, len(shown) + 1)], right=True)
    labels = Labels([each.setting for each in standings])
    return settings_table([places], labels, [each.setting for each in shown], after)


def print_standings(
    standings: Sequence[Standing], metric: str, command: str | None, most: int = MOST_SETTINGS
) -> None:
    """Print the settings, the best first, and the command that shows more; ``most`` 0 is all of them."""
    most = most or len(standings)
    emit(leaderboard_table(standings, metric, most))
    if (left := len(standings) - most) > 0:
        how = f": optrun {printable(command)} --limit 0" if command else ""
        emit(Text(f"… {left:,} more{how}", "dim"))
    if any(each.reached for each in standings) and metric in LOSSES:
        how = f"by how far {printable(metric)} is beyond it, and not by their steps"
        print(f"note: runs that end at stop.target are ranked {how}", file=sys.stderr)


def quartiles_text(of: Standing, number: Callable[[float], str]) -> str:
    """Return the quartiles of a setting; one that is the worst is that of runs that diverged."""
    if of.median is None:
        return ""
    return " … ".join("diverged" if each is None else number(each) for each in (of.lower, of.upper))


def _figure(of: Standing, number: Callable[[float], str]) -> str:
    return number(of.median) if of.median is not None else "diverged" if of.diverged else ""


def _short(value: float) -> str:
    return f"{value:.4g}"


def _gone(shown: Sequence[Standing]) -> list[Column]:
    """Return a column that says how many runs of a setting came to no finite end; none where all did."""
    counts = [{"diverged": each.diverged, "failed": each.failed, "lacking": each.lacking} for each in shown]
    kinds = [kind for kind in ("diverged", "failed", "lacking") if any(each[kind] for each in counts)]
    if len(kinds) == 1:
        (kind,) = kinds
        bad = [each[kind] for each in counts]
        return [
            Column(kind, [f"{n} of {each.runs}" if n else "" for n, each in zip(bad, shown, strict=True)])
        ]
    if not kinds:
        return []
    words = [", ".join(f"{count} {what}" for what, count in each.items() if count) for each in counts]
    cells = [f"{text} of {each.runs}" if text else "" for text, each in zip(words, shown, strict=True)]
    return [Column("no result", cells)]


def _numbers(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}–{first + count - 1}"
