"""What the store of a sweep holds beside results: its plan, the decisions at rungs, a summary."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optrun.config.writer import inline, to_yaml
from optrun.errors import StoreError
from optrun.store import RunState, Status, Store, slug, write_summary
from optrun.store.schema import RESULTS
from optrun.sweep.expand import Plan
from optrun.training.memory import Memory

PLAN = "plan"
"""The event that tells which settings a sweep has, or has got in addition, and by what they are ranked."""

RUNG = "rung"
"""The event that tells which settings of a sweep went on from a rung."""

OF_SWEEPS = (PLAN, RUNG)
"""Events of a sweep, and not of its runs."""


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
        config = to_yaml(plan.swept.to_dict())
        store = Store.create(runs, plan.name, directory=path, config_yaml=config, runs=_rows(plan))
    else:
        store = Store.open(path, write=True)
    try:
        if not is_new:
            check_holds(store, plan)
        if is_new or not any(event.kind == PLAN for event in store.events()):
            log_plan(store, plan, 0)
            store.commit()
    except BaseException:
        store.close()
        raise
    return store


def add_settings(results: Store | Memory, plan: Plan, first: int) -> None:
    """Add the runs of a plan from its setting ``first`` on.

    Raises StoreError where there are other runs already.
    """
    run = first * plan.repeats
    if isinstance(results, Memory):
        results.add(plan.configs[run:])
    elif results.size > run:
        check_holds(results, plan)
    else:
        log_plan(results, plan, first)
        results.add(_rows(plan)[run:])


def end_runs(results: Store | Memory, ends: Mapping[int, str], promoted: Sequence[int]) -> None:
    """Prune runs, each for its reason, and note which settings go on."""
    states = results.states()
    if isinstance(results, Store):
        results.log(RUNG, promoted=list(promoted))
    results.commit(
        states={
            run: replace(states[run], status=Status.PRUNED, reason=reason) for run, reason in ends.items()
        },
        checkpoints=dict.fromkeys(ends),
    )


def decisions_in(results: Store | Memory) -> list[list[int]]:
    """Return which settings went on from each rung so far."""
    if isinstance(results, Memory):
        return []
    decisions: list[Any] = [event.details.get("promoted") for event in results.events() if event.kind == RUNG]
    for promoted in decisions:
        if not isinstance(promoted, list) or not all(type(each) is int and each >= 0 for each in promoted):
            raise StoreError(f"{results.path}: a decision at a rung is damaged")
    return decisions


def log_plan(store: Store, plan: Plan, first: int) -> None:
    """Note the settings of a plan from ``first`` on."""
    store.log(
        PLAN,
        settings=plan.settings[first:],
        repeats=plan.repeats,
        metric=plan.metric.model_dump(),
        runs=plan.size,
    )


def check_holds(store: Store, plan: Plan) -> None:
    """Raise StoreError where a store does not hold the runs of a plan."""
    documents = [record.config for record in store.runs()]
    if documents[: len(plan.documents)] != plan.documents or len(documents) > plan.size:
        raise StoreError(f"{store.path}: holds other runs than this sweep: name another directory")


def _rows(plan: Plan) -> list[tuple[Mapping[str, Any], int]]:
    return list(zip(plan.documents, (config.seed for config in plan.configs), strict=True))


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
