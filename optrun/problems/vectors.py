"""Functions of one vector: initial points, and gradient noise."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Len

from optrun.arrays import Array, Arrays, Parameters, stream
from optrun.errors import ConfigError, counted
from optrun.kernels.formula import Formula
from optrun.kernels.stepper import Engine
from optrun.kernels.symbols import Symbol
from optrun.kernels.trajectory import Elements
from optrun.plugin_code import guarded
from optrun.problems.disturbances import Disturbances
from optrun.problems.noise import Noise
from optrun.problems.problem import Batches, Problem
from optrun.registry import Added, PerLane, Unless

Start = Annotated[
    list[float] | None, PerLane(), "where every run starts; by default the function's usual start"
]


_Range = Annotated[list[float], Len(2, 2)]
Box = dict[Literal["uniform"], list[_Range]] | None
Init = Annotated[
    Box,
    Added(),
    Unless("start"),
    "a start for each seed, drawn from {uniform: [[low, high], …]}, a range for each coordinate or one for all",
]

MOST_DIMENSIONS = 10_000_000
"""Largest dimension of a test function: arrays of 80 MB in float64."""


class VectorProblem(Problem, ABC):
    """A function of one vector "x" ``[dim]``, given by a formula.

    Raises ConfigError unless ``start`` has ``dim`` numbers.
    """

    lane_fast = True
    dim: int = 2

    def __init__(self, arrays: Arrays, *, start: Start = None, init: Init = None, noise: Noise = 0.0) -> None:
        super().__init__(arrays)
        self.noise: Any = noise
        self.start = self._start(start)
        """``[dim]``, or one per lane ``[B, dim]``."""
        self._bound: _Bound | None = None
        self._evaluated: _Bound | None = None
        self._disturbances: Disturbances | None = None
        if self.start.shape != (self.dim,):
            raise ConfigError(
                f"start: {counted(self.dim, 'number')} expected, one per dimension, not {len(self.start)}",
                field="start",
            )
        self._box = None if init is None else self._box_of(init["uniform"])

    def for_lanes(self, numbers: Mapping[str, Any]) -> Self:
        _ = self._formula  # traced once, for all lanes
        made = super().for_lanes(numbers)
        if "start" in numbers:
            made.start = self._start(numbers["start"])
        made._bound = made._evaluated = made._disturbances = None
        return made

    def _start(self, given: Sequence[Any] | None) -> Array:
        return self.usual_start(self.dim) if given is None else vectors_of(given)

    @classmethod
    def usual_start(cls, dim: int) -> Array:
        """Return where runs start that have no start of their own, ``[dim]``: at the origin."""
        return np.zeros(dim)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"x": (self.dim,)}

    def initial(self, seed: int) -> dict[str, Array]:
        if self._box is None:
            return {"x": self.start}
        low, high = self._box
        return {"x": low + (high - low) * stream(seed, "initialisation").random(self.dim)}

    def _box_of(self, ranges: Sequence[Sequence[float]]) -> Array:
        """Return the least and the largest start, ``[2, dim]``."""
        if len(ranges) not in (1, self.dim):
            said = (
                f"{counted(self.dim, 'range')} expected, one per dimension, or one for all, not {len(ranges)}"
            )
            raise ConfigError(f"init: {said}", field="init")
        for low, high in ranges:
            if not low < high:
                said = f"a range goes from a number to a larger one, not from {low:g} to {high:g}"
                raise ConfigError(f"init: {said}", field="init")
        return np.broadcast_to(np.array(ranges, np.float64), (self.dim, 2)).T

    def begin(self, params: Parameters, seeds: Iterable[int]) -> None:
        if type(self).initial is VectorProblem.initial and self._box is None:
            params["x"][:] = self.arrays.array(self.start)
            return
        alone = copy(self)
        starts = repeat(self.start) if self.start.ndim == 1 else self.start
        for lane, (seed, start) in enumerate(zip(seeds, starts, strict=False)):
            alone.start = start
            params.set_lane(lane, alone.initial(seed))

    def batches(self, seeds: Sequence[int]) -> Batches:
        return self._disturbed().batches(seeds) if self._is_noisy else Batches()

    @property
    def _is_noisy(self) -> bool:
        return isinstance(self.noise, (dict, list)) or bool(np.any(self.noise))

    @property
    def elements(self) -> Elements | None:
        is_formula = (
            type(self).loss_and_grad is VectorProblem.loss_and_grad
            and type(self)._bind is VectorProblem._bind
        )
        return self._elements() if is_formula else None

    def _elements(self) -> Elements | None:
        return None if self._is_noisy else self._formula.elements(self._numbers())

    def _disturbed(self) -> Disturbances:
        if self._disturbances is None:
            plain = {"kind": "gaussian", "scale": self.noise}
            given = self.noise if isinstance(self.noise, (dict, list)) else plain
            self._disturbances = Disturbances(self.arrays, given, self.dim)
        return self._disturbances

    def state(self) -> Mapping[str, Array]:
        return self._disturbances.kept if self._disturbances is not None else {}

    def load_state(self, arrays: Mapping[str, Array]) -> None:
        if arrays or self._disturbances is not None:
            self._disturbed().kept = {name: self.arrays.array(values) for name, values in arrays.items()}

    def use(self, engine: Engine) -> None:
        super().use(engine)
        self._bound = None

    def loss_and_grad(self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any) -> Array:
        return self._at(params["x"], grads["x"], batch)

    def evaluate(self, params: Mapping[str, Array]) -> dict[str, Array]:
        return self._value_at(params["x"])

    def _at(self, x: Array, grad: Array, batch: Any) -> Array:
        """Return the values at x, and write the gradients, both ``[B, dim]``."""
        bound = self._bound
        if bound is None or bound.x is not x or bound.grad is not grad:
            bound = self._bound = _Bound(x, grad, self._bind(x, grad))
        loss = bound.run()
        if batch is not None:
            self._disturbed().apply(loss, grad, batch)
        return loss

    def _value_at(self, x: Array) -> dict[str, Array]:
        if self._evaluated is None or self._evaluated.x is not x:
            self._evaluated = _Bound(x, None, self._bind_value(x))
        return {"loss": self.arrays.to_host(self._evaluated.run().copy())}

    def hessian_times(self, params: Mapping[str, Array], vectors: Array, batch: Any = None) -> Array:
        product = self._formula.hessian_times(params["x"], self.arrays.array(vectors), self._numbers())
        return self.arrays.to_host(product).astype(np.float64)

    def _bind(self, x: Array, grad: Array) -> Callable[[], Array]:
        """Return the function that writes the gradients at x, both ``[B, dim]``, and returns the values ``[B]``."""
        return self._formula.bind(x, grad, self.loops, self._numbers())

    def _bind_value(self, x: Array) -> Callable[[], Array]:
        """Return the function that returns the values ``[B]`` at x ``[B, dim]``, with the bits of `_bind`."""
        return self._formula.bind_value(x, self._numbers())

    @cached_property
    def _formula(self) -> Formula:
        with guarded(type(self).__name__, type(self)):
            return Formula(self._value, self.dim, self.arrays)

    def _numbers(self) -> Mapping[str, Array]:
        """Return the numbers of the formula that may differ from lane to lane, as `Formula` takes them."""
        return {}

    @abstractmethod
    def _value(self, x: Symbol) -> Any:
        """Return the value at x, in the words of `optrun.ops`."""


def coordinate_names(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the name of each number of parameters of these shapes: x, or x[0], x[1], … of a vector."""
    return [
        each
        for name, shape in shapes.items()
        for each in ([f"{name}[{i}]" for i in range(int(np.prod(shape)))] if shape else [name])
    ]


def vectors_of(numbers: Sequence[Any]) -> Array:
    """Return numbers, some of them one per lane ``[B]``, as a vector ``[n]``, or one per lane ``[B, n]``."""
    lanes = {np.size(each) for each in numbers if np.ndim(each)}
    vectors: Array = np.empty((*lanes, len(numbers)))
    for index, each in enumerate(numbers):
        vectors[..., index] = each
    return vectors


@dataclass(frozen=True)
class _Bound:
    """A function bound to arrays."""

    x: Array
    grad: Array | None
    run: Callable[[], Array]
    """Returns the loss."""
