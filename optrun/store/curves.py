"""Curves in segments: a commit appends one in time proportional to it; a run that ends has a single one."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby, pairwise
from operator import itemgetter
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.errors import StoreError, counted
from optrun.store import blobs, blocks, schema, verified
from optrun.store.curve_columns import CURVE, EVALUATION, STEP, CurveColumns
from optrun.store.types import FIRST_COLUMNS

_WHOLE, _FLOAT = np.dtype(np.int64), np.dtype(np.float64)
_PREVIOUS = """SELECT name, last_step FROM curves WHERE run = ?1 AND kind = ?2 AND first_step =
    (SELECT max(first_step) FROM curves WHERE run = ?1 AND kind = ?2) ORDER BY column_index"""

_UNLISTED = """WITH listed AS (SELECT rowid AS row FROM curves WHERE run = ?1 AND kind = ?2)
    SELECT count(*) FROM curves NOT INDEXED WHERE rowid IN (SELECT row + 1 FROM listed) AND rowid NOT IN listed
    AND run = ?1 AND kind = ?2"""
"""Rows of a run that come after one of it, as those of a segment do, and that its index has lost."""

_LONG = "INSERT OR REPLACE INTO curves VALUES (?, ?, ?, ?, ?, ?, ?, zeroblob(?))"


def append(db: sqlite3.Connection, kind: str, segments: Mapping[int, Mapping[str, Any]]) -> set[int]:
    """Append a segment to the curves of each of some runs: columns ``[n]``, of which one is ``step``.

    Returns the runs whose first segment it is. Raises StoreError where one does not continue the curves: other
    columns, or a step that is not after the last.
    """
    begun = set()
    for run, columns in segments.items():
        what = f"{kind} of run {run}"
        arrays = _columns(columns, what)
        if not arrays[STEP].size:
            continue
        first = int(arrays[STEP][0])
        previous = db.execute(_PREVIOUS, (run, kind)).fetchall()
        if not previous:
            begun.add(run)
        elif [name for name, _ in previous] != list(columns):
            raise StoreError(f"{what} has the columns {', '.join(columns)}, and had others before")
        elif previous[0][1] >= first:
            raise StoreError(
                f"{what} goes on at step {first}, but is stored up to step {previous[0][1]} already"
            )
        _insert(db, run, kind, arrays)
    return begun


def segment_rows(run: int, kind: str, columns: Mapping[str, Any]) -> Iterator[schema.Row]:
    """Yield the rows of a segment: one for each of the columns ``[n]``, of which one is ``step``; none where n is 0."""
    arrays = _columns(columns, f"{kind} of run {run}")
    return _encoded(_rows(run, kind, arrays)) if arrays[STEP].size else iter(())


def join(db: sqlite3.Connection, run: int, kind: str) -> dict[str, Array]:
    """Return the curves of a run, each ``[n]``, in the order in which they were recorded.

    Raises StoreError where a segment is damaged or the segments do not make curves of one length.
    """
    what = f"{kind} of run {run}"
    parts: dict[str, list[Array]] = {}
    for _, _, _, column, _, name, blob in verified.scan(db, "curves", "run = ? AND kind = ?", (run, kind)):
        if name not in parts and column == len(parts):
            parts[name] = []
        elif column >= len(parts) or name != list(parts)[column]:
            raise StoreError(f"{what} is damaged: a segment lacks columns")
        values = blobs.decode(blob, f"{what}: {name!r}")
        if values.ndim != 1 or values.dtype != _dtype(name):
            raise StoreError(
                f"{what}: {name!r} is {values.dtype} {list(values.shape)}, not {_dtype(name)} [n]"
            )
        parts[name].append(values)
    if not parts:
        return _checked(CurveColumns.found(db, kind, run), what)
    if db.execute(_UNLISTED, (run, kind)).fetchone()[0]:
        raise StoreError(f"{what} is damaged: columns are lost")
    lengths = [[values.size for values in segments] for segments in parts.values()]
    if STEP not in parts or any(one != other for one, other in pairwise(lengths)):
        raise StoreError(f"{what} is damaged: its columns have different lengths")
    # One column after the other, and a whole one as it is: long ones are in memory once.
    return _checked({name: _joined(parts.pop(name)) for name in list(parts)}, what)


def _checked(arrays: dict[str, Array], what: str) -> dict[str, Array]:
    """Return the curves of a run; StoreError where their steps are not such as are recorded."""
    if not arrays:
        return arrays
    steps = arrays[STEP]
    distances = steps[1:] - steps[:-1]
    # Only the last one may be smaller, as that of an evaluation at the end of a run.
    if distances.size and ((distances[:-1] != distances[0]).any() or not 0 < distances[-1] <= distances[0]):
        raise StoreError(f"{what} is damaged: some of its steps are missing, or they do not increase")
    if not steps.size or not 0 <= steps[0] <= steps[-1] <= schema.LAST_STEP:
        raise StoreError(f"{what} is damaged: it has no steps, or impossible ones")
    return arrays


def evaluated(
    db: sqlite3.Connection, names: Sequence[str], end: int
) -> Iterator[tuple[int, Mapping[str, Array]]]:
    """Yield each run before the number ``end`` that was evaluated, with its steps and these columns.

    Raises StoreError where a segment is damaged; runs that lack a column are left out.
    """
    columns = (STEP, *names)
    marks = ", ".join("?" * len(columns))
    rows = verified.scan(
        db, "curves", f"run < ? AND kind = ? AND name IN ({marks})", (end, EVALUATION, *columns)
    )
    for run, own in groupby(rows, itemgetter(0)):
        parts: dict[str, list[Array]] = {}
        for _, _, _, _, _, name, blob in own:
            parts.setdefault(name, []).append(blobs.decode(blob, f"{EVALUATION} of run {run}: {name!r}"))
        if parts.keys() != set(columns):
            continue
        arrays = {name: _joined(segments) for name, segments in parts.items()}
        if any(values.shape != arrays[STEP].shape for values in arrays.values()):
            raise StoreError(f"{EVALUATION} of run {run} is damaged: its columns have different lengths")
        yield run, arrays
    for block in blocks.read(db, EVALUATION, "first_run < ?", end):
        series = CurveColumns.of_block(block)
        if series.columns.keys() >= set(columns):
            for lane, run in enumerate(block.runs):
                if own_rows := series.of(lane):
                    yield run, {name: own_rows[name] for name in columns}


def recorded(db: sqlite3.Connection, run: int, steps: int) -> dict[str, Array]:
    """Return what was recorded of a run that has made so many steps; StoreError where it is damaged, or not all."""
    arrays = join(db, run, CURVE)
    if arrays and not arrays.keys() >= set(FIRST_COLUMNS):
        raise StoreError(f"damaged: its curves lack the {' or the '.join(FIRST_COLUMNS[1:])}")
    found = arrays.get(STEP, np.zeros(0, np.int64))
    if steps and (not found.size or (found.size > 1 and 2 * found[-1] - found[-2] < steps)):
        raise StoreError(
            f"curve of run {run} is damaged: it has made {counted(steps, 'step')}, "
            f"and what is stored ends {f'with step {found[-1]}' if found.size else 'before the first'}"
        )
    return arrays


def column_names(db: sqlite3.Connection, run: int) -> list[str]:
    """Return the names of a run's curves, in the order in which they were recorded."""
    query = "SELECT DISTINCT name FROM curves WHERE run = ? AND kind = ? ORDER BY first_step, column_index"
    names = [str(name) for (name,) in db.execute(query, (run, CURVE))]
    return names or list(CurveColumns.found(db, CURVE, run))


def merge(db: sqlite3.Connection, run: int, kind: str) -> None:
    """Make one segment of a run's curves, so that nothing tells in how many it was written."""
    where = "FROM curves WHERE run = ? AND kind = ?"
    segments = db.execute(f"SELECT count(DISTINCT first_step) {where}", (run, kind)).fetchone()[0]
    if segments > 1:
        arrays = join(db, run, kind)
        db.execute(f"DELETE {where}", (run, kind))
        append(db, kind, {run: arrays})


def _rows(run: int, kind: str, arrays: Mapping[str, Array]) -> Iterator[tuple[schema.Row, Array]]:
    """Yield the rows of a segment of at least one step: all cells but the last, and the values of that one."""
    first, last = int(arrays[STEP][0]), int(arrays[STEP][-1])
    for column, (name, values) in enumerate(arrays.items()):
        yield (run, kind, first, column, last, str(name)), values


def _encoded(rows: Iterable[tuple[schema.Row, Array]]) -> Iterator[schema.Row]:
    for cells, values in rows:
        yield *cells, blobs.encode(values)


def _insert(db: sqlite3.Connection, run: int, kind: str, arrays: Mapping[str, Array]) -> None:
    """Write the rows of a segment; a blob that is long is nowhere whole."""
    rows = _rows(run, kind, arrays)
    if arrays[STEP].size <= blobs.PIECE:
        verified.insert(db, "curves", _encoded(rows))
        return
    for cells, values in rows:
        size = sum(map(len, blobs.pieces(values)))
        crc = verified.checksum(chain([verified.canonical_text([*cells, size])], blobs.pieces(values)))
        row = db.execute(_LONG, (crc, *cells, size)).lastrowid or 0
        with db.blobopen("curves", "values", row) as blob:
            for piece in blobs.pieces(values):
                blob.write(piece)


def _joined(segments: Sequence[Array]) -> Array:
    return segments[0] if len(segments) == 1 else np.concatenate(segments)


def _columns(columns: Mapping[str, Any], what: str) -> dict[str, Array]:
    steps = np.asarray(columns.get(STEP))
    whole = steps.dtype.kind in "iu" or steps.size == 0
    if not whole or steps.ndim != 1 or not _increasing(steps):
        raise StoreError(f"{what} needs a column 'step' of increasing integers")
    arrays: dict[str, Array] = {name: np.asarray(values, _dtype(name)) for name, values in columns.items()}
    for name, values in arrays.items():
        if values.shape != steps.shape:
            raise StoreError(
                f"{what}: {name!r} has the shape {list(values.shape)}, 'step' {list(steps.shape)}"
            )
    return arrays


def _dtype(name: str) -> np.dtype[Any]:
    return _WHOLE if name == STEP else _FLOAT


def _increasing(steps: Array) -> bool:
    return steps.size < 2 or bool((steps[1:] > steps[:-1]).all())
