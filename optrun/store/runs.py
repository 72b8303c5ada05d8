"""The runs of an experiment: what each was asked to do, which never changes, and its state, which does."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from operator import index
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.errors import StoreError, counted
from optrun.store import blobs, blocks, schema, verified
from optrun.store.blocks import Block
from optrun.store.config_columns import ConfigColumns
from optrun.store.pack_columns import PARAMS, SERIES, params_in, rows_of, unpack
from optrun.store.states import States
from optrun.store.types import NO_FIGURES, Checkpoint, RunRecord, RunState, Status

KEPT = 1 << 40
"""The number from which on there are runs that the plan of a sweep no longer has: no list of runs has them."""


RUNS, STATES = "runs", "states"
"""Tables, and the kinds of blocks that have what they have."""

Runs = Iterable[tuple[Mapping[str, Any] | str, int]]

_STATUSES = {str(status): status for status in Status}

LEFT_IN = ("curves", "params", "checkpoints")
"""The tables of what runs leave."""


def insert_runs(db: sqlite3.Connection, runs: Runs, status: Status, first: int = 0) -> int:
    """Write the runs, pairs of config and seed, in their order from the number ``first`` on; return how many.

    A config is a JSON object, or the text that this module would write of it. Many runs in columns are blocks.
    """
    if isinstance(runs, ConfigColumns) and len(runs) >= blocks.LEAST_RUNS:
        for begin in range(0, len(runs), blocks.MOST_RUNS):
            part = runs.part(slice(begin, begin + blocks.MOST_RUNS))
            numbers = range(first + begin, first + begin + len(part))
            blocks.write(db, RUNS, numbers, *part.to_block())
            blocks.write(db, STATES, numbers, *States(len(part), status).to_block())
        return len(runs)
    count = 0

    def rows() -> Iterator[schema.Row]:
        nonlocal count
        for run, (config, seed) in enumerate(runs, first):
            count += 1
            if not isinstance(config, str):
                config = blobs.dumps(dict(config), f"config of run {run}")
            yield run, seed, config

    verified.insert(db, RUNS, rows())
    state = RunState(status=status)
    verified.insert(db, STATES, (state_row(run, state) for run in range(first, first + count)))
    return count


def write_states(db: sqlite3.Connection, states: Mapping[int, RunState]) -> dict[int, RunState]:
    """Replace the states of these runs, and return them as they are read back."""
    stored = {index(run): _as_stored(state) for run, state in states.items()}
    left = dict(stored)
    for block in _blocks_with(db, sorted(stored)):
        own = States.of_block(block)
        for run in left.keys() & {*block.runs}:
            own[run - block.runs[0]] = left.pop(run)
        blocks.write(db, STATES, block.runs, *own.to_block())
    verified.insert(db, STATES, (state_row(run, state) for run, state in left.items()))
    return stored


def put_states(db: sqlite3.Connection, runs: Array, states: States) -> None:
    """Replace the states of these runs ``[n]``, whose numbers increase; those that are in no block one by one."""
    left = np.ones(len(runs), bool)
    for block in _blocks_with(db, runs):
        places = slice(*np.searchsorted(runs, (block.runs[0], block.runs[-1] + 1)))
        if (own := states[places]).codes.size < len(block.runs):
            own = States.of_block(block)
            own.put(runs[places] - block.runs[0], states[places])
        blocks.write(db, STATES, block.runs, *own.to_block())
        left[places] = False
    rows = (state_row(int(runs[place]), states[place]) for place in np.flatnonzero(left).tolist())
    verified.insert(db, STATES, rows)


def _blocks_with(db: sqlite3.Connection, runs: Sequence[int] | Array) -> Iterator[Block]:
    """Yield the blocks that have the states of some of these runs, whose numbers increase."""
    if not len(runs):
        return
    ends = "first_run <= ? AND last_run >= ?", int(runs[-1]), int(runs[0])
    query = f"SELECT first_run, last_run FROM blocks WHERE kind = ? AND {ends[0]}"
    for first, last in db.execute(query, (STATES, *ends[1:])).fetchall():
        begin, end = np.searchsorted(runs, (first, last + 1))
        if begin < end:
            yield from blocks.read(db, STATES, "first_run = ?", first)


def count_runs(db: sqlite3.Connection) -> int:
    """Return how many runs there are, without those that are kept aside; StoreError where one has no state."""
    # One statement, for another process may add runs between two.
    last, other = db.execute(
        "SELECT "
        + ", ".join(
            f"max((SELECT ifnull(max(run), -1) FROM {of} WHERE run < {KEPT}),"
            f" (SELECT ifnull(max(last_run), -1) FROM blocks WHERE kind = '{of}'))"
            for of in (RUNS, STATES)
        )
    ).fetchone()
    if last != other:
        raise StoreError("damaged: a run has no state, or a state no run")
    return int(last) + 1


def read_run(db: sqlite3.Connection, run: int) -> RunRecord:
    """Return a run with its state; StoreError where it is damaged or lost."""
    with verified.at_once(db):
        own = verified.select(db, RUNS, "run = ?", (run,))
        state = _state_of(db, run)
        found = None if own else blocks.find(db, RUNS, run)
    if found is not None:
        columns = found[0].decoded(ConfigColumns.of_block)
        own = [(run, int(columns.seeds[found[1]]), columns.text(found[1]))]
    if not own or state is None:
        what = "has no state" if own else "is not there" if state is None else "has no config"
        raise StoreError(f"run {run} is damaged: it {what}")
    (_, seed, config), *_ = own
    return _record(run, seed, config, state)


def _state_of(db: sqlite3.Connection, run: int) -> RunState | None:
    for row in verified.select(db, STATES, "run = ?", (run,)):
        return _state(*row)
    found = blocks.find(db, STATES, run)
    return found[0].decoded(States.of_block)[found[1]] if found is not None else None


def known_runs(db: sqlite3.Connection) -> list[int]:
    """Return the numbers of all runs of which there is a config or a state, those that are kept aside among them."""
    found = {run for (run,) in db.execute("SELECT run FROM runs UNION SELECT run FROM states")}
    ends = "SELECT first_run, last_run FROM blocks WHERE kind IN (?, ?) AND last_run < ?"
    for first, last in db.execute(ends, (RUNS, STATES, blocks.LAST_RUN)):
        found.update(range(first, last + 1))
    return sorted(found)


def read_kept(db: sqlite3.Connection) -> list[RunRecord]:
    """Return the runs that are kept aside; StoreError where one is damaged."""
    return [
        read_run(db, run) for (run,) in db.execute("SELECT run FROM runs WHERE run >= ?", (KEPT,)).fetchall()
    ]


def read_all_runs(db: sqlite3.Connection) -> list[RunRecord]:
    """Return all runs but those that are kept aside, in their order; StoreError where one is damaged or lost."""
    with verified.at_once(db):
        states = read_states(db)
        found = {row[0]: row[1:] for row in verified.scan(db, RUNS, "run < ?", (KEPT,))}
        packed = list(blocks.read(db, RUNS))
        _check_all(found, packed, len(states), "config")
    for block in packed:
        columns = ConfigColumns.of_block(block)
        found |= {run: (seed, text) for run, (text, seed) in zip(block.runs, columns, strict=True)}
    return [_record(run, found[run][0], found[run][1], state) for run, state in enumerate(states)]


def read_states(db: sqlite3.Connection) -> States:
    """Return the states of all runs, in their order; StoreError where one is damaged or lost."""
    with verified.at_once(db):
        rows = {row[0]: _state(*row) for row in verified.scan(db, STATES, "run < ?", (KEPT,))}
        packed = list(blocks.read(db, STATES))
        size = count_runs(db)
    _check_all(rows, packed, size, "state")
    found = States(size)
    for block in packed:
        found.put(slice(block.runs[0], block.runs[-1] + 1), States.of_block(block))
    if rows:
        found.put(np.array([*rows]), States.of(rows.values()))
    return found


def read_seeds(db: sqlite3.Connection) -> Array:
    """Return the seeds ``[n]`` of all runs, in their order; StoreError where one is damaged or lost."""
    with verified.at_once(db):
        rows = {run: seed for run, seed, _ in verified.scan(db, RUNS, "run < ?", (KEPT,))}
        packed = list(blocks.read(db, RUNS))
        size = count_runs(db)
    _check_all(rows, packed, size, "config")
    found = np.zeros(size, np.int64)
    for block in packed:
        found[block.runs[0] : block.runs[-1] + 1] = ConfigColumns.of_block(block).seeds
    if rows:
        found[[*rows]] = [*rows.values()]
    return found


def _check_all(rows: Iterable[int], packed: Iterable[Block], size: int, what: str) -> None:
    """Raise StoreError where not each of so many runs has one of these, in a row or in a block."""
    end = 0
    for first, last in sorted([*((run, run) for run in rows), *((of.runs[0], of.runs[-1]) for of in packed)]):
        if first < end:
            raise StoreError(f"run {first} is damaged: it has a {what} twice")
        if first > end:
            break
        end = last + 1
    if end != size:
        raise StoreError(f"run {end} is damaged: it has no {what}")


def read_steps(db: sqlite3.Connection, run: int) -> int:
    """Return how many steps a run has made; StoreError where its state is damaged or lost."""
    if (state := _state_of(db, run)) is None:
        raise StoreError(f"run {run} is damaged: it has no state")
    return state.steps


def read_numbered_states(db: sqlite3.Connection) -> dict[int, RunState]:
    """Return the states of all runs by their numbers, those among them that are kept aside."""
    found = {row[0]: _state(*row) for row in verified.select(db, STATES)}
    for block in blocks.read(db, STATES):
        found |= zip(block.runs, States.of_block(block), strict=True)
    return dict(sorted(found.items()))


def unpack_runs(db: sqlite3.Connection) -> None:
    """Give all runs rows of their own, with their states and what they have left."""
    for block in list(blocks.read(db, RUNS)):
        pairs = zip(block.runs, ConfigColumns.of_block(block), strict=True)
        verified.insert(db, RUNS, ((run, seed, text) for run, (text, seed) in pairs))
        blocks.remove(db, block)
    for block in list(blocks.read(db, STATES)):
        states = zip(block.runs, States.of_block(block), strict=True)
        verified.insert(db, STATES, (state_row(run, state) for run, state in states))
        blocks.remove(db, block)
    unpack(db)


def virtual_rows(db: sqlite3.Connection, table: str, size: int) -> Iterator[schema.Row]:
    """Yield the rows of a table of results that runs would have if none were in blocks; StoreError where damaged."""
    kinds = SERIES if table == "curves" else (table,)
    marks = ", ".join("?" * len(kinds))
    if db.execute(f"SELECT 1 FROM blocks WHERE kind IN ({marks}) LIMIT 1", kinds).fetchone() is None:
        yield from verified.scan(db, table, "run < ?", (KEPT,))
        return
    for run in range(size):
        own = verified.select(db, table, "run = ?", (run,))
        if own or table in LEFT_IN:
            packed = (each for kind in kinds if (each := blocks.find(db, kind, run)) is not None)
            yield from own or (row for block, lane in packed for row in rows_of(block, run, lane))
            continue
        record = read_run(db, run)
        if table == STATES:
            yield state_row(run, record)
        else:
            yield run, record.seed, blobs.dumps(record.config, f"config of run {run}")


def read_params(db: sqlite3.Connection, run: int) -> dict[str, Array]:
    """Return a run's parameters by name; nothing where there are none."""
    for _, blob in verified.select(db, "params", "run = ?", (run,)):
        return blobs.decode_npz(blob, f"parameters of run {run}")
    found = blocks.find(db, PARAMS, run)
    return params_in(*found) if found is not None else {}


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
    final = ", ".join(f"'{status}'" for status in Status if status.final)
    ended = {run for (run,) in db.execute(f"SELECT run FROM states WHERE status IN ({final})")}
    for block in blocks.read(db, STATES):
        ended.update((block.runs[0] + np.flatnonzero(States.of_block(block).ended)).tolist())
    for table in LEFT_IN:  # what is in blocks has ended
        for (run,) in db.execute(f"SELECT DISTINCT run FROM {table}").fetchall():
            if run not in ended:
                verified.select(db, table, "run = ?", (run,))


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


def state_row(run: int, state: RunState) -> schema.Row:
    """Return the row that has the state of a run."""
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


def _record(run: int, seed: int, config: str, state: RunState) -> RunRecord:
    return RunRecord.of(run, seed, blobs.loads(config, f"config of run {run}"), state)
