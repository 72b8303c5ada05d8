"""The runs of an experiment in another order: what each has left goes with it, and what has no place is kept aside."""

import sqlite3
from collections.abc import Iterable, Mapping

from optrun.store import attempts, blobs, blocks, verified
from optrun.store.pack_columns import LEFT, unpack_block
from optrun.store.runs import (
    KEPT,
    LEFT_IN,
    RUNS,
    STATES,
    Runs,
    insert_runs,
    read_numbered_states,
    read_run,
    state_row,
    write_states,
)
from optrun.store.types import Status

NUMBERED = (*LEFT_IN, "events")
"""The tables that tell of what single runs have left."""


def rearrange(db: sqlite3.Connection, runs: Runs, found: Mapping[int, int]) -> int:
    """Make these the runs, pairs of config and seed, and return how many they are.

    The run ``new`` has left what the run ``found[new]`` has left so far; one that is not there waits. Others that
    have left something are kept aside, numbered from KEPT on.
    """
    states = read_numbered_states(db)
    moves = {old: new for new, old in found.items() if old != new}
    taken, free = set(found.values()), max(KEPT, *(run + 1 for run in states))
    others = [run for run in states if run not in taken and run < KEPT]
    begun = [run for run in others if states[run].has_begun]
    aside = {run: free + i for i, run in enumerate(begun)}
    kept = [(read_run(db, run), new) for run, new in aside.items()]
    _renumber_blocks(db, moves | aside)
    _remove(db, set(others) - set(begun))
    _renumber(db, moves | aside)
    attempts.renumber_packs(db, moves | aside, set(others) - set(begun))
    for table in (RUNS, STATES):
        db.execute(f"DELETE FROM {table} WHERE run < ?", (KEPT,))
        # What was kept aside and has a place again is written there.
        db.executemany(f"DELETE FROM {table} WHERE run = ?", ((run,) for run in taken if run >= KEPT))
        db.execute("DELETE FROM blocks WHERE kind = ?", (table,))
    texts = ((new, of.seed, blobs.dumps(of.config, f"config of run {of.run}")) for of, new in kept)
    verified.insert(db, RUNS, texts)
    verified.insert(db, STATES, (state_row(new, of) for of, new in kept))
    count = insert_runs(db, runs, Status.WAITING)
    write_states(db, {new: states[old] for new, old in found.items()})
    return count


def _renumber_blocks(db: sqlite3.Connection, moves: Mapping[int, int]) -> None:
    """Give runs in blocks other numbers; rows of their own where a block would not have them in their order."""
    moved = []
    for kind in LEFT:
        for block in blocks.read(db, kind):
            numbers = [moves.get(run, run) for run in block.runs]
            if numbers == [*block.runs]:
                continue
            if numbers == sorted(numbers) and numbers[-1] < KEPT:
                moved.append((block, numbers))
            else:
                unpack_block(db, block)
    for block, _ in moved:
        blocks.remove(db, block)
    for block, numbers in moved:
        blocks.write(db, block.kind, numbers, block.meta, block.arrays)


def _remove(db: sqlite3.Connection, runs: Iterable[int]) -> None:
    for table in NUMBERED:
        db.executemany(f"DELETE FROM {table} WHERE run = ?", ((run,) for run in runs))


def _renumber(db: sqlite3.Connection, moves: Mapping[int, int]) -> None:
    """Give runs other numbers: first negative ones that no run has, so that none meets another on its way."""
    db.create_function("checksum_of", -1, lambda *cells: verified.checksum(verified.canonical_bytes(cells)))
    db.execute("CREATE TEMP TABLE moves (old INTEGER PRIMARY KEY, new INTEGER NOT NULL)")
    db.executemany("INSERT INTO moves VALUES (?, ?)", moves.items())
    for table in NUMBERED:
        for _ in verified.scan(db, table, "run IN (SELECT old FROM moves)"):
            pass  # else damage would get the right checksum
        new = f"(SELECT new FROM moves WHERE old = {table}.run)"
        names = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")][1:]
        cells = ", ".join(new if name == "run" else f'"{name}"' for name in names)
        db.execute(
            f"UPDATE {table} SET crc = checksum_of({cells}), run = -2 - {new} "
            "WHERE run IN (SELECT old FROM moves)"
        )
        db.execute(f"UPDATE {table} SET run = -2 - run WHERE run < -1")
    db.execute("DROP TABLE moves")
