"""The recorder: rows of metrics, kept until they are committed."""

from collections.abc import Callable, Mapping

import numpy as np

from optrun.arrays import Array, lane_sum
from optrun.config import METRICS
from optrun.training.pack import Pack

BYTES = 1 << 26
"""About how much is held before a commit is due."""


class Recorder:
    """Keeps a row of every metric for each recorded step; all lanes in one row `[B]`."""

    def __init__(self, pack: Pack) -> None:
        record = pack.configs[0].record
        self.every = record.every
        self._pack = pack
        self._metrics: dict[str, Callable[[], Array | float]] = {
            **{
                _column("lr", index): _value(group, "lr")
                for index, group in enumerate(pack.optimizer.param_groups)
            },
            **{name: self._norm_of(name) for name in record.metrics if name in ("grad_norm", "param_norm")},
            **{
                _column(name, index): _value(group, name)
                for name in record.metrics
                if name not in METRICS
                for index, group in enumerate(pack.optimizer.param_groups)
            },
        }
        self._records_update = "update_norm" in record.metrics
        names = ["loss", *self._metrics, *(["update_norm"] if self._records_update else [])]
        rows = max(16, BYTES // (8 * pack.lanes * len(names)))
        self._steps = np.empty(rows, np.int64)
        self._columns = {name: np.empty((rows, pack.lanes)) for name in names}
        self._used = 0
        self._ended: dict[int, int] = {}
        self._awaits_update = False
        if self._records_update:
            self._before = pack.params.zeros()
            pack.optimizer.register_step_pre_hook(self._remember)
            pack.optimizer.register_step_post_hook(self._record_update)

    @property
    def full(self) -> bool:
        """Whether there is no room for another row."""
        return self._used == len(self._steps)

    def record(self, t: int, loss: Array) -> None:
        """Add the row of step t, whose loss is on the host."""
        row = self._used
        self._steps[row] = t
        self._columns["loss"][row] = loss
        for name, metric in self._metrics.items():
            self._columns[name][row] = metric()
        if self._records_update:
            # The norm is known after the update; it stays NaN where the run ends before.
            self._columns["update_norm"][row] = np.nan
            self._awaits_update = True
        self._used += 1

    def end(self, lane: int) -> None:
        """Let a lane's curves end with the last row."""
        self._ended[lane] = self._used

    def take(self) -> dict[int, Mapping[str, Array]]:
        """Return the segment of each lane since the last time, and forget it."""
        steps, columns = self._steps, self._columns
        segments = {lane: self.rows(lane) for lane in range(self._pack.lanes) if self._rows_of(lane)}
        # The segments are views: the next rows go elsewhere.
        self._steps, self._columns = (
            np.empty_like(steps),
            {name: np.empty_like(of) for name, of in columns.items()},
        )
        self._used = 0
        self._ended = dict.fromkeys(self._ended, 0)
        return segments

    def rows(self, lane: int) -> Mapping[str, Array]:
        """Return a lane's rows since the last `take`, as views."""
        used = self._rows_of(lane)
        return {
            "step": self._steps[:used],
            **{name: values[:used, lane] for name, values in self._columns.items()},
        }

    def _rows_of(self, lane: int) -> int:
        return self._ended.get(lane, self._used)

    def _norm_of(self, name: str) -> Callable[[], Array]:
        params = self._pack.params
        source = params.grad if name == "grad_norm" else params.data
        return lambda: self._norm(source)

    def _norm(self, values: Array) -> Array:
        wide = values.astype(np.float64)
        return self._pack.arrays.to_host(np.sqrt(lane_sum(wide * wide)))

    def _remember(self, *_: object) -> None:
        if self._awaits_update:
            self._before[:] = self._pack.params.data

    def _record_update(self, *_: object) -> None:
        if self._awaits_update:
            self._before -= self._pack.params.data
            row = self._columns["update_norm"][self._used - 1]
            row[:] = self._norm(self._before)
            row[list(self._ended)] = np.nan
            self._awaits_update = False


def _column(name: str, index: int) -> str:
    return f"{name}.{index}" if index else name


def _value(group: Mapping[str, Array], name: str) -> Callable[[], Array]:
    return lambda: group[name]
