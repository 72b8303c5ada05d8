"""What `sweep` prints: its plan, and how its settings did; and the runs of a sweep."""

import json as json_module
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from optrun.analysis.leaderboard import Standing, plan_of
from optrun.analysis.summaries import state_of
from optrun.api import RUNS
from optrun.cli.figures import number
from optrun.cli.listing import check_statuses
from optrun.cli.look import counted, emit, quoted, size, status_text, suggest, table
from optrun.cli.preview import about
from optrun.config import Issue
from optrun.config.writer import inline
from optrun.errors import StoreError, printable
from optrun.store import Store
from optrun.store.schema import RESULTS
from optrun.sweep.carry_out import unfinished
from optrun.sweep.estimate import estimate_sweep
from optrun.sweep.expand import Plan
from optrun.sweep.packs import Group, divided
from optrun.sweep.record import directory_of
from optrun.sweep.stages import outline
from optrun.sweeps import Sweep

MOST_SETTINGS = 20
MOST_REASONS = 5


def print_sweep_plan(
    plan: Plan,
    groups: Sequence[Group],
    directory: Path | None,
    jobs: int,
    limit: int | None,
    *,
    plugins: Sequence[str],
    json: bool,
    retry_failed: bool = False,
) -> None:
    """Print the settings of a sweep, and the packs in which they would be executed."""
    stages = outline(plan)
    where = directory or directory_of(plan, RUNS)
    left = _left(where, plan, retry_failed=retry_failed)
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
    paths = _paths(plan.settings)
    made = table("run", *map(printable, paths), right=("run",))
    for index, setting in enumerate(plan.settings[:MOST_SETTINGS]):
        made.add_row(_numbers(index * plan.repeats, plan.repeats), *_cells(setting, paths))
    emit(made)
    if len(plan.settings) > MOST_SETTINGS:
        emit(f"… and {len(plan.settings) - MOST_SETTINGS:,} more")
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
    emit(f"{counted(len(packs), 'pack')} ({lanes}), -j {jobs}")
    if packs and not needed.tried:
        emit("time and size could not be estimated: no pack that was tried came to its end")
    else:
        tried = f"estimated from {counted(needed.tried, 'pack')}, tried for a moment"
        emit(f"about {about(needed.seconds)} and {size(needed.bytes)} ({tried})")
    emit(f"stored in {printable(str(where))}")
    print("nothing was written", file=sys.stderr)


def _left(where: Path, plan: Plan, *, retry_failed: bool) -> list[int]:
    """Return the runs, of those that are known before, that have not ended in a directory, or are tried again.

    Raises StoreError where it is no run directory.
    """
    if not (where / RESULTS).exists():
        return list(range(len(plan.configs)))
    with Store.open(where) as store:
        if not len(plan.configs) <= store.size <= plan.size:
            raise StoreError(f"{where}: holds other runs than this sweep: name another directory")
        states = store.states()[: len(plan.configs)]
        again = [run for run, state in enumerate(states) if retry_failed and state.status == "failed"]
        return sorted([*unfinished(states), *again])


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
            "sweep": str(sweep.path),
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
        print(sweep.path)
    else:
        emit(leaderboard_table(sweep.standings(), sweep.metric.name))
        emit(printable(str(sweep.path)))
    for run, reason in failed[:MOST_REASONS]:
        print(printable(f"run {run} failed: {reason}"), file=sys.stderr)
    for miss in misses[:MOST_REASONS]:
        print(printable(str(miss)), file=sys.stderr)
    diverged = sum(state.status == "diverged" for state in states)
    if diverged and not (json or quiet):
        print(f"{diverged:,} of {counted(len(states), 'run')} diverged", file=sys.stderr)
    for what, count in (("failed", len(failed)), ("missed expectations", len(misses))):
        if count > MOST_REASONS:
            print(f"… {count:,} {what} in all", file=sys.stderr)
    if left:
        print(f"{counted(left, 'run')} left: the same command goes on", file=sys.stderr)
        suggest(" ".join(["sweep", *map(quoted, again)]))
    elif not (json or quiet) and sweep.path:
        path = quoted(sweep.path)
        best = sweep.standings()[0].first
        suggest(f"show {path}:{best}", f"curves {path}", f"export {path} -o curves.csv")


def leaderboard_table(standings: Sequence[Standing], metric: str, most: int = MOST_SETTINGS) -> Table:
    """Return the settings as a table, the best first, no more than `most` of them."""
    paths = _paths([standing.setting for standing in standings])
    several = any(standing.runs > 1 for standing in standings)
    bad = any(standing.diverged or standing.failed for standing in standings)
    pruned = any(standing.pruned for standing in standings)
    waiting = any(standing.waiting for standing in standings)
    titles = [*map(printable, paths), metric, *(["quartiles"] if several else [])]
    titles += [
        *(["not finite"] if bad else []),
        *(["pruned at"] if pruned else []),
        *(["left"] if waiting else []),
        "run",
    ]
    made = table("", *titles, right=("", metric, "run"))
    for place, each in enumerate(standings[:most], 1):
        cells = [str(place), *_cells(each.setting, paths)]
        cells.append("" if each.median is None else number(each.median))
        if several:
            cells.append("" if each.lower is None else f"{each.lower:.4g} … {each.upper:.4g}")
        if bad:
            gone = [f"{each.diverged} diverged"] * (each.diverged > 0) + [f"{each.failed} failed"] * (
                each.failed > 0
            )
            cells.append(", ".join(gone) + f" of {each.runs}" * bool(gone))
        if pruned:
            cells.append(f"step {each.pruned:,}" if each.pruned else "")
        if waiting:
            cells.append(f"{each.waiting} of {each.runs}" if each.waiting else "")
        made.add_row(*map(Text, cells), Text(_numbers(each.first, each.runs)))
    if len(standings) > most:
        made.add_row("", Text(f"… {len(standings) - most:,} more", "dim"))
    return made


def print_sweep_runs(
    path: Path, run: int | None, statuses: tuple[str, ...], limit: int, *, json: bool
) -> None:
    """Print the runs in a store, in their order, or the one of a number; ConfigError for an unknown status."""
    check_statuses(statuses)
    with Store.open(path) as store:
        plan = plan_of(store)
        records = store.runs() if run is None else [store.run(run)]
        named = [(*state_of(store, record), plan.setting(record.run) if plan else {}) for record in records]
    chosen = [each for each in named if not statuses or each[0] in statuses]
    shown = chosen[:limit] if limit else chosen
    if json:
        documents = [
            {
                "run": f"{path}:{record.run}",
                "status": status,
                "reason": record.reason,
                "steps": record.steps,
                "seed": record.seed,
                "setting": setting,
                "summary": record.summary,
            }
            for status, record, setting in shown
        ]
        print(json_module.dumps(documents, ensure_ascii=False, allow_nan=False))
        return
    paths = _paths([setting for *_, setting in shown])
    metric = plan.metric if plan else "final_loss"
    made = table(
        "run", "status", "steps", metric, *map(printable, paths), "seed", right=("run", "steps", metric)
    )
    for status, record, setting in shown:
        figure = record.summary.get(metric)
        figures = [f"{record.steps:,}", "" if figure is None else number(figure)]
        made.add_row(
            str(record.run), status_text(status), *figures, *_cells(setting, paths), str(record.seed)
        )
    emit(made)
    if len(shown) < len(chosen):
        suggest(f"ls {quoted(path)} --limit 0")
    elif shown:
        suggest(f"show {quoted(path)}:{shown[0][1].run}")


def _paths(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(path for setting in settings for path in setting))


def _cells(setting: Mapping[str, Any], paths: Sequence[str]) -> list[str]:
    return [value_text(setting[path]) if path in setting else "" for path in paths]


def setting_text(setting: Mapping[str, Any]) -> str:
    """Return a setting in a line."""
    return " ".join(f"{printable(path)}={value_text(value)}" for path, value in setting.items())


def value_text(value: Any) -> str:
    """Return a value of a config in a word or a few."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict) and "name" in value:
        return " ".join(
            [
                value_text(value["name"]),
                *(f"{key}={value_text(of)}" for key, of in value.items() if key != "name"),
            ]
        )
    return printable(value if isinstance(value, str) else inline(value))


def _numbers(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first} … {first + count - 1}"
