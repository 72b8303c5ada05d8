"""Function, the base class of test functions: a formula, and what is known about it."""

from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from annotated_types import Ge, Le

from optrun.arrays import Array, Arrays
from optrun.kernels.symbols import Symbol, number_of_lane
from optrun.problems.vectors import MOST_DIMENSIONS, VectorProblem
from optrun.registry import Option, PerLane, check_annotated, options_of

Dim = Annotated[int, Ge(1), Le(MOST_DIMENSIONS)]
TwoOrMore = Annotated[int, Ge(2), Le(MOST_DIMENSIONS)]

_OF_FLOATS = (float, list[float], dict[str, float])


def _lacking(x: Any) -> Any:
    raise TypeError("a function has its formula in a static method f(x)")


class Function(VectorProblem, ABC):
    """A test function, given by its formula in the words of `optrun.ops`::

        class Sphere(Function):
            minimum, minimizers, start = 0.0, [[0.0]], [1.0]

            @staticmethod
            def f(x, /, *, dim: Dim = 2):
                return sum(x**2)

    `f` is called once, with a symbol for the vector x; its gradient is derived from the formula. After `*` come the
    options. Floats, and lists and mappings of them, are symbols too, since lanes may differ in them. A function in any
    number of dimensions has the option ``dim``; others have the class attribute, by default 2. Points are repeated
    until they have ``dim`` numbers. The minimum, the points and the domain may also be functions of the number of
    dimensions, ``lambda n: …``.
    """

    f: ClassVar[Callable[..., Any]] = staticmethod(_lacking)
    """Static method of every function: its value at a vector x."""
    start: Any = (1.0,)
    """Where every run starts, unless the config says otherwise."""
    minimum: Any = None
    """The minimum; None if unknown."""
    minimizers: Any = ()
    """All points where the minimum is; empty if unknown."""
    domain: Any = (-5.0, 5.0)
    """The usual range of every coordinate, or one for each; the minimizers are those within."""
    passes: float | None = None
    """Of a diagnostic: the largest loss at its end with which a run has passed. It then has the figure ``passed``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "f" in vars(cls):
            check_annotated(f"{cls.__name__}.f", cls.f)

    @classmethod
    @cache
    def options(cls) -> dict[str, Option]:
        last = options_of(VectorProblem.__init__)
        own = {name: option for name, option in super().options().items() if name not in last}
        of_formula = {
            name: replace(option, annotation=Annotated[option.annotation, PerLane()])
            if option.type in _OF_FLOATS
            else option
            for name, option in options_of(cls.f).items()
            if name not in own
        }
        return {**own, **of_formula, **last}

    def __init__(self, arrays: Arrays, **options: Any) -> None:
        of_formula = options_of(self.f)
        self._options = {name: options.pop(name, option.default) for name, option in of_formula.items()}
        self.dim = self._options.get("dim", self.dim)
        super().__init__(arrays, **options)
        self.minimum = self._known(type(self).minimum, self.dim)
        domain = self._known(type(self).domain, self.dim)
        self.domain = np.broadcast_to(np.array(domain, np.float64), (self.dim, 2))
        points = self._known(type(self).minimizers, self.dim)
        _ = self._formula  # traced here, so that a mistake is found before the first step
        self.minimizers = [{"x": np.resize(np.array(point, np.float64), self.dim)} for point in points]

    def for_lanes(self, numbers: Mapping[str, Any]) -> Self:
        made = super().for_lanes({name: of for name, of in numbers.items() if name not in self._options})
        made._options = {name: numbers.get(name, value) for name, value in self._options.items()}
        return made

    def evaluate(self, params: Mapping[str, Array]) -> dict[str, Array]:
        figures = super().evaluate(params)
        if self.passes is not None:
            figures["passed"] = (figures["loss"] <= self.passes).astype(self.arrays.dtype)
        return figures

    @staticmethod
    def _known(value: Any, dim: int) -> Any:
        return value(dim) if callable(value) else value

    @classmethod
    def usual_start(cls, dim: int) -> Array:
        return np.resize(np.array(cls._known(cls.start, dim), np.float64), dim)

    def _value(self, x: Symbol) -> Any:
        symbols = {name: _symbols(name, value) for name, value in self._floats.items()}
        return self.f(x, **{**self._options, **symbols})

    def _numbers(self) -> Mapping[str, Array]:
        return dict(pair for name, value in self._floats.items() for pair in _columns(name, value))

    @property
    def _floats(self) -> dict[str, Any]:
        known = self.options()
        return {name: value for name, value in self._options.items() if known[name].type in _OF_FLOATS}


def _symbols(name: str, value: Any) -> Any:
    """Return the symbols of an option's floats, in lists and mappings as they are in the option."""
    if isinstance(value, dict):
        return {key: _symbols(f"{name}.{key}", each) for key, each in value.items()}
    if isinstance(value, list):
        return [_symbols(f"{name}.{i}", each) for i, each in enumerate(value)]
    return number_of_lane(name)


def _columns(name: str, value: Any) -> Iterator[tuple[str, Array]]:
    """Yield the values ``[B or 1, 1]`` of these symbols by their names."""
    if isinstance(value, (dict, list)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _columns(f"{name}.{key}", each)
    else:
        yield name, np.reshape(np.asarray(value, np.float64), (-1, 1))
