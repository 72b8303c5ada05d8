"""Long curves: their rows are those of short ones, but they are written without a copy of a column."""

import sqlite3
import tracemalloc
from contextlib import closing

import numpy as np
import pytest

from optrun.store import RunState, Status, Store, blobs
from optrun.store.curves import segment_rows

ROWS = 8 * blobs.PIECE + 5
"""No whole number of pieces."""


@pytest.fixture
def store(tmp_path):
    with Store.create(tmp_path, "long", config_yaml="a: 1\n", runs=[({}, 0)]) as store:
        yield store


def curves(rows, first=0):
    """Return a column of each form that a recorder gives: whole numbers, every second of a block, one value for all."""
    values = np.random.default_rng(first).normal(size=(rows, 2))
    lr = np.broadcast_to(np.asarray(1e-3), (rows, 1))[:, 0]
    return {"step": np.arange(first, first + rows), "loss": values[:, 1], "lr": lr}


def stored(store):
    with closing(sqlite3.connect(store.path / "results.sqlite")) as db:
        found = db.execute(
            'SELECT run, kind, first_step, column_index, last_step, name, "values" FROM curves ORDER BY column_index'
        )
        return found.fetchall()


@pytest.mark.full
@pytest.mark.parametrize("rows", [1, blobs.PIECE, blobs.PIECE + 1, ROWS])
def test_a_long_curve_has_the_rows_of_a_short_one(store, rows):
    given = curves(rows)
    store.commit(curves={0: given}, states={0: RunState(status=Status.COMPLETED)})
    assert stored(store) == [*segment_rows(0, "curve", given)]
    found = store.curves()
    assert all(found[name].tobytes() == np.ascontiguousarray(given[name]).tobytes() for name in given)


@pytest.mark.full
def test_nothing_tells_in_how_many_segments_a_long_curve_was_written(store, tmp_path):
    whole = curves(ROWS)
    for rows in (slice(0, 7), slice(7, ROWS - 1), slice(ROWS - 1, None)):
        store.commit(curves={0: {name: values[rows] for name, values in whole.items()}})
    store.commit(states={0: RunState(status=Status.COMPLETED)})
    assert stored(store) == [*segment_rows(0, "curve", whole)]


def test_a_long_curve_is_written_without_a_copy_of_a_column(store):
    given = curves(ROWS)
    tracemalloc.start()
    try:
        store.commit(curves={0: given})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * ROWS / 2
