"""A plan carried out: what is left of it is executed, and one writer commits each pack in one transaction."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
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
from optrun.sweep.worker import Result

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
    """Those, and all that are executed this time."""
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
    is_new = not (path / RESULTS).exists()
    if is_new:
        rows = zip(plan.documents, (config.seed for config in plan.configs), strict=True)
        config = to_yaml(plan.swept.to_dict())
        store = Store.create(runs, plan.name, directory=path, config_yaml=config, runs=rows)
    else:
        store = Store.open(path, write=True)
    try:
        if not is_new and [record.config for record in store.runs()] != plan.documents:
            raise StoreError(f"{path}: holds other runs than this sweep: name another directory")
        if is_new or not any(event.kind == PLAN for event in store.events()):
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
    ended: int,
    jobs: int,
    lanes: int | None = None,
    interrupted: Callable[[], bool],
    plugins: Sequence[str] = (),
    observe: Callable[[SweepProgress], None] | None = None,
) -> None:
    """Execute those runs of a plan that are ``wanted``; after an interruption, finished packs are kept.

    ``ended`` is how many have ended before. ``lanes`` limits the width of packs; nothing of a result depends on it,
    or on ``jobs``.
    """
    packs = divided(groups, wanted, jobs, lanes)
    writer = _Writer(plan, sink, ended, len(wanted), len(packs), observe)
    results_of = finished(plan.configs, packs, jobs=jobs, interrupted=interrupted, plugins=plugins)
    # Closed at once where a commit raises, so that no process lives on.
    with closing(results_of):
        for pack, results in results_of:
            writer.commit(pack, results)


class _Writer:
    """Commits packs, each in one transaction, and tells how far the sweep is."""

    def __init__(
        self,
        plan: Plan,
        sink: Sink,
        ended: int,
        wanted: int,
        packs: int,
        observe: Callable[[SweepProgress], None] | None,
    ) -> None:
        self._metric = plan.metric
        self._sink = sink
        self._observe = observe
        self._began = time.monotonic()
        self._now = SweepProgress(ended, ended + wanted, 0, packs, 0, 0.0, 0, None)
        self._report()

    def commit(self, pack: Sequence[int], results: Sequence[Result]) -> None:
        """Commit the results of a pack of runs."""
        by_run = dict(zip(pack, results, strict=True))
        self._sink.commit(
            curves={run: each.curves for run, each in by_run.items() if each.curves},
            evaluations={run: each.evaluations for run, each in by_run.items() if each.evaluations},
            states={run: each.state for run, each in by_run.items()},
            params={run: each.params for run, each in by_run.items() if each.params},
        )
        good = [each.state for each in results if each.state.status not in (Status.DIVERGED, Status.FAILED)]
        figures = [value for state in good if (value := state.summary.get(self._metric.name)) is not None]
        figures += [self._now.best] if self._now.best is not None else []
        better = max if self._metric.goal == "maximize" else min
        self._now = replace(
            self._now,
            runs=self._now.runs + len(results),
            packs=self._now.packs + 1,
            executed=self._now.executed + len(results),
            seconds=time.monotonic() - self._began,
            bad=self._now.bad + len(results) - len(good),
            best=better(figures, default=None),
        )
        self._report()

    def _report(self) -> None:
        if self._observe is not None:
            self._observe(self._now)


def unfinished(states: Sequence[RunState]) -> list[int]:
    """Return the runs that have not ended."""
    return [run for run, state in enumerate(states) if not state.status.final]


def summarise(plan: Plan, store: Store, states: Sequence[RunState]) -> None:
    """Write the sweep's summary.csv: of each run its number, setting, seed, end and figures."""
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
