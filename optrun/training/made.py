"""Of what each run of a store was made: what a whole store has now may have been accepted in the place of it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optrun.errors import ChangedError, StoreError
from optrun.store import RunRecord, Store
from optrun.store.event_names import ACCEPTED, MADE, RESET
from optrun.training.identity import Identity, changed_data, changes, known, sentence


@dataclass(frozen=True)
class Made:
    """Of what a run was made up to a step."""

    steps: int
    identity: Identity


def made_in(store: Store) -> dict[int, list[Made]]:
    """Return, by their numbers, the runs that were made of something else than was accepted later, and of what."""
    found: defaultdict[int, list[Made]] = defaultdict(list)
    if not store.events(MADE):
        return found
    for event in store.events():
        if event.run is not None and event.kind == RESET:
            found.pop(event.run, None)
        elif event.run is not None and event.kind == MADE:
            try:
                made = Made(int(event.details["steps"]), Identity.from_details(event.details))
            except (KeyError, TypeError, ValueError, AttributeError):
                raise StoreError(f"{store.path}: what run {event.run} was made of is damaged") from None
            found[event.run].append(made)
    return found


def origin(record: RunRecord, of_store: Identity, made: Mapping[int, list[Made]]) -> Identity | None:
    """Return of what a run was made; None where only a part of it was made of one thing."""
    if not (mine := made.get(record.run)):
        return of_store.part(record.config)
    return mine[0].identity if mine[0].steps == record.steps else None


def identity_of(store: Store, record: RunRecord) -> Identity:
    """Return of what a run was made, or, of several things, the last one."""
    now = known(store)
    return origin(record, now, made_in(store)) or now.part(record.config)


def checked(
    store: Store, now: Identity, whole: str, instead: str, *, accept: bool
) -> tuple[Identity, dict[str, Any]]:
    """Return what `compared` does; where changes are accepted, the next commit notes of what each run was made."""
    before = known(store)
    after, events = compared(store, now, whole, instead, accept=accept)
    if ACCEPTED in events:
        made = made_in(store)
        for record in [*store.runs(), *store.kept()]:
            mine, past = before.part(record.config), made.get(record.run)
            is_noted = past is not None and past[-1].steps == record.steps
            if record.has_begun and not is_noted and any(changes(mine, after.part(record.config))):
                store.log(MADE, record.run, steps=record.steps, **mine.details())
    return after, events


def compared(
    store: Store, now: Identity, whole: str, instead: str, *, accept: bool
) -> tuple[Identity, dict[str, Any]]:
    """Return what is known of a store from now on, and the events that tell so: nothing where all of it is known.

    Raises ChangedError where data or code are others than those with which the ``whole`` began, unless that is
    accepted: then each run that has begun keeps what it has.
    """
    before = known(store)
    changed = list(changes(before, now))
    if changed and not accept:
        raise ChangedError(f"{store.path}: {sentence(changed, whole, instead)}")
    data = {old: now.data[key] for key, olds in changed_data(before, now) for old in olds} | dict(now.data)
    new = Identity(
        {key: value for key, value in data.items() if before.data.get(key) != value},
        {name: source for name, source in now.code.items() if before.code.get(name) != source},
    )
    after, events = before | new, new.events()
    if changed:
        events[ACCEPTED] = {"changes": [vars(each) for each in changed]}
    return after, events
