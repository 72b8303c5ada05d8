"""What the store of a sweep holds beside results: its plan, the decisions at rungs, a summary."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import reduce
from math import isnan
from operator import or_
from pathlib import Path
from typing import Any

from optrun.config.model.options import SWEEP
from optrun.config.yaml.errors import ConfigErrors
from optrun.config.yaml.files import read_config
from optrun.config.yaml.tree import YamlNode
from optrun.config.yaml.writer import inline, to_yaml
from optrun.errors import StoreError
from optrun.store import RunRecord, Status, Store, slug, write_summary
from optrun.store.directory import replace_file
from optrun.store.event_names import PLAN, RUNG
from optrun.store.locate import CONFIG, RESULTS
from optrun.store.setting_columns import MISSING, SettingColumns
from optrun.store.states import STATUSES, States
from optrun.store.store_errors import store_errors
from optrun.sweeps.growth import There, are_first, family_of, found_among
from optrun.sweeps.methods.method import decides_on_the_way
from optrun.sweeps.plan.expand import CONFIRM, Plan
from optrun.sweeps.plan.packs import Group
from optrun.training.identity import Identity, identity_of_store, note_machine_change
from optrun.training.memory_store import MemoryStore
from optrun.training.prepared import keep_prepared
from optrun.training.provenance import check_identity, compare_identity, earlier_identities, single_identity

OTHER = "holds other runs than this sweep: name another directory with -o"

ANEW = "name another directory with -o"
"""What to do where data or code have changed since a sweep began."""


def directory_of(plan: Plan, runs: Path) -> Path:
    """Return where a plan is stored below `runs`: one that the same sweep can grow into has the same place."""
    return runs / f"sweep-{slug(plan.name)}-{family_of(plan)[:8]}"


def open_store(
    plan: Plan,
    groups: Sequence[Group],
    runs: Path,
    directory: Path | None,
    plugins: Sequence[str] = (),
    note: Callable[[str], None] = lambda text: None,
    *,
    accept_changes: bool = False,
    is_confirmation: bool = False,
) -> Store:
    """Return the store of a plan, made where there is none, open for writing; it notes what ``plugins`` there are.

    One that another plan has left gets this plan, and keeps all runs, of which ``note`` is told. That of a confirmation
    belongs to its sweep, so that it may get any plan. Raises StoreError
    where the directory holds another sweep, or something else, and ChangedError where it holds runs of other data or
    code, unless these changes are accepted.
    """
    path = directory or directory_of(plan, runs)
    begun = _plan_from(plan, 0, plugins=list(plugins), digest=plan.digest, family=family_of(plan))
    settings = plan.told if isinstance(plan.told, SettingColumns) else None
    config = to_yaml(plan.swept.to_dict())
    if not (path / RESULTS).exists():
        return Store.create(
            runs,
            plan.name,
            directory=path,
            config_yaml=config,
            runs=plan.rows(),
            status=Status.WAITING,
            events={PLAN: begun} | _identity_of(groups).events(),
            settings=settings,
        )
    store = Store.open(path, write=True)
    try:
        current, events = check_identity(store, _identity_of(groups), "sweep", ANEW, accept=accept_changes)
        events |= note_machine_change(store)
        found = _found_in(store, plan, groups, current, is_any=is_confirmation)
        noted = _noted(store)
        if not is_confirmation and written_confirm(path) != _confirm_in(plan.swept.node):
            _write_config(path, config)
        if plan.is_decided_on_the_way and noted:
            if plan.size > noted["runs"]:
                _write_config(path, config)
                events[PLAN] = _plan_from(plan, len(plan.settings))
            if events:
                store.commit(events=events)
        elif _is_of(noted, begun) and _has_settings(store, settings) and _has_all(found, plan):
            if events:
                store.commit(events=events)
        else:
            if events:  # while each run still has the number under which it is told of what it was made
                store.commit(events=events)
            # The config first: whoever goes on with it after a kill asks for this plan again.
            _write_config(path, config)
            numbers = {run: record.run for run, record in found.items()}
            store.rearrange(plan.rows(), numbers, {PLAN: begun}, settings)
            there = sum(record.has_begun for record in found.values())
            if noted:
                note(f"{there:,} of {plan.size:,} runs are there from before{_aside(store)}")
        if accept_changes and (older := sum(run < store.size for run in earlier_identities(store))):
            note(
                f"{older:,} {'runs keep' if older > 1 else 'run keeps'} what was made with older data or code"
            )
    except BaseException:
        store.close()
        raise
    return store


def looked_up(
    store: Store, plan: Plan, groups: Sequence[Group], *, accept_changes: bool
) -> dict[int, RunRecord]:
    """Return the runs of a plan that `open_store` would find; it raises what that would, and writes nothing."""
    current, _ = compare_identity(store, _identity_of(groups), "sweep", ANEW, accept=accept_changes)
    return _found_in(store, plan, groups, current)


def _found_in(
    store: Store, plan: Plan, groups: Sequence[Group], current: Identity, *, is_any: bool = False
) -> dict[int, RunRecord]:
    """Return the runs of a plan that a store has, by their numbers in the plan, whatever plan it has.

    The data and the code that are ``current`` count for all runs of its plan, since other ones were accepted for
    them; for those that are kept aside it counts of what they were made. Raises StoreError where it holds another
    sweep, or something else; where it may be ``is_any`` sweep, there may be no run in common.
    """
    noted = _noted(store)
    if plan.is_decided_on_the_way or decides_on_the_way(noted.get("method")):
        _check_same(store, plan, noted, groups, current)
        return dict(enumerate(store.runs()[: len(plan.documents)]))
    before, made, kept = identity_of_store(store), earlier_identities(store), store.kept()
    there = [
        *_of_plan(store, current),
        *(There(record, single_identity(record, before, made)) for record in kept),
    ]
    found = found_among(there, plan, groups)
    if not noted and len(found) < len(plan.documents):
        raise StoreError(f"{store.path}: {OTHER}")
    if not (found or is_any) and noted.get("family") != family_of(plan):
        raise StoreError(f"{store.path}: {OTHER}")
    by_number = {each.record.run: each.record for each in there}
    return {run: by_number[number] for run, number in found.items()}


def _of_plan(store: Store, current: Identity, first: int = 0) -> list[There]:
    """Return the runs of a store, but those that are kept aside, as made of what is ``current``."""
    records = [store.run(run) for run in range(first, store.size)] if first else store.runs()
    return [There(record, current.part(record.config)) for record in records]


def _has_settings(store: Store, settings: SettingColumns | None) -> bool:
    """Return whether settings in columns are those that a store has, which has as many."""
    return settings is None or store.settings(0, len(settings)) == settings


def _has_all(found: Mapping[int, RunRecord], plan: Plan) -> bool:
    """Return whether runs that were found are all of a plan, in its order and with its configs to the letter."""
    numbers = [record.run for record in found.values()]
    return numbers == list(range(plan.size)) and [of.config for of in found.values()] == plan.documents


def add_settings(results: Store | MemoryStore, plan: Plan, groups: Sequence[Group], first: int) -> None:
    """Add the runs of a plan from its setting ``first`` on, of which the groups are, as far as they are not there.

    Raises StoreError where there are other runs already, and ChangedError where data or code have changed.
    """
    run = first * plan.repeats
    keep_prepared(results, (each for group in groups for each in group.prepared))
    if isinstance(results, MemoryStore):
        results.add(plan.configs[run:])
        return
    current, events = check_identity(results, _identity_of(groups), "sweep", ANEW, accept=False)
    if results.size > run:
        _check_holds(results, plan, groups, current, run)
    if results.size < len(plan.documents):
        added = _plan_from(plan, results.size // plan.repeats)
        results.add(plan.rows(results.size), {PLAN: added} | events)
    elif events:
        results.commit(events=events)


def end_runs(
    results: Store | MemoryStore, ends: Mapping[int, str], promoted: Sequence[int], until: int | None
) -> None:
    """Prune runs, each for its reason, and note which settings go on, and until which step."""
    states = results.states()
    pruned = {run: replace(states[run], status=Status.PRUNED, reason=reason) for run, reason in ends.items()}
    if isinstance(results, MemoryStore):
        results.commit(states=pruned, checkpoints=dict.fromkeys(ends))
        return
    decision = {RUNG: {"promoted": list(promoted), "until": until}}
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
        runs = [run for run in runs if run // plan.repeats in decisions[-1]["promoted"]]
    if runs:
        store.reset(runs)


def decisions_in(results: Store | MemoryStore) -> list[Mapping[str, Any]]:
    """Return which settings went on from each rung so far, as `promoted`, and `until` which step."""
    if isinstance(results, MemoryStore):
        return []
    decisions = [event.details for event in results.events(RUNG)]
    for decision in decisions:
        promoted, until = decision.get("promoted"), decision.get("until") or 0
        if not isinstance(promoted, list) or not all(
            type(each) is int and each >= 0 for each in [*promoted, until]
        ):
            raise StoreError(f"{results.path}: a decision at a rung is damaged")
    return decisions


def _noted(store: Store) -> Mapping[str, Any]:
    """Return what was noted of the plan of a store when it got it, with how many runs there are to be; nothing without.

    What was added later has no digest, nor has what the oldest versions wrote.
    """
    plans = [event.details for event in store.events(PLAN)]
    begun = [details for details in plans if "digest" in details] or plans
    if not plans:
        return {}
    runs = plans[-1].get("runs", 0)
    if type(runs) is not int:
        raise StoreError(f"{store.path}: the plan of the sweep is damaged")
    return {**begun[-1], "runs": runs}


def _is_of(noted: Mapping[str, Any], begun: Mapping[str, Any]) -> bool:
    """Return whether what is noted is said of a plan, but for what changes neither its runs nor their ranking."""
    return all(noted.get(name) == begun[name] for name in ("settings", "repeats", "metric", "method"))


def _check_same(
    store: Store, plan: Plan, noted: Mapping[str, Any], groups: Sequence[Group], current: Identity
) -> None:
    """Raise StoreError where a store holds another plan than one that is decided on the way, or had more trials."""
    is_older = "family" not in noted  # and its digest, if any, is one of another kind
    told = {"metric": plan.metric.model_dump(), "method": plan.swept.sweep.method}
    is_same = all(noted.get(name, of) == of for name, of in told.items())
    if not is_same or not (is_older or noted["digest"] == plan.digest):
        raise StoreError(
            f"{store.path}: holds a sweep with other runs, another metric, method or options of it, on which depends "
            "which runs go on: name another directory with -o"
        )
    if noted and noted["runs"] > plan.size:
        trials = noted["runs"] // plan.repeats
        raise StoreError(
            f"{store.path}: holds a sweep of {trials:,} settings: fewer are another sweep: -o DIR"
        )
    _check_holds(store, plan, groups, current)


def written_confirm(path: Path) -> Any:
    """Return what the config in the directory of a sweep says of its confirmation; None where it says nothing."""
    with suppress(ConfigErrors):
        sweep = read_config(path / CONFIG).root.child(SWEEP)
        return _confirm_in(sweep) if sweep is not None else None
    return None


def _confirm_in(sweep: YamlNode) -> Any:
    found = sweep.child(CONFIRM)
    return found.plain() if found is not None else None


def _write_config(path: Path, text: str) -> None:
    content = text.encode()
    with store_errors(path):
        replace_file(path / CONFIG, lambda stream: stream.writelines([content]))


def _aside(store: Store) -> str:
    """Return in words how many runs of a store its plan no longer has."""
    kept = len(store.kept())
    return f"; {kept:,} that it asks for no more {'are' if kept > 1 else 'is'} kept aside" if kept else ""


def _plan_from(plan: Plan, first: int, **more: Any) -> dict[str, Any]:
    """Return what is noted of a plan: its settings from ``first`` on, and how they are chosen and ranked."""
    told = plan.settings[first:] if first else plan.told
    return {
        "settings": len(told) if isinstance(told, SettingColumns) else list(told),
        "repeats": plan.repeats,
        "metric": plan.metric.model_dump(),
        "runs": plan.size,
        "method": plan.swept.sweep.method,
        **({"crossed": crossed} if (crossed := plan.crossed) else {}),
        **more,
    }


def _identity_of(groups: Sequence[Group]) -> Identity:
    return reduce(or_, (group.identity for group in groups), Identity())


def _check_holds(
    store: Store, plan: Plan, groups: Sequence[Group], current: Identity, first: int = 0
) -> None:
    """Raise StoreError where a store holds other runs than a plan, from ``first`` on, as far as both have them."""
    if store.size > plan.size or not are_first(_of_plan(store, current, first), plan, groups, first):
        raise StoreError(f"{store.path}: {OTHER}")


def summarise(plan: Plan, store: Store, states: States) -> None:
    """Write the sweep's summary.csv: of each run its number, setting, seed, end and figures."""
    texts: dict[str, str] = {}  # YAML takes 0.2 ms for a mapping, which thousands of settings may share
    settings = plan.told if isinstance(plan.told, SettingColumns) else SettingColumns.of(plan.settings)
    paths, repeats = settings.paths, range(plan.repeats)
    columns: list[tuple[str, Iterable[Any]]] = [("run", range(len(states)))]
    for path in paths:
        own = ["" if value is MISSING else _cell(value, texts) for value in settings.values(path)]
        columns.append((path, [cell for cell in own for _ in repeats]))
    columns += [("seed", plan.seeds()), ("status", (str(STATUSES[code]) for code in states.codes))]
    # Where steps are swept, those that a run has made are another column.
    columns.append(("steps_made" if "steps" in paths else "steps", states.steps.tolist()))
    for name in dict.fromkeys([*states.names, *states.derived]):
        columns.append((name, [None if isnan(value) else value for value in states.shown(name).tolist()]))
    write_summary(store, columns)


def _cell(value: Any, texts: dict[str, str]) -> Any:
    if isinstance(value, (str, float)):
        return value
    key = repr(value)
    if key not in texts:
        texts[key] = inline(value)
    return texts[key]
