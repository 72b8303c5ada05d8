"""What is wrong with a store: with its pages, its rows, and with how what is stored of a run fits together."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from optrun.errors import StoreError, counted, printable
from optrun.store import attempts, blocks, verified
from optrun.store.curve_columns import EVALUATION, STEP
from optrun.store.curves import join, recorded
from optrun.store.directory import is_being_written
from optrun.store.opening import connect, open_results, page_faults
from optrun.store.pack_columns import LEFT
from optrun.store.runs import KEPT, LEFT_IN, known_runs, read_all_runs, read_checkpoint, read_params, read_run
from optrun.store.snapshots import check_snapshots
from optrun.store.store_errors import store_errors


def faults(directory: Path) -> tuple[int, list[str]]:
    """Return how many runs a run directory holds, and what is wrong with them, one line each; all of it is read.

    Raises StoreError where there is no results file, or one that optrun has not written, or while it is being written.
    """
    # SQLite checks all pages in one transaction, for which a writer waits, and in the end gives up.
    if is_being_written(directory, unknown=False):
        raise StoreError(
            f"{directory}: the run is being written, and a check of all its pages could stop it: "
            "check it when it has ended"
        )
    found: list[str] = []
    size = 0
    with store_errors(directory):
        with closing(connect(directory, write=False)) as db, _noted(found):
            found += page_faults(db)
        with _noted(found), closing(open_results(directory, write=False)) as db:
            numbers = known_runs(db)
            size = sum(run < KEPT for run in numbers)
            for read in (read_all_runs, attempts.read_environments, attempts.read_events):
                with _noted(found):
                    read(db)
            for run in numbers:
                of_run: list[str] = []
                with verified.at_once(db):
                    _read_run(db, run, of_run)
                found += [text if f"run {run}" in text else f"run {run}: {text}" for text in of_run]
            there = set(numbers)
            for table in LEFT_IN:
                left = db.execute(f"SELECT DISTINCT run FROM {table}")
                found += [f"run {run} is not there, and has {table}" for (run,) in left if run not in there]
            for kind in LEFT:
                with _noted(found):
                    left_in = (run for block in blocks.read(db, kind) for run in block.runs)
                    found += [
                        f"run {run} is not there, and has {kind}" for run in left_in if run not in there
                    ]
    return size, list(dict.fromkeys(map(printable, found)))


def _read_run(db: sqlite3.Connection, run: int, found: list[str]) -> None:
    """Read all that is stored of a run, and note what is wrong with it."""
    last: dict[str, int] = {}
    steps = 0
    with _noted(found):
        steps = read_run(db, run).steps
    with _noted(found):
        last["curves"] = recorded(db, run, steps).get(STEP, [0])[-1]
    with _noted(found):
        last["evaluations"] = join(db, run, EVALUATION).get(STEP, [0])[-1]
    with _noted(found):
        last["parameters"] = check_snapshots(db, run)
    with _noted(found):
        read_params(db, run)
    with _noted(found):
        checkpoint = read_checkpoint(db, run)
        step = checkpoint.meta.get("step") if checkpoint else None
        last["a checkpoint"] = step if isinstance(step, int) else 0
    for what, step in last.items():
        if step > steps:
            found.append(f"run {run} has made {counted(steps, 'step')}, and has {what} of step {step}")


@contextmanager
def _noted(found: list[str]) -> Iterator[None]:
    """Take what cannot be read for a fault, and go on."""
    try:
        yield
    except (StoreError, sqlite3.Error, UnicodeDecodeError) as error:
        found.append(str(error))
