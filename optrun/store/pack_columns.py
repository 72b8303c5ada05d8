"""What the runs of a pack leave that began and ended together, as columns for all of them."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optrun.arrays import Array
from optrun.store import blobs, blocks, schema, verified
from optrun.store.blocks import Block, shared
from optrun.store.curve_columns import CURVE, EVALUATION, CurveColumns
from optrun.store.curves import segment_rows
from optrun.store.states import States

SERIES = (CURVE, EVALUATION)
PARAMS = "params"
LEFT = (*SERIES, PARAMS)
"""The kinds of blocks of what runs leave."""


@dataclass(frozen=True)
class PackColumns:
    """What runs have left, by the kind of it, and how they have ended, in the order of their numbers."""

    runs: Sequence[int]
    states: States
    series: Mapping[str, CurveColumns]
    params: Mapping[str, Array]
    """By name ``[n, *shape]``."""

    @property
    def nbytes(self) -> int:
        """The size of what they have left."""
        return sum(of.nbytes for of in self.series.values()) + sum(of.nbytes for of in self.params.values())

    def params_of(self, lane: int) -> dict[str, Array]:
        """Return the parameters of one run."""
        return {name: values[lane].copy() for name, values in self.params.items()}

    def write(self, db: sqlite3.Connection) -> None:
        """Write what they have left as blocks; their states are not written here."""
        size = len(self.runs)
        most = max(1, min(blocks.MOST_RUNS, blocks.MOST_BYTES * size // max(1, self.nbytes)))
        for first in range(0, size, most):
            lanes = slice(first, first + most)
            for kind, series in self.series.items():
                if (own := series.part(lanes)).columns:
                    blocks.write(db, kind, self.runs[lanes], *own.to_block())
            if self.params:
                small = {f"array {name}": shared(values[lanes]) for name, values in self.params.items()}
                blocks.write(db, PARAMS, self.runs[lanes], {}, small)


def params_in(block: Block, lane: int) -> dict[str, Array]:
    """Return the parameters of one run of a block."""
    prefix = "array "
    return {
        name.removeprefix(prefix): np.array(block.column(name, blobs.KINDS, None)[lane])
        for name in block.arrays
    }


def rows_of(block: Block, run: int, lane: int) -> Iterator[schema.Row]:
    """Yield the rows that one run of a block would have by itself."""
    if block.kind == PARAMS:
        yield run, blobs.encode_npz(params_in(block, lane))
    elif columns := block.decoded(CurveColumns.of_block).of(lane):
        yield from segment_rows(run, block.kind, columns)


def unpack(db: sqlite3.Connection, runs: Iterable[int] | None = None) -> None:
    """Give those runs, by default all, rows of their own that have left something in blocks, and the others there."""
    for kind in LEFT:
        found = (
            blocks.read(db, kind)
            if runs is None
            else (each[0] for run in runs if (each := blocks.find(db, kind, run)) is not None)
        )
        for block in {each.runs[0]: each for each in found}.values():
            unpack_block(db, block)


def unpack_block(db: sqlite3.Connection, block: Block) -> None:
    """Give the runs of a block rows of their own."""
    blocks.remove(db, block)
    rows = (row for lane, run in enumerate(block.runs) for row in rows_of(block, run, lane))
    verified.insert(db, PARAMS if block.kind == PARAMS else "curves", rows)
