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
from optrun.sweep.packs import Group, data_key
from optrun.training.memory import Memory

PLAN = "plan"
"""The event that tells which settings a sweep has, or has got in addition, and by what they are ranked."""

RUNG = "rung"
"""The event that tells which settings of a sweep went on from a rung."""

DATA = "data"
"""The event that tells the fingerprints of the data on which the runs of a sweep are, or are in addition."""

OF_SWEEPS = (PLAN, RUNG, DATA)
"""Events of a sweep, and not of its runs."""


def directory_of(plan: Plan, runs: Path) -> Path:
    """Return where a plan is stored below `runs`: another plan has another place."""
    return runs / f"sweep-{slug(plan.name)}-{plan.digest[:8]}"


def open_store(
    plan: Plan, groups: Sequence[Group], runs: Path, directory: Path | None, plugins: Sequence[str] = ()
) -> Store:
    """Return the store of a plan, made where there is none, open for writing; it notes what ``plugins`` there are.

    Raises StoreError where the directory holds another sweep, or something else, or runs on other data.
    """
    path = directory or directory_of(plan, runs)
    noted = {PLAN: _plan_from(plan, 0, plugins=list(plugins), digest=plan.digest)}
    if not (path / RESULTS).exists():
        return Store.create(
            runs,
            plan.name,
            directory=path,
            config_yaml=to_yaml(plan.swept.to_dict()),
            runs=_rows(plan),
            status=Status.WAITING,
            events=noted | _data_added(None, plan, groups),
        )
    store = Store.open(path, write=True)
    try:
        check_holds(store, plan)
        events = {} if _is_noted(store, plan) else dict(noted)
        events |= _data_added(store, plan, groups)
        if events:
            store.commit(events=events)
    except BaseException:
        store.close()
        raise
    return store


def add_settings(results: Store | Memory, plan: Plan, groups: Sequence[Group], first: int) -> None:
    """Add the runs of a plan from its setting ``first`` on, of which the groups are.

    Raises StoreError where there are other runs already, or runs on other data.
    """
    run = first * plan.repeats
    if isinstance(results, Memory):
        results.add(plan.configs[run:])
        return
    is_new = results.size <= run
    if not is_new:
        check_holds(results, plan, run)
    events = _data_added(results, plan, groups)
    if is_new:
        results.add(_rows(plan, run), {PLAN: _plan_from(plan, first)} | events)
    elif events:
        results.commit(events=events)


def end_runs(results: Store | Memory, ends: Mapping[int, str], promoted: Sequence[int]) -> None:
    """Prune runs, each for its reason, and note which settings go on."""
    states = results.states()
    pruned = {run: replace(states[run], status=Status.PRUNED, reason=reason) for run, reason in ends.items()}
    if isinstance(results, Memory):
        results.commit(states=pruned, checkpoints=dict.fromkeys(ends))
        return
    decision = {RUNG: {"promoted": list(promoted)}}
    results.commit(states=pruned, checkpoints=dict.fromkeys(ends), events=decision)


def retry(plan: Plan, store: Store) -> None:
    """Have the runs that have failed run again, those of a setting that did not go on from a rung excepted.

    Raises StoreError where what was asked for later depends on them.
    """
    runs = [run for run, state in enumerate(store.states()) if state.status is Status.FAILED]
    if runs and store.size > len(plan.configs):
        raise StoreError(
            f"{store.path}: its later settings were chosen by how the runs did, those too that failed: "
            "to try these again, take another directory"
        )
    decisions = decisions_in(store)
    if decisions:
        runs = [run for run in runs if run // plan.repeats in decisions[-1]]
    if runs:
        store.reset(runs)


def decisions_in(results: Store | Memory) -> list[list[int]]:
    """Return which settings went on from each rung so far."""
    if isinstance(results, Memory):
        return []
    decisions: list[Any] = [event.details.get("promoted") for event in results.events(RUNG)]
    for promoted in decisions:
        if not isinstance(promoted, list) or not all(type(each) is int and each >= 0 for each in promoted):
            raise StoreError(f"{results.path}: a decision at a rung is damaged")
    return decisions


def _is_noted(store: Store, plan: Plan) -> bool:
    """Return whether a store that holds the runs of a plan tells of it; raises StoreError where of another one."""
    noted = store.events(PLAN)
    # Stores of older versions have no digest.
    if noted and noted[0].details.get("digest", plan.digest) != plan.digest:
        raise StoreError(
            f"{store.path}: holds a sweep with another metric, method or options of it: name another directory"
        )
    return bool(noted)


def _plan_from(plan: Plan, first: int, **more: Any) -> dict[str, Any]:
    """Return what is noted of a plan: its settings from ``first`` on, and how they are chosen and ranked."""
    return {
        "settings": plan.settings[first:],
        "repeats": plan.repeats,
        "metric": plan.metric.model_dump(),
        "runs": plan.size,
        "method": plan.swept.sweep.method,
        **more,
    }


def _data_added(store: Store | None, plan: Plan, groups: Sequence[Group]) -> dict[str, Any]:
    """Return, as an event, what is to be noted of the data of groups: nothing where a store tells all of it.

    Raises StoreError where the data have changed.
    """
    known = {} if store is None else _data_in(store)
    added: dict[str, str] = {}
    for group in groups:
        document = plan.documents[group.runs[0]]
        key = data_key(document)
        if not group.data:
            continue
        if store is not None and known.get(key, group.data) != group.data:
            problem = document["problem"]
            what = " ".join(each for each in (problem["name"], problem.get("data")) if isinstance(each, str))
            raise StoreError(
                f"{store.path}: the data of {what} have changed since the sweep began: bring the old ones back, "
                "or name another directory with -o"
            )
        if key not in known:
            added[key] = group.data
    return {DATA: {"fingerprints": added}} if added else {}


def _data_in(store: Store) -> dict[str, str]:
    known: dict[str, str] = {}
    for event in store.events(DATA):
        found: Any = event.details.get("fingerprints")
        if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
            raise StoreError(f"{store.path}: what is noted of the data is damaged")
        known |= found
    return known


def check_holds(store: Store, plan: Plan, first: int = 0) -> None:
    """Raise StoreError where a store does not hold the runs of a plan, from ``first`` on."""
    wanted = plan.documents[first:]
    documents = (
        [store.run(run).config for run in range(first, min(store.size, len(plan.documents)))]
        if first
        else [record.config for record in store.runs()][: len(wanted)]
    )
    if documents != wanted or store.size > plan.size:
        raise StoreError(f"{store.path}: holds other runs than this sweep: name another directory")


def _rows(plan: Plan, first: int = 0) -> list[tuple[Mapping[str, Any], int]]:
    return [(document, document["seed"]) for document in plan.documents[first:]]


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
