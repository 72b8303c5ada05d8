"""Expression, a function of one's own, written in the config."""

import keyword
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Annotated, Any, Self

import numpy as np
from annotated_types import Ge, Le, MinLen

from optrun.arithmetic.words import CONSTANTS
from optrun.arrays import Array, Arrays, Parameters
from optrun.errors import ConfigError, brief, counted, did_you_mean
from optrun.kernels.program import node
from optrun.kernels.symbols import VECTOR, Symbol, number_of_lane, tracing
from optrun.kernels.trajectory import Elements
from optrun.problems.formula_text import FormulaText
from optrun.problems.formula_words import GRAMMAR
from optrun.problems.vectors import MOST_DIMENSIONS, Box, VectorProblem
from optrun.registry import Added, PerLane

Values = dict[str, float | Annotated[list[float], MinLen(1)]]
_Shape = tuple[int, ...]
_Shapes = tuple[tuple[str, _Shape], ...]


class Expression(VectorProblem):
    """A function of your own, written as text in the words of `optrun.ops`; its gradient is derived from it.

        f: "(1 - x)**2 + a * (y - x**2)**2"        start: {x: -1.2, y: 1.0}        parameters: {a: 100.0}

    The names in ``start`` are its variables, each a number or a vector: `x[0]`, `x[1:]`, `sum(x**2)`,
    `sum(x[i] * x[i + 1] for i in range(len(x) - 1))`. All runs start there.

    Raises ConfigError, with the column in f, for what is no arithmetic, and for names that f does not use.
    """

    def __init__(
        self,
        arrays: Arrays,
        *,
        f: Annotated[str, MinLen(1), "the function to minimise"],
        start: Annotated[
            Values, MinLen(1), PerLane(), "the variables, numbers or vectors, and where every run starts"
        ],
        parameters: Annotated[
            Values | None, PerLane(), "numbers and vectors in f that stay as they are"
        ] = None,
        dim: Annotated[
            Annotated[int, Ge(1), Le(MOST_DIMENSIONS)] | None,
            "length of the vectors in start, which are repeated; by default as many numbers as start has",
        ] = None,
        minimum: Annotated[
            float | Values | None,
            Added(),
            "the least value of f, or the point where it is, by the names in start: for gap, distance and pictures",
        ] = None,
        init: Annotated[
            Box,
            Added(),
            "a start for each seed, from {uniform: [[low, high], …]}, a range for each number in start or one for all",
        ] = None,
        **options: Any,
    ) -> None:
        given: dict[str, Any] = {
            "f": f,
            "start": start,
            "parameters": parameters,
            "dim": dim,
            "minimum": minimum,
        }
        self.validate_options(given)
        self._known, self._options = minimum, given
        self._shapes = dict(_shapes(start, dim))
        self.parameters = parameters or {}
        """The numbers of f by their names, each float a number or one per lane ``[B]``."""
        self._text = FormulaText(f, [*start, *self.parameters])
        self.dim = sum(math.prod(shape) for shape in self._shapes.values())
        self._order = tuple(start)
        """The variables as they follow each other in memory."""
        super().__init__(arrays, init=init, **options | {"start": start})

    @staticmethod
    def validate_options(options: Mapping[str, Any]) -> None:
        """Raise ConfigError for a text that is no function of the variables and parameters."""
        start, parameters, dim = options["start"], options["parameters"] or {}, options["dim"]
        for section, names in (("start", start), ("parameters", parameters)):
            for name in names:
                if said := _unusable(name):
                    raise ConfigError(said, field=f"{section}.{name}")
        for name in parameters:
            if name in start:
                raise ConfigError(f"{name!r} is a variable: it is in start", field=f"parameters.{name}")
        if dim is not None and not any(isinstance(value, list) for value in start.values()):
            raise ConfigError("there is no vector in start: write one such as [1.0]", field="dim")
        for name, value in start.items():
            if dim is not None and isinstance(value, list) and len(value) > dim:
                raise ConfigError(f"more than dim: {counted(len(value), 'number')}", field=f"start.{name}")
        if isinstance(minimum := options.get("minimum"), dict):
            _check_point(minimum, start, dim)
        shapes = tuple(_shapes(start, dim)), tuple(_shapes(parameters))
        text = _checked(options["f"], *shapes)
        for section, names in (("start", start), ("parameters", parameters)):
            for name in names:
                if name not in text.used:
                    raise ConfigError("f does not use it", field=f"{section}.{name}")

    @cached_property
    def minimum(self) -> float | Array | None:
        if not isinstance(self._known, dict):
            return self._known
        exact = Expression(Arrays("numpy", "float64"), **{**self._options, "minimum": None})
        exact = exact.for_lanes({"parameters": self.parameters})
        lanes = max(map(len, exact._numbers().values()), default=1)
        (point,) = self.minimizers
        points = {name: np.stack([value] * lanes) for name, value in point.items()}
        with np.errstate(all="ignore"):
            values = exact.evaluate(points)["loss"]
        return values if lanes > 1 else float(values[0])

    @property
    def minimizers(self) -> Sequence[Mapping[str, Array]]:
        return [self._named(self._start(self._known))] if isinstance(self._known, dict) else []

    @property
    def notes(self) -> Sequence[str]:  # type: ignore[override]
        """What is wrong with the start: a value or a slope that is not finite, or no slope."""
        numbers = self._numbers()
        lanes = max(map(len, (*numbers.values(), np.atleast_2d(self.start))))
        starts = np.broadcast_to(self.start, (lanes, self.dim))
        x, grad = self.arrays.array(starts), self.arrays.empty(starts.shape)
        with np.errstate(all="ignore"):
            values = self.arrays.to_host(self._formula.bind(x, grad, None, numbers)())
        slopes = self.arrays.to_host(grad)
        wrong = {
            "f is {} where it starts, at {}": ~np.isfinite(values),
            "the slope of f is not finite where it starts, at {1}": ~np.isfinite(slopes).all(axis=1),
            "f is flat where it starts, at {1}: no step leaves it": (slopes == 0).all(axis=1)
            & (not self._is_noisy),
        }
        if self.minimum is not None:
            low = self.minimum - 1e-6 * np.maximum(1, np.abs(self.minimum))
            wrong["f is {} where it starts, at {}: less than its minimum"] = values < low
        for said, where in wrong.items():
            for lane in np.flatnonzero(where):
                named = self._named(starts[lane]).items()
                there = ", ".join(f"{name} = {brief(each.tolist())}" for name, each in named)
                return [said.format(values[lane], there)]
        return ()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return dict(self._shapes)

    def initial(self, seed: int) -> dict[str, Array]:
        return self._named(super().initial(seed)["x"])

    @property
    def elements(self) -> Elements | None:
        self._arrange(tuple(self._shapes))  # that in memory if there is one group
        return self._elements()

    def for_lanes(self, numbers: Mapping[str, Any]) -> Self:
        made = super().for_lanes({**numbers, "parameters": numbers.get("parameters") or {}})
        vars(made).pop("minimum", None)  # it depends on the parameters
        return made

    def loss_and_grad(self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any) -> Array:
        declared, order = tuple(self._shapes), tuple(params)
        if isinstance(params, Parameters) and grads is params.grads and (batch is None or order == declared):
            self._arrange(order)
            return self._at(params.data, params.grad, batch)
        self._arrange(declared)  # noise is drawn in this order
        x = self._joined(params)
        grad = self.scratch("gradients", *x.shape)
        loss = self._at(x, grad, batch)
        for name, columns in self._columns.items():
            grads[name][...] = grad[:, columns].reshape(grads[name].shape)
        return loss

    def evaluate(self, params: Mapping[str, Array]) -> dict[str, Array]:
        return self._value_at(self._joined(params))

    def hessian_times(self, params: Mapping[str, Array], vectors: Array, batch: Any = None) -> Array:
        self._arrange(tuple(params))  # the order of the vectors' elements
        return super().hessian_times({"x": self._joined(params)}, vectors)

    def _joined(self, params: Mapping[str, Array]) -> Array:
        """Return a copy of the variables, in their order in memory, ``[B, dim]``."""
        x = self.scratch("variables", len(next(iter(params.values()))), self.dim)
        for name, columns in self._columns.items():
            x[:, columns] = params[name].reshape(len(x), -1)
        return x

    def _arrange(self, order: tuple[str, ...]) -> None:
        """Take the variables in this order, in which groups of parameters may have them in memory."""
        if order == self._order:
            return
        self._order = order
        self._bound = self._evaluated = None
        vars(self).pop("_formula", None)

    @property
    def _columns(self) -> dict[str, slice]:
        """Where in the vector each variable is."""
        return _columns((name, self._shapes[name]) for name in self._order)

    def _start(self, given: Any) -> Array:
        """Return where runs start, ``[dim]``, or ``[B, dim]`` if lanes differ in it."""
        rows = [_rows(given[name], *shape) for name, shape in self._shapes.items()]
        lanes = max(map(len, rows))
        joined = np.concatenate([np.broadcast_to(each, (lanes, each.shape[1])) for each in rows], axis=1)
        return joined if lanes > 1 else joined[0]

    def _named(self, start: Array) -> dict[str, Array]:
        """Return the variables of a vector ``[dim]`` by their names."""
        columns = _columns(self._shapes.items())
        return {name: start[columns[name]].reshape(shape) for name, shape in self._shapes.items()}

    def _value(self, x: Symbol) -> Any:
        variables = _parts(x, [(name, self._shapes[name]) for name in self._order])
        return self._text.value({**variables, **_symbols(_shapes(self.parameters))})

    def _numbers(self) -> Mapping[str, Array]:
        return {f"parameters.{name}": _rows(value) for name, value in self.parameters.items()}


def _check_point(point: Mapping[str, Any], start: Mapping[str, Any], dim: int | None) -> None:
    """Raise ConfigError if a minimum is no point of the variables in start."""
    for name in point:
        if name not in start:
            hint = did_you_mean(name, start) or f" There are: {', '.join(start)}."
            raise ConfigError(f"no variable.{hint}", field=f"minimum.{name}")
    if lacking := [name for name in start if name not in point]:
        raise ConfigError(f"lacks {', '.join(lacking)}: a point has all variables", field="minimum")
    for name, value in point.items():
        shape, expected = _shape(value, dim), _shape(start[name], dim)
        if shape != expected or (dim is not None and isinstance(value, list) and len(value) > dim):
            what = f"a vector of {counted(expected[0], 'number')}" if expected else "a number"
            raise ConfigError(f"must be {what}, as in start", field=f"minimum.{name}")


@lru_cache(maxsize=256)
def _checked(f: str, variables: _Shapes, parameters: _Shapes) -> FormulaText:
    """Return a function as text; ConfigError if it is none of variables and parameters of these shapes."""
    try:
        text = FormulaText(f, [name for name, _ in (*variables, *parameters)])
        size = sum(math.prod(shape) for _, shape in variables)
        x = Symbol(node("input", name="x", is_array=True, shape=(size,)))
        with tracing(VECTOR):
            value = text.value({**_parts(x, variables), **_symbols(parameters)})
        if text.used.issuperset(name for name, _ in variables) and not _depends(value):
            raise ConfigError("it has the same value at all points")
    except ConfigError as error:
        raise ConfigError(str(error), field="f") from None
    return text


def _depends(value: Any) -> bool:
    return isinstance(value, Symbol) and value.node.is_array


def _parts(x: Symbol, variables: Iterable[tuple[str, _Shape]]) -> dict[str, Symbol]:
    """Return the variables of a vector that holds one after the other."""
    shapes = dict(variables)
    columns = _columns(shapes.items())
    return {name: x[columns[name]] if shape else x[columns[name].start] for name, shape in shapes.items()}


def _symbols(parameters: Iterable[tuple[str, _Shape]]) -> dict[str, Symbol]:
    return {name: number_of_lane(f"parameters.{name}", shape) for name, shape in parameters}


def _columns(variables: Iterable[tuple[str, _Shape]]) -> dict[str, slice]:
    """Return where in the vector each variable is."""
    found, first = {}, 0
    for name, shape in variables:
        found[name] = slice(first, first + math.prod(shape))
        first = found[name].stop
    return found


def _rows(value: Any, size: int | None = None) -> Array:
    """Return a number or vector as rows ``[B or 1, n]``; ``size`` is the length to which a vector is repeated."""
    numbers = np.broadcast_arrays(
        *(np.atleast_1d(each) for each in (value if isinstance(value, list) else [value]))
    )
    rows = np.stack(numbers, axis=-1).astype(np.float64)
    return rows if size is None else rows[:, np.arange(size) % len(numbers)]


def _unusable(name: str) -> str:
    """Return why a name cannot stand in an expression; empty if it can."""
    if name in GRAMMAR.words or name in CONSTANTS:
        return f"{name!r} has a meaning in expressions: another name"
    if name.isdecimal():
        return f"{name!r} is no name in expressions: numbers are set by their names, such as problem.start.x"
    if not name.isidentifier() or keyword.iskeyword(name) or unicodedata.normalize("NFKC", name) != name:
        return f"{brief(name)} is no name in expressions: letters, digits and _, such as x1"
    return ""


def _shape(value: Any, dim: int | None) -> _Shape:
    """Return the shape of a variable or parameter as a config has it, with vectors repeated to a length."""
    return (dim or len(value),) if isinstance(value, list) else ()


def _shapes(values: Mapping[str, Any], dim: int | None = None) -> Iterator[tuple[str, _Shape]]:
    return ((name, _shape(value, dim)) for name, value in values.items())
