"""Who wrote when and where: kept apart from the results, which must not depend on it."""

import os
import platform
import sqlite3
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from optrun.store import blobs, verified
from optrun.store.fingerprint import environment
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
    configs = [
        blobs.loads(config, "config of run 0") for _, _, config in verified.select(db, "runs", "run = 0")
    ]
    return str(configs[0].get("backend", "numpy")) if configs else "numpy"


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
