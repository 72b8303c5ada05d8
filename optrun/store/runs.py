"""The runs of an experiment: what each was asked to do, which never changes, and its state, which does."""

import sqlite3
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from optrun.errors import StoreError, counted
from optrun.store import blobs, schema
from optrun.store.types import RunRecord, RunState, Status

KEPT = 1 << 40
"""The number from which on there are runs that the plan of a sweep no longer has: no list of runs has them."""


def insert_runs(
    db: sqlite3.Connection, runs: Iterable[tuple[Mapping[str, Any], int]], status: Status, first: int = 0
) -> int:
    """Write the runs, pairs of config and seed, in their order from the number ``first`` on; return how many."""
    rows = [
        (run, seed, blobs.dumps(dict(config), f"config of run {run}"))
        for run, (config, seed) in enumerate(runs, first)
    ]
    schema.insert(db, "runs", rows)
    write_states(db, {run: RunState(status=status) for run, _, _ in rows})
    return len(rows)


def write_states(db: sqlite3.Connection, states: Mapping[int, RunState]) -> None:
    """Replace the states of these runs."""
    schema.insert(db, "states", (_row(run, state) for run, state in states.items()))


def read_runs(db: sqlite3.Connection, where: str = "true", *values: int) -> list[RunRecord]:
    """Return the runs, with their states.

    Raises StoreError where one is damaged or has no state.
    """
    states = {row[0]: row[1:] for row in schema.select(db, "states", where, values)}
    rows = schema.select(db, "runs", where, values)
    missing = [run for run, _, _ in rows if run not in states]
    if missing:
        raise StoreError(f"run {missing[0]} has no state")
    return [_record(run, seed, config, *states[run]) for run, seed, config in rows]


def read_states(db: sqlite3.Connection) -> list[RunState]:
    """Return the states of all runs, in their order; StoreError where one is damaged."""
    return [state for run, state in read_numbered_states(db).items() if run < KEPT]


def read_numbered_states(db: sqlite3.Connection) -> dict[int, RunState]:
    """Return the states of all runs by their numbers, those among them that are kept aside."""
    return {row[0]: _state(*row) for row in schema.select(db, "states")}


def _row(run: int, state: RunState) -> schema.Row:
    summary = {
        name: None if value is None or not isfinite(value) else float(value)
        for name, value in state.summary.items()
    }
    # The text of an exception may hold bytes of a file name that are no text.
    reason = state.reason.encode(errors="backslashreplace").decode()
    return run, str(state.status), reason, state.steps, blobs.dumps(summary, f"summary of run {run}")


def _state(run: int, status: str, reason: str, steps: int, summary: str) -> RunState:
    values = blobs.loads(summary, f"summary of run {run}")
    if not all(value is None or type(value) in (int, float) for value in values.values()):
        raise StoreError(f"summary of run {run} holds something else than numbers")
    if status not in list(Status):
        raise StoreError(f"run {run} has the unknown status {status!r}")
    if not 0 <= steps <= schema.LAST_STEP:
        raise StoreError(f"run {run} is damaged: it has made {counted(steps, 'step')}")
    return RunState(status=Status(status), reason=reason, steps=steps, summary=values)


def _record(
    run: int, seed: int, config: str, status: str, reason: str, steps: int, summary: str
) -> RunRecord:
    document = blobs.loads(config, f"config of run {run}")
    return RunRecord(run=run, seed=seed, config=document, **vars(_state(run, status, reason, steps, summary)))
