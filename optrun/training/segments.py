"""Rows of many lanes as columns, of which a lane's rows are made when they are asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.kernels.deferred import Deferred
from optrun.store.curve_columns import CurveColumns
from optrun.training.of_runs import OfRuns

TOGETHER = 64
"""Lanes whose rows are made at once: they are beside each other in memory."""

Parts = Mapping[str, Sequence[tuple[slice, Deferred]]]
"""Of some columns the rows whose values are deferred."""


class Segments(OfRuns[Mapping[str, Array]]):
    """The rows of runs since the last commit: of each its columns ``[n]`` by name, ``step`` among them.

    ``columns`` are ``[n, B]``, of which each lane has as many of the first rows as ``counts`` ``[B]`` tells.
    """

    def __init__(
        self,
        runs: Sequence[int] | Array,
        steps: Array,
        columns: Mapping[str, Array],
        deferred: Parts,
        counts: Array,
    ) -> None:
        self._lanes = np.flatnonzero(counts)
        super().__init__(np.asarray(runs, np.int64)[self._lanes])
        self._steps, self._columns, self._deferred, self._counts = steps, columns, deferred, counts
        self._made: tuple[int, Mapping[str, Array]] = -1, {}

    def at(self, place: int) -> Mapping[str, Array]:
        lane = int(self._lanes[place])
        number, place = divmod(lane, TOGETHER)
        if self._made[0] != number:
            self._made = number, self._of_lanes(slice(number * TOGETHER, (number + 1) * TOGETHER))
        own = int(self._counts[lane])
        columns = {name: values[place, :own] for name, values in self._made[1].items()}
        return {"step": self._steps[:own], **columns}

    def joined(self) -> CurveColumns:
        """Return the rows of the runs, one run after another."""
        counts, of_lane = self._counts[self._lanes], self._of_lanes(slice(0, len(self._counts)))
        is_own = np.arange(len(self._steps)) < counts[:, None]
        whole = {"step": np.broadcast_to(self._steps, is_own.shape)}
        for name, values in of_lane.items():
            whole[name] = values if len(self._lanes) == len(values) else values[self._lanes]
        if is_own.all():
            return CurveColumns(counts, {name: values.reshape(-1) for name, values in whole.items()})
        return CurveColumns(counts, {name: values[is_own] for name, values in whole.items()})

    def _of_lanes(self, lanes: slice) -> dict[str, Array]:
        """Return the columns of some lanes ``[k, n]``."""
        made = {}
        for name, column in self._columns.items():
            values = column[:, lanes].T
            if column.strides[0] or name in self._deferred:  # otherwise it is one row
                values = np.array(values, np.float64, order="C")
            for rows, part in self._deferred.get(name, ()):
                values[:, rows] = part.of_lanes_in(lanes).T
            made[name] = values
        return made


def lane_of(column: Array, deferred: Sequence[tuple[slice, Deferred]], lane: int) -> Any:
    """Return a lane's values ``[n]`` of a column ``[n, B]``."""
    if not column.strides[0] and not deferred:
        return column[:, lane]
    values: Array = column[:, lane].astype(np.float64)
    for rows, part in deferred:
        values[rows] = part.of_lanes_in(slice(lane, lane + 1))[:, 0]
    return values
