"""A plan carried out: what is left of it is executed, and one writer commits each pack in one transaction."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from optrun.arrays import Array
from optrun.config.writer import inline, to_yaml
from optrun.errors import StoreError
from optrun.store import RunState, Status, Store, slug, write_summary
from optrun.store.schema import RESULTS
from optrun.sweep.execute import finished
from optrun.sweep.expand import Plan
from optrun.sweep.packs import Group, divided

PLAN = "plan"
"""The event that tells which settings a sweep has, and by what they are ranked."""


class Sink(Protocol):
    """Where results go: a store, or memory."""

    def commit(
        self,
        *,
        curves: Mapping[int, Mapping[str, Array]] = ...,
        evaluations: Mapping[int, Mapping[str, Array]] = ...,
        states: Mapping[int, RunState] = ...,
        params: Mapping[int, Mapping[str, Array]] = ...,
    ) -> None:
        """Keep, all or nothing, the results of a pack."""


@dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is."""

    runs: int
    """Runs that have ended, those of earlier times too."""
    of_runs: int
    packs: int
    of_packs: int
    executed: int
    """Runs that have ended this time."""
    seconds: float
    bad: int
    """Runs that diverged or failed, this time."""
    best: float | None
    """The best value of the metric, this time."""


def directory_of(plan: Plan, runs: Path) -> Path:
    """Return where a plan is stored below `runs`: another plan has another place."""
    return runs / f"sweep-{slug(plan.name)}-{plan.digest[:8]}"


def open_store(plan: Plan, runs: Path, directory: Path | None) -> Store:
    """Return the store of a plan, made where there is none, open for writing.

    Raises StoreError where the directory holds something else.
    """
    path = directory or directory_of(plan, runs)
    if not (path / RESULTS).exists():
        rows = zip(plan.documents, (config.seed for config in plan.configs), strict=True)
        store = Store.create(
            runs, plan.name, directory=path, config_yaml=to_yaml(plan.swept.to_dict()), runs=rows
        )
    else:
        store = Store.open(path, write=True)
    try:
        if [record.config for record in store.runs()] != plan.documents:
            raise StoreError(f"{path}: holds other runs than this sweep: name another directory")
        if not any(event.kind == PLAN for event in store.events()):
            store.log(PLAN, settings=plan.settings, repeats=plan.repeats, metric=plan.metric.model_dump())
            store.commit()
    except BaseException:
        store.close()
        raise
    return store


def carry_out(
    plan: Plan,
    sink: Sink,
    groups: Sequence[Group],
    wanted: Sequence[int],
    *,
    jobs: int,
    lanes: int | None = None,
    interrupted: Callable[[], bool],
    plugins: Sequence[str] = (),
    observe: Callable[[SweepProgress], None] | None = None,
) -> None:
    """Execute those runs of a plan that are ``wanted``; after an interruption, finished packs are kept.

    ``lanes`` limits the width of packs; nothing of a result depends on it, or on ``jobs``.
    """
    packs = divided(groups, wanted, jobs, lanes)
    began = time.monotonic()
    earlier = len(plan.configs) - len(wanted)
    better = max if plan.metric.goal == "maximize" else min
    best: float | None = None
    executed = bad = done = 0

    def report() -> None:
        if observe is not None:
            seconds = time.monotonic() - began
            observe(
                SweepProgress(
                    earlier + executed, len(plan.configs), done, len(packs), executed, seconds, bad, best
                )
            )

    report()
    for pack, results in finished(plan.configs, packs, jobs=jobs, interrupted=interrupted, plugins=plugins):
        by_run = dict(zip(pack, results, strict=True))
        sink.commit(
            curves={run: each.curves for run, each in by_run.items() if each.curves},
            evaluations={run: each.evaluations for run, each in by_run.items() if each.evaluations},
            states={run: each.state for run, each in by_run.items()},
            params={run: each.params for run, each in by_run.items() if each.params},
        )
        states = [each.state for each in results]
        good = [state for state in states if state.status not in (Status.DIVERGED, Status.FAILED)]
        figures = [value for state in good if (value := state.summary.get(plan.metric.name)) is not None]
        best = better([*figures, *([best] if best is not None else [])], default=None)
        executed, bad, done = executed + len(results), bad + len(states) - len(good), done + 1
        report()


def unfinished(states: Sequence[RunState]) -> list[int]:
    """Return the runs that have not ended."""
    return [run for run, state in enumerate(states) if not state.status.final]


def left(states: Sequence[RunState]) -> dict[int, RunState]:
    """Return the states of runs that the same sweep goes on with another time."""
    return {run: RunState(status=Status.INTERRUPTED) for run in unfinished(states)}


def begun(runs: Sequence[int]) -> dict[int, RunState]:
    """Return the states of runs that are about to be executed."""
    return {run: RunState(status=Status.RUNNING) for run in runs}


def summarise(plan: Plan, store: Store) -> None:
    """Write the sweep's summary.csv: of each run its number, setting, seed, end and figures."""
    states = store.states()
    paths = list(dict.fromkeys(path for setting in plan.settings for path in setting))
    figures = list(dict.fromkeys(name for state in states for name in state.summary))
    rows = []
    for run, state in enumerate(states):
        setting = plan.settings[run // plan.repeats]
        values = [_cell(setting[path]) if path in setting else "" for path in paths]
        summary = [state.summary.get(name) for name in figures]
        rows.append([run, *values, plan.configs[run].seed, str(state.status), state.steps, *summary])
    write_summary(store, ["run", *paths, "seed", "status", "steps", *figures], rows)


def _cell(value: Any) -> Any:
    return value if isinstance(value, (str, float)) else inline(value)
