"""The curves or evaluations of many runs as columns, in which those of one run follow those of another."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from optrun.arrays import Array
from optrun.store import blocks
from optrun.store.blocks import Block, shared

CURVE, EVALUATION = "curve", "evaluation"
STEP = "step"


@dataclass(frozen=True)
class CurveColumns:
    """The curves or evaluations of runs: how many rows each has ``[n]``, and their columns, one run after another."""

    counts: Array
    columns: Mapping[str, Array]
    """Of all rows, or of one where all have this value."""
    common: Array | None = None
    """The steps of the longest run, of which all others have the first, where that is so."""

    @cached_property
    def ends(self) -> Array:
        """Where the rows of each run end."""
        return np.cumsum(self.counts)

    @classmethod
    def of_parts(cls, parts: "Sequence[tuple[Array, CurveColumns]]", size: int) -> "CurveColumns | None":
        """Return the series of the runs 0 … size - 1, of which each part has the next rows of some runs ``[n]``.

        None where parts have other columns.
        """
        filled = [(runs, each) for runs, each in parts if each.columns]
        if len({tuple(each.columns) for _, each in filled}) > 1:
            return None
        counts = np.zeros(size, np.int64)
        for runs, each in filled:
            counts[runs] += each.counts
        if len(filled) == 1 and len(filled[0][0]) == size and (np.diff(filled[0][0]) > 0).all():
            return filled[0][1]
        placed, columns = np.cumsum(counts) - counts, dict[str, Array]()
        for runs, each in filled:
            begins = placed[runs] - (each.ends - each.counts)
            places = np.repeat(begins, each.counts) + np.arange(each.counts.sum())
            for name, values in each.columns.items():
                columns.setdefault(name, np.empty(int(counts.sum()), values.dtype))[places] = values
            placed[runs] += each.counts
        return cls(counts, columns)

    def small(self) -> "CurveColumns":
        """Return the same with what rows have in common there once."""
        if not self.columns or not self.ends[-1]:
            return CurveColumns(self.counts, {})
        steps = self.columns[STEP]
        longest = int(np.argmax(self.counts))
        own = steps[self.ends[longest] - self.counts[longest] : self.ends[longest]]
        places = np.arange(len(steps)) - np.repeat(self.ends - self.counts, self.counts)
        common = own if (own[places] == steps).all() else None
        columns = {
            name: values[:0] if name == STEP and common is not None else shared(values)
            for name, values in self.columns.items()
        }
        return CurveColumns(self.counts, columns, common)

    @property
    def nbytes(self) -> int:
        """The size of the columns."""
        return sum(values.nbytes for values in self.columns.values())

    def part(self, lanes: slice) -> "CurveColumns":
        """Return those of some runs; all columns have the values of all rows."""
        counts = self.counts[lanes]
        if not (total := int(counts.sum())):
            return CurveColumns(counts, {})
        end = int(self.ends[lanes][-1])
        return CurveColumns(
            counts, {name: values[end - total : end] for name, values in self.columns.items()}
        )

    def of(self, lane: int) -> dict[str, Array]:
        """Return the columns of one run; nothing where it has no rows."""
        count, end = int(self.counts[lane]), int(self.ends[lane])
        if not count:
            return {}
        return {
            name: self.common[:count].copy()
            if name == STEP and self.common is not None
            else np.repeat(values, count)
            if len(values) == 1
            else values[end - count : end].copy()
            for name, values in self.columns.items()
        }

    def to_block(self) -> tuple[dict[str, list[str]], dict[str, Array]]:
        """Return what a block has of them."""
        own = self.small()
        arrays = {str(i): values for i, values in enumerate(own.columns.values())}
        if own.common is not None:
            arrays["common"] = own.common
        return {"names": list(own.columns)}, {"count": shared(own.counts), **arrays}

    @classmethod
    def of_block(cls, block: Block) -> "CurveColumns":
        """Return the series in a block; StoreError where it is damaged."""
        names = block.meta.get("names")
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise block.fault("does not name its columns")
        if len({*names}) < len(names) or (names and STEP not in names):
            raise block.fault("lacks its steps, or has a column twice")
        counts, common = block.column("count", "i"), block.arrays.get("common")
        most = (1 << 62) // len(counts)
        if ((counts < 0) | (counts > most)).any():
            raise block.fault("has impossible numbers of rows")
        total = int(counts.sum())
        if (common is not None and (common.dtype != np.int64 or common.shape != (int(counts.max()),))) or (
            total and not names
        ):
            raise block.fault("lacks rows")
        columns = {}
        for i, name in enumerate(names):
            values = block.arrays.get(str(i))
            lengths = (0,) if name == STEP and common is not None else (1, total)
            dtype = np.int64 if name == STEP else np.float64
            if values is None or values.dtype != dtype or values.ndim != 1 or len(values) not in lengths:
                raise block.fault(f"lacks rows of {name!r}")
            columns[name] = values
        return cls(counts, columns, common)

    @classmethod
    def found(cls, db: sqlite3.Connection, kind: str, run: int) -> dict[str, Array]:
        """Return what a block has of one run; nothing where there is none."""
        found = blocks.find(db, kind, run)
        return found[0].decoded(cls.of_block).of(found[1]) if found is not None else {}
