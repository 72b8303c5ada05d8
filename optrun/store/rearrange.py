"""The runs of an experiment in another order: what each has left goes with it, and what has no place is kept aside."""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from optrun.store import verified
from optrun.store.runs import KEPT, LEFT_IN, insert_runs, read_numbered_states, write_states
from optrun.store.types import RunState, Status

NUMBERED = ("runs", "states", *LEFT_IN, "events")
"""The tables that tell of single runs."""


def rearrange(
    db: sqlite3.Connection, runs: Iterable[tuple[Mapping[str, Any] | str, int]], found: Mapping[int, int]
) -> int:
    """Make these the runs, pairs of config and seed, and return how many they are.

    The run ``new`` has left what the run ``found[new]`` has left so far; one that is not there waits. Others that
    have left something are kept aside, numbered from KEPT on.
    """
    states = read_numbered_states(db)
    moves = {old: new for new, old in found.items() if old != new}
    taken, free = set(found.values()), max(KEPT, *(run + 1 for run in states))
    others = [run for run in states if run not in taken and run < KEPT]
    begun = [run for run in others if states[run].has_begun]
    moves |= {run: free + i for i, run in enumerate(begun)}
    _remove(db, set(others) - set(begun))
    _renumber(db, moves)
    rows = list(runs)
    waiting = RunState(status=Status.WAITING)
    kept = {new: states[old] for new, old in found.items()}
    insert_runs(db, rows, Status.WAITING)
    write_states(db, {run: kept.get(run, waiting) for run in range(len(rows))})
    return len(rows)


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
