"""The recorder: a buffer of metrics, one row per recorded step."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from optrun.arrays import Array
from optrun.kernels.deferred import Deferred, Forecast
from optrun.optim.metrics import CurveMetric
from optrun.registry import metrics
from optrun.training.pack import Pack
from optrun.training.segments import Segments, lane_of

BYTES = 1 << 26
"""Approximate size of the buffers; when they are full, a commit is due."""

NEVER = int(np.iinfo(np.int64).max)


class Recorder:
    """Keeps a row of metrics `[B]` for each recorded step."""

    def __init__(self, pack: Pack) -> None:
        record = pack.configs[0].record
        self.every = record.every or NEVER
        """The number of steps from one row to the next."""
        self._pack = pack
        measured: dict[str, type[CurveMetric]] = {name: metrics.find(name) for name in record.measured}
        groups = list(enumerate(pack.optimizer.param_groups))
        others = [name for name in record.hyperparameters if name != "lr"]
        self._hyperparameters = {_column("lr", index): (group, "lr") for index, group in groups} | {
            _column(name, index): (group, name)
            for name in others
            for index, group in groups
            if name in group.options
        }
        self._metrics: dict[str, Callable[[], Array | float]] = {
            **{name: _value(*of) for name, of in self._hyperparameters.items() if of[1] == "lr"},
            **{name: self._measured(cls) for name, cls in measured.items() if "u" not in cls.needs},
            **{name: _value(*of) for name, of in self._hyperparameters.items() if of[1] != "lr"},
        }
        self._of_update = {name: cls for name, cls in measured.items() if "u" in cls.needs}
        """The metrics that need the update."""
        names = ["loss", *self._metrics, *self._of_update]
        # On a device losses come with other values, in the dtype of these.
        self._loss_dtype = np.dtype(np.float64 if pack.arrays.is_on_device else pack.arrays.dtype)
        rows = max(16, BYTES // (8 * pack.lanes * (len(names) - unscheduled(pack, record.hyperparameters))))
        self._steps = np.empty(rows, np.int64)
        self._columns = {
            name: np.empty((rows, pack.lanes), self._loss_dtype if name == "loss" else np.float64)
            for name in names
        }
        self._deferred: dict[str, list[tuple[slice, Deferred]]] = {}
        """Of some columns the rows whose values are deferred."""
        self._constants: dict[str, Array | float] = {}
        """Columns that have been constant so far, as broadcast views."""
        self._used = 0
        self._is_on_device = pack.arrays.is_on_device
        self._on_device: list[tuple[str, int, Array]] = []
        """Values `[B]` still on the device, with their column and row."""
        self._ended = np.full(pack.lanes, NEVER)
        """The number of rows of each ended lane."""
        self._last = np.full(pack.lanes, NEVER)
        """The last step of each ended lane; a lane makes no update at its last step."""
        self._awaits_update = False
        if self._of_update:
            needed = {"u"}.union(*(cls.needs for cls in self._of_update.values()))
            self._before = {name: pack.params.zeros() for name in sorted(needed)}
            """The update ``u``, and copies of the parameters and, for closures, of the gradient before it."""
            self._before.setdefault("p", self._before["u"])
            pack.optimizer.register_step_pre_hook(self._save_params)
            pack.optimizer.register_step_post_hook(self._record_update)

    @property
    def full(self) -> bool:
        """Whether there is no room for another row."""
        return not self.room

    @property
    def room(self) -> int:
        """The number of rows for which there is room."""
        return len(self._steps) - self._used

    def record(self, t: int, loss: Array) -> None:
        """Add the row of step t. Device values are copied to the host lazily, when the rows are read."""
        row = self._used
        self._steps[row] = t
        put = self._put
        put("loss", row, loss)
        for name, metric in self._metrics.items():
            put(name, row, metric())
        for name in self._of_update:
            # Known only after the update; it stays NaN if the run ends before it.
            self._columns[name][row] = np.nan
            self._awaits_update = True
        self._used += 1

    @property
    def coming(self) -> Array:
        """Where the losses of the next rows are to be written, ``[room, B]``."""
        return self._columns["loss"][self._used :]

    def record_many(self, steps: range, ahead: int) -> None:
        """Add the rows of several steps, the first of which is so many steps ahead; `coming` has their losses."""
        rows = slice(self._used, self._used + len(steps))
        if not steps:
            return
        self._steps[rows] = steps
        for name, (group, hyperparameter) in self._hyperparameters.items():
            if hyperparameter in group.forecasts:
                forecast, now = group.forecasts[hyperparameter]
                first = now + ahead
                if isinstance(forecast, Forecast) and len(steps) > 1:
                    part = forecast.every(slice(first, first + len(steps) * steps.step, steps.step))
                    self._unshared(name)
                    self._deferred.setdefault(name, []).append((rows, part))
                    continue
                values = np.array(list(forecast[first : first + len(steps) * steps.step : steps.step]))
                self._unshared(name)[rows] = values.reshape(len(steps), -1)
            else:
                self._put(name, self._used, group[hyperparameter])
                if name not in self._constants:
                    self._columns[name][rows] = group[hyperparameter]
        self._used += len(steps)

    def end(self, lanes: Sequence[int] | Array, t: int) -> None:
        """End the curves of lanes with step t."""
        rows = int(np.searchsorted(self._steps[: self._used], t, "right"))
        self._last[lanes], self._ended[lanes] = t, rows

    def take(self, runs: Sequence[int] | Array | None = None) -> Segments:
        """Return and clear the rows since the last call, by the runs of the lanes, or by these."""
        self._fetch()
        steps, columns, used = self._steps, self._columns, self._used
        taken = {name: values[:used] for name, values in columns.items()}
        # Few rows are copied; of many the buffers are given away, and later rows need new ones.
        is_small = 4 * used < len(steps)
        if is_small:
            taken = {name: of.copy() if of.strides[0] else of for name, of in taken.items()}
            steps = steps[:used].copy()
        runs = range(self._pack.lanes) if runs is None else runs
        segments = Segments(runs, steps[:used], taken, self._deferred, np.minimum(self._ended, used))
        if not is_small:
            self._steps = np.empty_like(steps)
        self._columns = {
            name: of if is_small and name not in self._constants else np.empty(of.shape, of.dtype)
            for name, of in columns.items()
        }
        self._used = 0
        self._constants.clear()
        self._deferred = {}
        self._ended[self._ended < NEVER] = 0
        return segments

    def rows(self, lane: int) -> Mapping[str, Array]:
        """Return a lane's rows since the last `take`."""
        self._fetch()
        used = self._rows_of(lane)
        return {
            "step": self._steps[:used],
            **{
                name: lane_of(values[:used], self._parts(name, used), lane)
                for name, values in self._columns.items()
            },
        }

    def _parts(self, name: str, used: int) -> list[tuple[slice, Deferred]]:
        """Return the deferred values of a column's first rows."""
        found = []
        for rows, part in self._deferred.get(name, ()):
            if count := max(0, min(rows.stop, used) - rows.start):
                found.append((slice(rows.start, rows.start + count), part.rows(slice(count))))
        return found

    def _rows_of(self, lane: int) -> int:
        return min(int(self._ended[lane]), self._used)

    def _measured(self, cls: type[CurveMetric]) -> Callable[[], Array]:
        params = self._pack.params
        return partial(cls.of, {"p": params.data, "g": params.grad})

    def _save_params(self, *_: object) -> None:
        if self._awaits_update:
            self._before["p"][:] = self._pack.params.data
            if "g" in self._before:
                self._before["g"][:] = self._pack.params.grad

    def _record_update(self, *_: object) -> None:
        if self._awaits_update:
            before = self._before
            self._pack.arrays.xp.subtract(self._pack.params.data, before["p"], out=before["u"])
            for name, cls in self._of_update.items():
                self._put(name, self._used - 1, cls.of(before))
            if not self._is_on_device:
                self._mask_ended(self._used - 1)
            self._awaits_update = False

    def _put(self, name: str, row: int, values: Array | float) -> None:
        if self._is_on_device and not isinstance(values, (float, np.ndarray)):
            self._on_device.append((name, row, values.astype(np.float64)))
            return
        column = self._columns[name]
        if name in self._constants:
            if values is self._constants[name]:
                return
            column = self._unshared(name)
        elif row == 0 and name in self._hyperparameters and _is_constant(values):
            self._constants[name] = values
            self._columns[name] = np.broadcast_to(np.asarray(values, np.float64), column.shape)
            return
        column[row] = values

    def _unshared(self, name: str) -> Array:
        """Return a column whose rows may differ from now on."""
        column = self._columns[name]
        if name in self._constants:
            del self._constants[name]
            self._columns[name] = np.empty_like(column)
            self._columns[name][: self._used] = column[: self._used]
        return self._columns[name]

    def _fetch(self) -> None:
        """Copy all values on the device to the host, in one transfer."""
        if not self._on_device:
            return
        arrays = self._pack.arrays
        found = arrays.to_host(arrays.xp.stack([values for _, _, values in self._on_device]))
        for (name, row, _), values in zip(self._on_device, found, strict=True):
            self._columns[name][row] = values
            if name in self._of_update:
                self._mask_ended(row)
        self._on_device.clear()

    def _mask_ended(self, row: int) -> None:
        """Set the metrics of the update of ended lanes to NaN: a lane makes no update at its last step."""
        ended = self._last <= self._steps[row]
        for name in self._of_update:
            self._columns[name][row, ended] = np.nan


def _column(name: str, index: int) -> str:
    return f"{name}.{index}" if index else name


def unscheduled(pack: Pack, names: Sequence[str]) -> int:
    """Return the number of hyperparameter columns that need no memory because they are unscheduled, hence constant."""
    groups = pack.optimizer.param_groups
    return sum(name in group.options and name not in group.forecasts for group in groups for name in names)


def _is_constant(values: Array | float) -> bool:
    """Whether a hyperparameter is constant for the run, e.g. an unscheduled learning rate."""
    return isinstance(values, float) or (isinstance(values, np.ndarray) and not values.flags.writeable)


def _value(group: Mapping[str, Array], name: str) -> Callable[[], Array]:
    return lambda: group[name]
