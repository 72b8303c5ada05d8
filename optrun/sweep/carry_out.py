"""A plan carried out: what is left of it is executed, and one writer commits each pack in one transaction."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from optrun.config.writer import inline, to_yaml
from optrun.errors import StoreError
from optrun.store import RunState, Status, Store, slug, write_summary
from optrun.store.schema import RESULTS
from optrun.sweep.execute import finished
from optrun.sweep.execution import Execution
from optrun.sweep.expand import Plan
from optrun.sweep.packs import Group, divided
from optrun.sweep.writer import SweepProgress, Writer
from optrun.training.memory import Memory

PLAN = "plan"
"""The event that tells which settings a sweep has, and by what they are ranked."""


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
    results: Store | Memory,
    groups: Sequence[Group],
    wanted: Sequence[int],
    how: Execution,
    *,
    interrupted: Callable[[], bool],
    observe: Callable[[SweepProgress], None] | None = None,
) -> None:
    """Execute those runs of a plan that are ``wanted``; after an interruption, finished packs are kept.

    Raises RunFailedError where no worker can do anything, or a run comes again with other results.
    """
    packs = divided(groups, wanted, how.split, how.lanes)
    writer = Writer(plan, results, wanted, len(packs), observe)
    # Closed at once where a commit raises, so that no process lives on.
    with (
        how.workers(len(packs), interrupted, writer.look) as workers,
        closing(
            finished(plan.configs, packs, workers, interrupted=interrupted, observe=writer.look)
        ) as ended,
    ):
        for pack, of_pack in ended:
            writer.commit(pack, of_pack)
            if how.fail_fast and any(each.state.status is Status.FAILED for each in of_pack):
                return


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
