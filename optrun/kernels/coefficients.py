"""The coefficients of a chunk of steps: a table, one row of which is copied to where kernels read it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.kernels.deferred import Deferred

Layout = tuple[str, ...]
"""Per coefficient its dtype if it has one value per lane, "" if all lanes share it."""

BLOCK = 64
"""Lanes that a loop may take together; so many numbers may be read behind a column's last one."""


def cast(column: Array, dtype: Any) -> Array:
    """Return a copy of a column in a dtype, with room for a block behind it; conditions stay conditions."""
    room = np.zeros(column.size + BLOCK, bool if column.dtype == bool else dtype)
    copied: Array = room[: column.size].reshape(column.shape)
    copied[...] = column
    return copied


class HostCoefficients:
    """The coefficients of one layout, in NumPy arrays at fixed memory addresses."""

    def __init__(self, layout: Layout, lanes: int, dtype: str) -> None:
        self._lanes = lanes
        self._shared = np.zeros(len(layout), dtype)
        self.arrays: list[Array] = [
            np.empty((lanes, 1), kind) if kind else self._shared[index : index + 1].reshape(())
            for index, kind in enumerate(layout)
        ]
        """The values of the last fetched row: 0-d arrays for shared coefficients, `[B, 1]` for per-lane ones."""
        self._per_lane = [index for index, kind in enumerate(layout) if kind]
        self._shared_rows = self._shared[None]
        self._lane_rows: list[tuple[Array, Callable[[int], Array]]] = []

    def load(self, shared: Array, columns: Sequence[Any]) -> None:
        """Set the table of the coming steps: shared values `[T, K]`, and a column `[T, B]` per coefficient.

        A column of length 1 in its last axis belongs to a shared coefficient, whose values are in ``shared``; others
        may be deferred.
        """
        self._shared_rows = shared
        self._lane_rows = [
            (self.arrays[index], self._rows_of(columns[index], len(shared))) for index in self._per_lane
        ]

    def _rows_of(self, column: Any, steps: int) -> Callable[[int], Array]:
        if isinstance(column, Deferred):
            return lambda row: column.row(row).T
        return np.broadcast_to(column, (steps, self._lanes))[:, :, None].__getitem__

    def fetch(self, row: int) -> None:
        """Copy a row of the table to `arrays`."""
        self._shared[...] = self._shared_rows[row]
        for buffer, rows in self._lane_rows:
            buffer[...] = rows(row)

    def set(self, index: int, value: Array) -> None:
        """Set a coefficient of the fetched row to `[1, B or 1]`."""
        array = self.arrays[index]
        array[...] = np.broadcast_to(value.T, array.shape) if array.ndim else value[0, 0]
