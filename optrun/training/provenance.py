"""Provenance: the data and code with which each run of a store was computed, if others were accepted later."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optrun.errors import ChangedError, StoreError
from optrun.store import RunRecord, Store
from optrun.store.event_names import ACCEPTED, MADE, RESET
from optrun.training.identity import Identity, change_message, changed_data, changes, identity_of_store


@dataclass(frozen=True)
class Provenance:
    """The data and code with which a run was computed up to a step."""

    steps: int
    identity: Identity


def earlier_identities(store: Store) -> dict[int, list[Provenance]]:
    """Return the earlier identities by run number, without the runs computed entirely with the current one."""
    found: defaultdict[int, list[Provenance]] = defaultdict(list)
    if not store.events(MADE):
        return found
    for event in store.events():
        if event.run is not None and event.kind == RESET:
            found.pop(event.run, None)
        elif event.run is not None and event.kind == MADE:
            try:
                entry = Provenance(int(event.details["steps"]), Identity.from_details(event.details))
            except (KeyError, TypeError, ValueError, AttributeError):
                raise StoreError(f"{store.path}: the provenance of run {event.run} is damaged") from None
            found[event.run].append(entry)
    return found


def single_identity(
    record: RunRecord, of_store: Identity, past: Mapping[int, list[Provenance]]
) -> Identity | None:
    """Return the identity with which a whole run was computed; None if it changed during the run."""
    if not (mine := past.get(record.run)):
        return of_store.part(record.config)
    return mine[0].identity if mine[0].steps == record.steps else None


def identity_of(store: Store, record: RunRecord) -> Identity:
    """Return the identity with which a run was computed; the last one, if it changed during the run."""
    now = identity_of_store(store)
    return single_identity(record, now, earlier_identities(store)) or now.part(record.config)


def check_identity(
    store: Store, now: Identity, whole: str, instead: str, *, accept: bool
) -> tuple[Identity, dict[str, Any]]:
    """Return what `compare_identity` returns; if changes are accepted, the next commit records every provenance."""
    before = identity_of_store(store)
    after, events = compare_identity(store, now, whole, instead, accept=accept)
    if ACCEPTED in events:
        made = earlier_identities(store)
        for record in [*store.runs(), *store.kept()]:
            mine, past = before.part(record.config), made.get(record.run)
            is_noted = past is not None and past[-1].steps == record.steps
            if record.has_begun and not is_noted and any(changes(mine, after.part(record.config))):
                store.log(MADE, record.run, steps=record.steps, **mine.details())
    return after, events


def compare_identity(
    store: Store, now: Identity, whole: str, instead: str, *, accept: bool
) -> tuple[Identity, dict[str, Any]]:
    """Return the identity of a store from now on, and the events to record; no events if nothing is new.

    Raises ChangedError if data or code have changed since the ``whole`` (run or sweep) began, unless changes are
    accepted.
    """
    before = identity_of_store(store)
    changed = list(changes(before, now))
    if changed and not accept:
        raise ChangedError(f"{store.path}: {change_message(changed, whole, instead)}")
    data = {old: now.data[key] for key, olds in changed_data(before, now) for old in olds} | dict(now.data)
    new = Identity(
        {key: value for key, value in data.items() if before.data.get(key) != value},
        {name: source for name, source in now.code.items() if before.code.get(name) != source},
    )
    after, events = before | new, new.events()
    if changed:
        events[ACCEPTED] = {"changes": [vars(each) for each in changed]}
    return after, events
