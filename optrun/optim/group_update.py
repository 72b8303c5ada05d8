"""The steps of one parameter group: its hyperparameters over time become tables of coefficients."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from optrun.arrays import Array, Parameters, steps_ahead
from optrun.kernels.stepper import Engine, Stepper
from optrun.optim.param_group import ParamGroup

if TYPE_CHECKING:
    from optrun.optim.optimizer import Optimizer

BufferOf = Callable[[str], Array]


class GroupUpdate:
    """The steps of one group: holds the coefficients of the coming steps while they stay true."""

    def __init__(
        self, rule: "type[Optimizer]", group: ParamGroup, engine: Engine, params: Parameters, buffer: BufferOf
    ) -> None:
        self.group = group
        self._rule = rule
        self._engine = engine
        self._buffer = buffer
        self._slices = _joined([params.slices[name] for name in group["params"]])
        self._chunk = steps_ahead(params.lanes)
        self._holds = False
        self._version = group.version
        self._expected: dict[str, Sequence[Any]] = {}
        self.t = 0
        self._row = self._rows = 0
        self.stepper = self._make_stepper()

    def restart(self, t: int, states: frozenset[str]) -> None:
        """Go on after t steps that have left state of these names."""
        self.t = t
        self.stepper.live = states | {"p"}

    def needed_states(self) -> frozenset[str]:
        """Return the names of the state that the hyperparameters ask for."""
        values = {name: _column([self.group[name]]) for name in self._floats()}
        return self.stepper.needs(values, frozenset(self.group.forecasts)) - {"p"}

    def __call__(self) -> None:
        self.t += 1
        self._row += 1
        if self._row >= self._rows or self._version != self.group.version or not self._as_expected():
            self._prepare()
        self.stepper.run(self._row)

    def _as_expected(self) -> bool:
        for name, expected in self._expected.items():
            value = self.group[name]
            if value is not expected[self._row]:
                # Somebody steps the scheduler at another pace than the optimizer, per epoch say.
                self._holds = value is expected[self._row - 1]
                return False
        return True

    def _prepare(self) -> None:
        if self._version != self.group.version:
            self._rule.validate_options(self.group)
            if self._flags() != self._traced_flags:
                self.stepper = self._make_stepper()
        self._version = self.group.version
        self._expected = {name: self._forecast(*forecast) for name, forecast in self.group.forecasts.items()}
        self._row, self._rows = 0, min([self._chunk, *map(len, self._expected.values())])
        values = {
            name: _column(self._expected.get(name, [self.group[name]])[: self._rows])
            for name in self._floats()
        }
        self.stepper.prepare(self.t, self._rows, values, frozenset(self._expected))

    def _forecast(self, values: Sequence[Any], index: int) -> Sequence[Any]:
        return [values[index]] * self._chunk if self._holds else values[index : index + self._chunk]

    def _floats(self) -> list[str]:
        return [name for name, option in self._rule.options().items() if option.is_float]

    def _flags(self) -> tuple[tuple[str, Any], ...]:
        options = self._rule.options()
        return tuple((name, self.group[name]) for name, option in options.items() if not option.is_float)

    def _make_stepper(self) -> Stepper:
        self._traced_flags = self._flags()
        return Stepper(self._rule.program(self._traced_flags), self._engine, self._buffer, self._slices)


def _column(values: Sequence[Any]) -> Array:
    """Return the values of T steps, each a float or `[B]`, as `[T, 1]` or `[T, B]`."""
    rows: Array = np.array(values, np.float64).reshape(len(values), -1)
    return rows[:, :1] if (rows == rows[:, :1]).all() else rows


def _joined(slices: Sequence[slice]) -> list[slice]:
    """Return the slices with neighbours joined: one, where the layout puts a group side by side."""
    joined: list[slice] = []
    for part in sorted(slices, key=lambda part: part.start):
        if joined and joined[-1].stop == part.start:
            joined[-1] = slice(joined[-1].start, part.stop)
        else:
            joined.append(part)
    return joined
