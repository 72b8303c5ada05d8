"""Running averages of the parameters, torch's AveragedModel for lanes.

An average is a class with one static method, whose signature is the schema::

    class EMA(Average):
        @staticmethod
        def update(a, p, n, /, *, decay: Fraction = 0.999):
            a[:] = where(n == 1, p, lerp(a, p, 1 - decay))

The arguments before `/` are the average, the parameters and the number of this update (from 1); after `*` come the
options, whose floats may differ between lanes. The average is updated after the steps k = start, start + every,
start + 2 · every, …, except for k = 0.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar

import numpy as np

from optrun.arrays import Array, Parameters, chunk_length
from optrun.errors import StateError
from optrun.hyperparameters import completed
from optrun.kernels import engine_named
from optrun.kernels.program import Program
from optrun.kernels.stepper import Engine, Stepper
from optrun.kernels.trace import trace
from optrun.ops import lerp, where
from optrun.optim.rule import flags_of
from optrun.optim.state import check_numeric
from optrun.plugin_code import guarded
from optrun.registry import Fraction, NonNegativeSteps, Option, Steps, averages, check_annotated, options_of

_OPTIONS = (
    Option("start", Annotated[NonNegativeSteps, "steps before the first parameters that count"], 0),
    Option("every", Annotated[Steps, "steps from one update to the next"], 1),
)


class Average:
    """Averages the parameters of all lanes, every ``every`` steps.

    Raises ConfigError for unknown or invalid options.
    """

    update: ClassVar[Callable[..., None]]
    """Static method of every rule: updates the average in place, given the parameters."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__name__.startswith("_"):
            return
        if not hasattr(cls, "update"):
            averages.add_lacking(cls, "update(a, p, n, /, *, …)")
        else:
            first = list(inspect.signature(cls.update).parameters.values())[:3]
            if [each.kind for each in first] != [inspect.Parameter.POSITIONAL_ONLY] * 3:
                raise TypeError(f"{cls.__name__}.update takes a, p, n before a slash: update(a, p, n, /, …)")
            check_annotated(f"{cls.__name__}.update", cls.update)
            averages.add(cls, cls.__name__.lower())

    @classmethod
    def options(cls) -> dict[str, Option]:
        return {each.name: each for each in _OPTIONS} | options_of(cls.update)

    @classmethod
    @cache
    def program(cls, flags: tuple[tuple[str, Any], ...]) -> Program:
        """Return the rule traced for these values of the non-float options."""
        floats = tuple(name for name, option in options_of(cls.update).items() if option.is_float)
        with guarded(cls.__name__, cls):
            return trace(cls.update, (), floats, dict(flags))

    def __init__(self, params: Parameters, *, engine: Engine | None = None, **options: Any) -> None:
        self.params = params
        self._options, self._engine = options, engine or engine_named("auto", params.arrays.backend)
        self.steps = 0
        """Number of steps so far, not all of which update the average."""
        given = completed(self.options(), options, type(self).__name__, params.lanes)
        self.start: int = given.pop("start")
        self.every: int = given.pop("every")
        self._data = params.zeros()
        self._views = params.split(self._data)
        floats = [name for name in given if self.options()[name].is_float]
        others = {name: value for name, value in given.items() if name not in floats}
        flags = flags_of(type(self).__name__, others)
        self._values = {name: np.reshape(given[name], (1, -1)) for name in floats}
        self._stepper = Stepper(
            self.program(flags),
            self._engine,
            {"p": self._data, "g": params.data}.__getitem__,
            [slice(0, params.size)],
        )
        self._prepared = range(0)

    def __getstate__(self) -> dict[str, Any]:
        state = self.state_dict()
        state["values"] = {name: self.params.arrays.to_host(view) for name, view in state["values"].items()}
        made_of = {"params": self.params, "engine": type(self._engine), "options": self._options}
        return {**made_of, "state": state}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        Average.__init__(self, state["params"], engine=state["engine"](), **state["options"])
        self.load_state_dict(state["state"])

    @property
    def updates(self) -> int:
        """The number of updates so far."""
        since = self.steps - self.start
        return 0 if since < 0 else since // self.every + (self.start > 0)

    def step(self) -> None:
        """Count a step of the optimizer, and update the average if it is due."""
        self.steps += 1
        since = self.steps - self.start
        if since < 0 or since % self.every:
            return
        n = self.updates
        if n not in self._prepared:
            self._prepared = range(n, n + chunk_length(self.params.lanes))
            self._stepper.prepare(n, len(self._prepared), self._values, frozenset())
        self._stepper.run(n - self._prepared.start)

    def averaged(self) -> Mapping[str, Array] | None:
        """Return the average, views `[B, *shape]` by name; None before the first update."""
        return self._views if self.updates else None

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the average, and the number of steps."""
        values = {name: view.copy() for name, view in self._views.items()}
        return {"average": type(self).__name__, "steps": self.steps, "values": values}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; StateError, without changes, if it does not fit."""
        own = type(self).__name__
        if not isinstance(state_dict, Mapping) or state_dict.get("average") != own:
            raise StateError(f"{own}: this is not a state of {own}")
        steps, values = state_dict.get("steps"), state_dict.get("values")
        if type(steps) is not int or steps < 0:
            raise StateError(f"{own}: steps is {steps!r}, not a count")
        if not isinstance(values, Mapping) or values.keys() != self._views.keys():
            raise StateError(f"{own}: the average has other names than the parameters")
        for name, view in self._views.items():
            check_numeric(values[name], view.shape, f"{own}: the average of {name}")
        self.steps = steps
        for name, value in values.items():
            self._views[name][:] = self.params.arrays.array(value)


class SWA(Average):
    """Stochastic weight averaging, Izmailov et al. (2018), arXiv:1803.05407: the mean of the parameters.

        a ← a + (θ - a) / n          a₁ = θ

    Update n is after step start + (n - 1) · every; with start = 0 after step n · every.
    """

    @staticmethod
    def update(a: Any, p: Any, n: Any, /) -> None:
        a[:] = where(n == 1, p, a + (p - a) / n)


class EMA(Average):
    """Exponential moving average of the parameters, Tarvainen & Valpola (2017), arXiv:1703.01780.

        a ← β a + (1 - β) θ          a₁ = θ

    β decay; with β = 0 the average is θ, with β = 1 the first θ. Update n is after step start + (n - 1) · every; with
    start = 0 after step n · every.
    """

    @staticmethod
    def update(a: Any, p: Any, n: Any, /, *, decay: Fraction = 0.999) -> None:
        a[:] = where(n == 1, p, lerp(a, p, 1 - decay))
