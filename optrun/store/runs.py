"""The runs of an experiment: what each was asked to do, which never changes, and its state, which does."""

import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from operator import index
from typing import Any

from optrun.arrays import Array
from optrun.errors import StoreError, counted
from optrun.store import blobs, schema, verified
from optrun.store.types import NO_FIGURES, Checkpoint, RunRecord, RunState, Status

KEPT = 1 << 40
"""The number from which on there are runs that the plan of a sweep no longer has: no list of runs has them."""


_STATUSES = {str(status): status for status in Status}

LEFT_IN = ("curves", "params", "checkpoints")
"""The tables of what runs leave."""


def insert_runs(
    db: sqlite3.Connection,
    runs: Iterable[tuple[Mapping[str, Any] | str, int]],
    status: Status,
    first: int = 0,
) -> int:
    """Write the runs, pairs of config and seed, in their order from the number ``first`` on; return how many.

    A config is a JSON object, or the text that this module would write of it.
    """
    count = 0

    def rows() -> Iterator[schema.Row]:
        nonlocal count
        for run, (config, seed) in enumerate(runs, first):
            count += 1
            if not isinstance(config, str):
                config = blobs.dumps(dict(config), f"config of run {run}")
            yield run, seed, config

    verified.insert(db, "runs", rows())
    state = RunState(status=status)
    verified.insert(db, "states", (_row(run, state) for run in range(first, first + count)))
    return count


def write_states(db: sqlite3.Connection, states: Mapping[int, RunState]) -> dict[int, RunState]:
    """Replace the states of these runs, and return them as they are read back."""
    stored = {index(run): _as_stored(state) for run, state in states.items()}
    verified.insert(db, "states", (_row(run, state) for run, state in stored.items()))
    return stored


def count_runs(db: sqlite3.Connection) -> int:
    """Return how many runs there are, without those that are kept aside; StoreError where one has no state."""
    # One statement, for another process may add runs between two.
    runs, states = (f"(SELECT max(run) FROM {of} WHERE run < {KEPT})" for of in ("runs", "states"))
    last, other = db.execute(f"SELECT {runs}, {states}").fetchone()
    if last != other:
        raise StoreError("damaged: a run has no state, or a state no run")
    return 0 if last is None else int(last) + 1


def read_runs(db: sqlite3.Connection, where: str = "true", *values: int) -> list[RunRecord]:
    """Return the runs, with their states.

    Raises StoreError where one is damaged or has no state.
    """
    with verified.at_once(db):
        states = {row[0]: row[1:] for row in verified.select(db, "states", where, values)}
        rows = verified.select(db, "runs", where, values)
    if lost := {run for run, _, _ in rows} ^ states.keys():
        raise StoreError(
            f"run {min(lost)} is damaged: it has no {'config' if min(lost) in states else 'state'}"
        )
    return [_record(run, seed, config, *states[run]) for run, seed, config in rows]


def read_all_runs(db: sqlite3.Connection) -> list[RunRecord]:
    """Return all runs but those that are kept aside, in their order; StoreError where one is damaged or lost."""
    records = read_runs(db, "run < ?", KEPT)
    _check_all([record.run for record in records], len(records))
    return records


def read_states(db: sqlite3.Connection) -> list[RunState]:
    """Return the states of all runs, in their order; StoreError where one is damaged or lost."""
    with verified.at_once(db):
        states = {run: state for run, state in read_numbered_states(db).items() if run < KEPT}
        _check_all(states, count_runs(db))
    return list(states.values())


def read_seeds(db: sqlite3.Connection) -> Sequence[int]:
    """Return the seeds of all runs, in their order; StoreError where one is damaged or lost."""
    runs, seeds = array("q"), array("q")
    for run, seed, _ in verified.scan(db, "runs", "run < ?", (KEPT,)):
        runs.append(run)
        seeds.append(seed)
    _check_all(runs, len(runs))
    return seeds


def _check_all(found: Iterable[int], count: int) -> None:
    """Raise StoreError where these are not the numbers of so many runs."""
    if lost := set(range(count)).symmetric_difference(found):
        raise StoreError(f"run {min(lost)} is damaged: it is not there")


def read_steps(db: sqlite3.Connection, run: int) -> int:
    """Return how many steps a run has made; StoreError where its state is damaged or lost."""
    for _, _, _, steps, _ in verified.select(db, "states", "run = ?", (run,)):
        return int(steps)
    raise StoreError(f"run {run} is damaged: it has no state")


def read_numbered_states(db: sqlite3.Connection) -> dict[int, RunState]:
    """Return the states of all runs by their numbers, those among them that are kept aside."""
    return {row[0]: _state(*row) for row in verified.select(db, "states")}


def read_params(db: sqlite3.Connection, run: int) -> dict[str, Array]:
    """Return a run's parameters by name; nothing where there are none."""
    for _, blob in verified.select(db, "params", "run = ?", (run,)):
        return blobs.decode_npz(blob, f"parameters of run {run}")
    return {}


def read_checkpoint(db: sqlite3.Connection, run: int) -> Checkpoint | None:
    """Return a run's checkpoint; None where it has none."""
    for _, meta, blob in verified.select(db, "checkpoints", "run = ?", (run,)):
        what = f"checkpoint of run {run}"
        return Checkpoint(blobs.decode_npz(blob, what), blobs.loads(meta, what))
    return None


def check_left(db: sqlite3.Connection) -> None:
    """Verify what runs have left that have not ended; StoreError where it is damaged, or rows are lost."""
    counts = [db.execute(f"SELECT count(*) FROM curves{how}").fetchone() for how in ("", " NOT INDEXED")]
    if counts[0] != counts[1]:
        raise StoreError("damaged: rows of curves are lost")
    ended = ", ".join(f"'{status}'" for status in Status if status.final)
    for table in LEFT_IN:
        for _ in verified.scan(db, table, f"run NOT IN (SELECT run FROM states WHERE status IN ({ended}))"):
            pass


def _as_stored(state: RunState) -> RunState:
    is_plain = type(state) is RunState and not (state.reason or state.derived) and state.seconds is None
    if is_plain and all(type(value) is float and isfinite(value) for value in state.summary.values()):
        return state  # so that it is there once
    summary = {
        name: None if value is None or not isfinite(value) else float(value)
        for name, value in state.summary.items()
    }
    # The text of an exception may hold bytes of a file name that are no text.
    reason = state.reason.encode(errors="backslashreplace").decode() if state.reason else ""
    return RunState(status=state.status, reason=reason, steps=index(state.steps), summary=summary)


def _row(run: int, state: RunState) -> schema.Row:
    summary = blobs.dumps(state.summary, f"summary of run {run}") if state.summary else "{}"
    return run, str(state.status), state.reason, state.steps, summary


def _state(run: int, status: str, reason: str, steps: int, summary: str) -> RunState:
    values = blobs.loads(summary, f"summary of run {run}")
    if not all(value is None or type(value) in (int, float) for value in values.values()):
        raise StoreError(f"summary of run {run} holds something else than numbers")
    if status not in _STATUSES:
        raise StoreError(f"run {run} has the unknown status {status!r}")
    if not 0 <= steps <= schema.LAST_STEP:
        raise StoreError(f"run {run} is damaged: it has made {counted(steps, 'step')}")
    return RunState(status=_STATUSES[status], reason=reason, steps=steps, summary=values or NO_FIGURES)


def _record(
    run: int, seed: int, config: str, status: str, reason: str, steps: int, summary: str
) -> RunRecord:
    document = blobs.loads(config, f"config of run {run}")
    return RunRecord.of(run, seed, document, _state(run, status, reason, steps, summary))
