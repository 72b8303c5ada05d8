"""Who wrote when and where: kept apart from the results, which must not depend on it."""

import os
import platform
import sqlite3
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from optrun.errors import StoreError
from optrun.store import blobs, verified
from optrun.store.event_names import PACK
from optrun.store.fingerprint import environment
from optrun.store.runs import count_runs, read_run
from optrun.store.types import Event, RunState, Status

NO_RUN = -1


def begin(db: sqlite3.Connection, kind: str) -> int:
    """Note that this process begins to write, and return the number of this attempt, from 0."""
    attempt: int = db.execute("SELECT count(*) FROM environments").fetchone()[0]
    here = environment(_backend(db))
    verified.insert(db, "environments", [(attempt, blobs.dumps(here, "the environment"))])
    write_events(db, [event(kind, attempt, host=platform.node(), pid=os.getpid(), argv=sys.argv)])
    return attempt


def _backend(db: sqlite3.Connection) -> str:
    """Return the backend of the first run, by which it is known that there is a device before one is used."""
    return str(read_run(db, 0).config.get("backend", "numpy")) if count_runs(db) else "numpy"


def event(kind: str, attempt: int, run: int | None = None, **details: Any) -> Event:
    """Return an event of this moment."""
    return Event(kind=kind, time=now(), attempt=attempt, run=run, details=details)


def now() -> str:
    """Return this moment, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def write_events(db: sqlite3.Connection, events: Iterable[Event]) -> None:
    """Append events."""
    first = _next_event(db)
    rows = [
        (
            number,
            event.time,
            event.attempt,
            event.kind,
            NO_RUN if event.run is None else event.run,
            blobs.dumps(dict(event.details), f"event {event.kind!r}") if event.details else "{}",
        )
        for number, event in enumerate(events, first)
    ]
    verified.insert(db, "events", rows)


def write_ends(db: sqlite3.Connection, attempt: int, states: Mapping[int, RunState]) -> None:
    """Append an event for each run that has ended or paused, by its state: beside that, how long it took alone."""
    ended = [(run, of) for run, of in states.items() if of.status not in (Status.WAITING, Status.RUNNING)]
    if not ended:
        return
    first, time = _next_event(db), now()
    rows = (
        (number, time, attempt, str(of.status), run, "{}" if of.seconds is None else _details(of.seconds))
        for number, (run, of) in enumerate(ended, first)
    )
    verified.insert(db, "events", rows)


def write_packs(db: sqlite3.Connection, attempt: int, packs: Iterable[Sequence[int]]) -> None:
    """Append an event for each pack of runs that have ended together."""
    write_events(db, [event(PACK, attempt, runs=_ranges(runs)) for runs in packs])


def renumber_packs(db: sqlite3.Connection, moves: Mapping[int, int], gone: Collection[int]) -> None:
    """Give runs that have ended together other numbers; some are gone."""
    for number, time, attempt, kind, run, text in verified.select(db, "events", "kind = ?", (PACK,)):
        details = blobs.loads(text, f"event {number}")
        old = [run for part in _parts(details) for run in part if run not in gone]
        new = sorted(moves.get(run, run) for run in old)
        text = blobs.dumps({**details, "runs": _ranges(new) if new else []}, f"event {number}")
        verified.insert(db, "events", [(number, time, attempt, kind, run, text)])


def is_among(run: int, details: Mapping[str, Any]) -> bool:
    """Whether a run is one of those that have ended together, by the details of their event."""
    return any(run in part for part in _parts(details))


def _parts(details: Mapping[str, Any]) -> list[range]:
    parts = details.get("runs")
    if not isinstance(parts, list) or not all(
        isinstance(part, list) and 1 < len(part) < 4 and all(type(each) is int for each in part)
        for part in parts
    ):
        raise StoreError("an event of a pack is damaged")
    return [range(first, end, *(max(1, each) for each in step)) for first, end, *step in parts]


def _ranges(runs: Sequence[int]) -> list[list[int]]:
    """Return increasing numbers as ranges, each by its first number, the one behind its last, and its step."""
    numbers = np.asarray(runs)
    distances = np.diff(numbers)
    if len(distances) and (distances == distances[0]).all():
        return [[int(numbers[0]), int(numbers[-1]) + 1, int(distances[0])]]
    parts = np.split(numbers, np.flatnonzero(distances != 1) + 1)
    return [[int(part[0]), int(part[-1]) + 1] for part in parts]


def _details(seconds: float) -> str:
    return blobs.dumps({"seconds": seconds}, "how long a run took")


def _next_event(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(event) + 1, 0) FROM events").fetchone()[0])


def read_events(db: sqlite3.Connection, kind: str | None = None) -> list[Event]:
    """Return the events, all or those of a kind, the first one first."""
    chosen = () if kind is None else ("kind = ?", (kind,))
    return [
        Event(
            kind=of_kind,
            time=time,
            attempt=attempt,
            run=None if run == NO_RUN else run,
            details=blobs.loads(text, f"event {number}"),
        )
        for number, time, attempt, of_kind, run, text in verified.select(db, "events", *chosen)
    ]


def read_environments(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the fingerprint of each attempt, the first one first."""
    rows = verified.select(db, "environments")
    return [blobs.loads(text, f"environment {attempt}") for attempt, text in rows]
