"""The coefficients of a chunk of steps: a table, of which one row at a time lies where a kernel reads it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from optrun.arrays import Array

Layout = tuple[str, ...]
"""Of each coefficient the dtype where there is one for each lane, and "" where all lanes share it."""


def layout_of(table: Sequence[Array]) -> Layout:
    """Return the layout of columns `[T, B]`, or `[T, 1]` where all lanes share a coefficient."""
    return tuple(column.dtype.name if column.shape[1] > 1 else "" for column in table)


class Coefficients(Protocol):
    """The coefficients of one layout, in memory that stays where it is."""

    @property
    def arrays(self) -> Sequence[Array]:
        """The values of the row that was fetched last: 0-d arrays, and `[B, 1]` for each lane."""
        ...

    def load(self, shared: Array, columns: Sequence[Array]) -> None:
        """Take the table of the coming steps: shared values `[T, K]`, and for each coefficient a column `[T, B]`.

        A column `[T, 1]` or `[1, 1]` is that of a shared coefficient, whose values are among the shared ones.
        """

    def fetch(self, row: int) -> None:
        """Let the values be those of a row of the table."""


class HostCoefficients:
    """Coefficients for arrays of NumPy."""

    def __init__(self, layout: Layout, lanes: int, dtype: str) -> None:
        self._lanes = lanes
        self._shared = np.zeros(len(layout), dtype)
        self.arrays: list[Array] = [
            np.empty((lanes, 1), kind) if kind else self._shared[index : index + 1].reshape(())
            for index, kind in enumerate(layout)
        ]
        self._per_lane = [index for index, kind in enumerate(layout) if kind]
        self._shared_rows = self._shared[None]
        self._lane_rows: list[tuple[Array, Array]] = []

    def load(self, shared: Array, columns: Sequence[Array]) -> None:
        self._shared_rows = shared
        self._lane_rows = [
            (
                self.arrays[index],
                np.broadcast_to(columns[index], (len(shared), self._lanes))[:, :, None],
            )
            for index in self._per_lane
        ]

    def fetch(self, row: int) -> None:
        self._shared[...] = self._shared_rows[row]
        for buffer, rows in self._lane_rows:
            buffer[...] = rows[row]
