"""Rows of many lanes as columns, of which a lane's rows are made when they are asked for."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.kernels.deferred import Deferred
from optrun.store.curve_columns import CurveColumns

TOGETHER = 64
"""Lanes whose rows are made at once: they are beside each other in memory."""

Parts = Mapping[str, Sequence[tuple[slice, Deferred]]]
"""Of some columns the rows whose values are deferred."""


class Segments(Mapping[int, Mapping[str, Array]]):
    """The rows of runs since the last commit: of each its columns ``[n]`` by name, ``step`` among them.

    ``columns`` are ``[n, B]``, of which lanes that have ended use the first rows only.
    """

    def __init__(
        self,
        runs: Sequence[int],
        steps: Array,
        columns: Mapping[str, Array],
        deferred: Parts,
        ended: Mapping[int, int],
    ) -> None:
        self._steps, self._columns, self._deferred = steps, columns, deferred
        rows = len(steps)
        self._lanes = {run: lane for lane, run in enumerate(runs) if ended.get(lane, rows)}
        self._ended = ended
        self._made: tuple[int, Mapping[str, Array]] = -1, {}

    def __getitem__(self, run: int) -> Mapping[str, Array]:
        lane = self._lanes[run]
        number, place = divmod(lane, TOGETHER)
        if self._made[0] != number:
            self._made = number, self._of_lanes(slice(number * TOGETHER, (number + 1) * TOGETHER))
        own = self._ended.get(lane, len(self._steps))
        columns = {name: values[place, :own] for name, values in self._made[1].items()}
        return {"step": self._steps[:own], **columns}

    def __contains__(self, run: object) -> bool:
        return run in self._lanes

    def __iter__(self) -> Iterator[int]:
        return iter(self._lanes)

    def __len__(self) -> int:
        return len(self._lanes)

    @staticmethod
    def joined(parts: "Sequence[Segments]", size: int) -> CurveColumns:
        """Return the rows of the runs 0 … size - 1, of which each part has the next ones of some runs."""
        counts = np.zeros(size, np.int64)
        for each in parts:
            counts[each._runs] += each._rows
        placed, total = np.cumsum(counts) - counts, int(counts.sum())
        columns: dict[str, Array] = {}
        for each in parts:
            lanes = np.fromiter(each._lanes.values(), np.int64, len(each._lanes))
            rows = np.arange(len(each._steps))
            is_own = rows < each._rows[:, None]
            places = (placed[each._runs][:, None] + rows)[is_own]
            all_lanes = slice(0, max((of.shape[1] for of in each._columns.values()), default=0))
            of_lane = {name: values[lanes] for name, values in each._of_lanes(all_lanes).items()}
            steps = np.broadcast_to(each._steps, is_own.shape)
            for name, values in {"step": steps, **of_lane}.items():
                if name not in columns:
                    columns[name] = np.empty(total, np.int64 if name == "step" else np.float64)
                columns[name][places] = values[is_own]
            placed[each._runs] += each._rows
        return CurveColumns(counts, columns)

    @cached_property
    def _runs(self) -> Array:
        """The runs that have rows."""
        return np.fromiter(self._lanes, np.int64, len(self._lanes))

    @cached_property
    def _rows(self) -> Array:
        """How many rows these have."""
        rows = len(self._steps)
        return np.array([self._ended.get(lane, rows) for lane in self._lanes.values()], np.int64)

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
