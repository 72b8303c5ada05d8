"""What many runs have as columns: a row of the table of blocks for all of them, in place of one for each."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from optrun.arrays import Array
from optrun.errors import StoreError
from optrun.store import blobs, verified

T = TypeVar("T")

LEAST_RUNS = 64
"""Configs and states of fewer runs are rows."""
LEAST_LANES = 16
"""What fewer runs leave together are rows."""
MOST_RUNS = 1 << 12
"""The most runs of a block: a run that changes has all of them written."""
MOST_BYTES = 1 << 24
"""About the most bytes of a block: whoever reads one of its runs reads all of them."""
LAST_RUN = 1 << 24
"""Beyond it no block has runs, whatever it says: what all have in common is there once."""

RUN = "run"
"""The column of the numbers, where these are not those between the first and the last."""


class ReadConnection(sqlite3.Connection):
    """A connection that only reads: it keeps the last block of each kind, until another one writes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._kept: dict[str, Block] = {}
        self._version = -1

    def kept(self) -> "dict[str, Block]":
        """Return the blocks by their kinds, none where something was written since they were read."""
        (version,) = self.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._kept, self._version = {}, version
        return self._kept


@dataclass(frozen=True)
class Block:
    """Columns of some runs, in the order of their increasing numbers, and what is said of them in JSON."""

    kind: str
    runs: Sequence[int]
    meta: Mapping[str, Any]
    arrays: Mapping[str, Array]

    known: list[Any] = field(default_factory=list, repr=False, compare=False)
    """What was decoded of it."""

    def decoded(self, of_block: "Callable[[Block], T]") -> "T":
        """Return what is made of it, once."""
        if not self.known:
            self.known.append(of_block(self))
        found: T = self.known[0]
        return found

    @cached_property
    def lanes(self) -> Mapping[int, int]:
        """The place of each run."""
        return {run: lane for lane, run in enumerate(self.runs)}

    def lane(self, run: int) -> int | None:
        """Return the place of a run; None where it is none of these."""
        if isinstance(self.runs, range):
            return self.runs.index(run) if run in self.runs else None
        return self.lanes.get(run)

    def column(self, name: str, kinds: str, shape: tuple[int, ...] | None = ()) -> Array:
        """Return a column ``[n, *shape]`` whose dtype is of one of these kinds; StoreError where it is another one.

        Without a shape, any will do.
        """
        values = self.arrays.get(name)
        if values is None or values.dtype.kind not in kinds or values.ndim == 0:
            raise self.fault(f"lacks its column {name!r}")
        if len(values) not in (1, len(self.runs)) or (shape is not None and values.shape[1:] != shape):
            raise self.fault(f"has {name!r} of another shape")
        return np.broadcast_to(values, (len(self.runs), *values.shape[1:]))

    def codes(self, name: str, count: int) -> Array:
        """Return a column ``[n]`` of codes, each below a number; StoreError where one is not."""
        codes = self.column(name, "iu")
        if ((codes < 0) | (codes >= count)).any():
            raise self.fault(f"has codes in {name!r} that mean nothing")
        return codes

    def lists(self, *names: str) -> list[list[Any]]:
        """Return lists in what is said in JSON; StoreError where one of them is none."""
        found = [self.meta.get(name) for name in names]
        if not all(isinstance(each, list) for each in found):
            raise self.fault(f"lacks {' or '.join(names)}")
        return found  # type: ignore[return-value]

    def fault(self, what: str) -> StoreError:
        """Return the error that says what is wrong."""
        return StoreError(
            f"{self.kind} of the runs {self.runs[0]} … {self.runs[-1]} are damaged: a block {what}"
        )


def write(
    db: sqlite3.Connection, kind: str, runs: Sequence[int], meta: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Write columns ``[n, …]`` of runs; one that has equal values alone may be of one."""
    numbers = runs if isinstance(runs, range) and runs.step == 1 else np.asarray(runs, np.int64)
    first, last = int(numbers[0]), int(numbers[-1])
    own = {} if last - first + 1 == len(numbers) else {RUN: np.asarray(numbers)}
    what = f"{kind} of the runs {first} … {last}"
    verified.insert(
        db,
        "blocks",
        [(kind, first, last, blobs.dumps(dict(meta), what), blobs.encode_npz({**own, **arrays}))],
    )


def shared(values: Array) -> Array:
    """Return a column ``[n, …]`` as one of one value, where all are equal to the bit."""
    if len(values) < 2 or values[0].tobytes() != values[-1].tobytes():
        return values
    raw = np.ascontiguousarray(values).reshape(len(values), -1).view(np.uint8)
    return values[:1] if (raw == raw[0]).all() else values


def read(db: sqlite3.Connection, kind: str, where: str = "true", *values: int) -> Iterator[Block]:
    """Yield blocks, by their first runs; StoreError where one is damaged."""
    for row in verified.scan(db, "blocks", f"kind = ? AND {where}", (kind, *values)):
        yield _block(*row)


def find(db: sqlite3.Connection, kind: str, run: int) -> tuple[Block, int] | None:
    """Return the block that has a run, and its place there; None where there is none."""
    kept = db.kept() if isinstance(db, ReadConnection) else {}
    if kind in kept and (lane := kept[kind].lane(run)) is not None:
        return kept[kind], lane
    for block in read(db, kind, "first_run <= ? AND last_run >= ?", run, run):
        if (lane := block.lane(run)) is not None:
            kept[kind] = block
            return block, lane
    return None


def remove(db: sqlite3.Connection, block: Block) -> None:
    """Remove a block."""
    db.execute("DELETE FROM blocks WHERE kind = ? AND first_run = ?", (block.kind, block.runs[0]))


def _block(kind: str, first: int, last: int, meta: str, blob: bytes) -> Block:
    what = f"{kind} of the runs {first} … {last}"
    arrays = blobs.decode_npz(blob, what)
    runs: Sequence[int] = range(first, last + 1)
    if not 0 <= first <= last < LAST_RUN:
        raise StoreError(f"{what} are damaged: there are no such runs")
    if (own := arrays.pop(RUN, None)) is not None:
        is_list = (
            own.ndim == 1 and own.dtype == np.int64 and own.size > 0 and bool((own[1:] > own[:-1]).all())
        )
        if not is_list or (own[0], own[-1]) != (first, last):
            raise StoreError(f"{what} are damaged: their numbers are others")
        runs = own.tolist()
        if kind in ("runs", "states"):  # of which neighbours alone are together
            raise StoreError(f"{what} are damaged: some are left out")
    elif len(runs) > MOST_RUNS:
        raise StoreError(f"{what} are damaged: they are too many for a block")
    return Block(kind, runs, blobs.loads(meta, what), arrays)
