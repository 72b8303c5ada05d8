"""Snapshots of parameters, in the table of curves: one is a segment of one step, with a column for each parameter."""

import sqlite3
from collections.abc import Iterator, Mapping

from optrun.arrays import Array
from optrun.errors import StoreError
from optrun.store import blobs, schema, verified

SNAPSHOT = "params"


def snapshot_rows(run: int, snapshots: Mapping[int, Mapping[str, Array]]) -> Iterator[schema.Row]:
    """Yield the rows of a run's snapshots, parameters ``[*shape]`` by step and name."""
    for step, params in snapshots.items():
        for column, (name, values) in enumerate(params.items()):
            yield run, SNAPSHOT, step, column, step, name, blobs.encode(values)


def snapshot_steps(db: sqlite3.Connection, run: int) -> list[int]:
    """Return the steps of a run's snapshots, in order."""
    query = "SELECT DISTINCT first_step FROM curves WHERE run = ? AND kind = ? ORDER BY first_step"
    return [int(step) for (step,) in db.execute(query, (run, SNAPSHOT))]


def read_snapshot(db: sqlite3.Connection, run: int, step: int) -> dict[str, Array]:
    """Return the parameters of a snapshot by name, nothing where there is none; StoreError where it is damaged."""
    what = f"parameters of run {run} at step {step}"
    where = "run = ? AND kind = ? AND first_step = ?"
    params: dict[str, Array] = {}
    for _, _, _, column, _, name, blob in verified.scan(db, "curves", where, (run, SNAPSHOT, step)):
        if column != len(params) or name in params:
            raise StoreError(f"{what} are damaged: some are lost")
        params[name] = blobs.decode(blob, f"{what}: {name!r}")
    return params


def check_snapshots(db: sqlite3.Connection, run: int) -> int:
    """Read the snapshots of a run and return the step of the last one, 0 without any; StoreError where damaged."""
    steps = snapshot_steps(db, run)
    shapes = [{name: values.shape for name, values in read_snapshot(db, run, step).items()} for step in steps]
    for step, own in zip(steps, shapes, strict=True):
        if own != shapes[0]:
            raise StoreError(
                f"parameters of run {run} at step {step} are damaged: they are others than at step {steps[0]}"
            )
    return steps[-1] if steps else 0
