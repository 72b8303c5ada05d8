"""Expression, a function of one's own, written in the config."""

import keyword
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le, MinLen

from optrun.arithmetic.words import CONSTANTS
from optrun.arrays import Array, Arrays, Parameters
from optrun.errors import ConfigError, brief, counted
from optrun.kernels.program import node
from optrun.kernels.symbols import VECTOR, Symbol, tracing
from optrun.problems.formula_text import GRAMMAR, FormulaText
from optrun.problems.vectors import MOST_DIMENSIONS, VectorProblem

Values = dict[str, float | Annotated[list[float], MinLen(1)]]
_Sizes = tuple[tuple[str, int | None], ...]
"""Names with the lengths of their vectors; None for numbers."""


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
        start: Annotated[Values, MinLen(1), "the variables, numbers or vectors, and where every run starts"],
        parameters: Annotated[Values | None, "numbers and vectors in f that stay as they are"] = None,
        dim: Annotated[
            Annotated[int, Ge(1), Le(MOST_DIMENSIONS)] | None,
            "length of the vectors in start, which are repeated; by default as many numbers as start has",
        ] = None,
        **options: Any,
    ) -> None:
        given = {"f": f, "start": start, "parameters": parameters, "dim": dim}
        self.validate_options(given)
        self._variables = _sized(start, dim)
        self._parameters = {
            name: np.array(value, np.float64)[()] for name, value in (parameters or {}).items()
        }
        self._text = FormulaText(f, [*self._variables, *self._parameters])
        self.dim = sum(np.size(each) for each in self._variables.values())
        self._order = tuple(self._variables)
        """The variables as they follow each other in memory."""
        self._columns = _columns(self._variables, self._order)
        super().__init__(arrays, **options)

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
        sizes = [
            tuple((name, _length(value)) for name, value in given.items())
            for given in (_sized(start, dim), parameters)
        ]
        text = _checked(options["f"], *sizes)
        for section, names in (("start", start), ("parameters", parameters)):
            for name in names:
                if name not in text.used:
                    raise ConfigError("f does not use it", field=f"{section}.{name}")

    @property
    def notes(self) -> Sequence[str]:  # type: ignore[override]
        """What is wrong with the start: a value or a slope that is not finite, or no slope."""
        x = self.arrays.array(self.start[None])
        grad = self.arrays.empty(x.shape)
        with np.errstate(all="ignore"):
            (value,) = self.arrays.to_host(self._formula.bind(x, grad, None)())
        there = ", ".join(f"{name} = {brief(each.tolist())}" for name, each in self._variables.items())
        slopes = self.arrays.to_host(grad)
        if not np.isfinite(value):
            return [f"f is {value} where it starts, at {there}"]
        if not np.isfinite(slopes).all():
            return [f"the slope of f is not finite where it starts, at {there}"]
        return (
            []
            if slopes.any() or self.noise
            else [f"f is flat where it starts, at {there}: no step leaves it"]
        )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: np.shape(value) for name, value in self._variables.items()}

    def initial(self, seed: int) -> dict[str, Array]:
        return self._variables

    def loss_and_grad(self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any) -> Array:
        if not isinstance(params, Parameters) or grads is not params.grads:
            x = self._joined(params)
            grad = self.scratch("gradients", *x.shape)
            loss = self._at(x, grad, batch)
            for name, columns in self._columns.items():
                grads[name][...] = grad[:, columns].reshape(grads[name].shape)
            return loss
        if tuple(params) != self._order:
            self._arrange(tuple(params))
        if batch is not None and self._order != tuple(self._variables):
            batch = batch[self._places]
        return self._at(params.data, params.grad, batch)

    def evaluate(self, params: Mapping[str, Array]) -> dict[str, Array]:
        return self._value_at(self._joined(params))

    def _joined(self, params: Mapping[str, Array]) -> Array:
        """Return a copy of the variables, in their order in memory, ``[B, dim]``."""
        x = self.scratch("variables", len(next(iter(params.values()))), self.dim)
        for name, columns in self._columns.items():
            x[:, columns] = params[name].reshape(len(x), -1)
        return x

    def _arrange(self, order: tuple[str, ...]) -> None:
        """Take the variables in another order, in which groups of parameters have them in memory."""
        declared = _columns(self._variables, tuple(self._variables))
        self._order, self._columns = order, _columns(self._variables, order)
        self._places = np.concatenate([np.arange(self.dim)[declared[name]] for name in order])
        self._bound = self._evaluated = None
        vars(self).pop("_formula", None)

    def _usual_start(self) -> Array:
        return np.concatenate([np.ravel(each) for each in self._variables.values()])

    def _value(self, x: Symbol) -> Any:
        sizes = tuple((name, _length(self._variables[name])) for name in self._order)
        return self._text.value({**_parts(x, sizes), **self._parameters})


@lru_cache(maxsize=256)
def _checked(f: str, variables: _Sizes, parameters: _Sizes) -> FormulaText:
    """Return a function as text; ConfigError if it is none of variables and parameters of these lengths."""
    try:
        text = FormulaText(f, [name for name, _ in (*variables, *parameters)])
        size = sum(length or 1 for _, length in variables)
        x = Symbol(node("input", name="x", is_array=True, shape=(size,)))
        constants = {name: np.float64(0.5) if n is None else np.full(n, 0.5) for name, n in parameters}
        with tracing(VECTOR):
            value = text.value({**_parts(x, variables), **constants})
            if text.used.issuperset(name for name, _ in variables) and not _depends(value):
                raise ConfigError("it has the same value at all points")
    except ConfigError as error:
        raise ConfigError(str(error), field="f") from None
    return text


def _depends(value: Any) -> bool:
    return isinstance(value, Symbol) and value.node.is_array


def _parts(x: Any, sizes: _Sizes) -> dict[str, Any]:
    """Return the variables of a vector that holds one after the other."""
    found, first = {}, 0
    for name, length in sizes:
        found[name] = x[first] if length is None else x[first : first + length]
        first += length or 1
    return found


def _columns(variables: Mapping[str, Array], order: Iterable[str]) -> dict[str, slice]:
    """Return where in the vector each variable is."""
    found, first = {}, 0
    for name in order:
        found[name] = slice(first, first + np.size(variables[name]))
        first = found[name].stop
    return found


def _unusable(name: str) -> str:
    """Return why a name cannot stand in an expression; empty if it can."""
    if name in GRAMMAR.words or name in CONSTANTS:
        return f"{name!r} has a meaning in expressions: another name"
    if not name.isidentifier() or keyword.iskeyword(name) or unicodedata.normalize("NFKC", name) != name:
        return f"{brief(name)} is no name in expressions: letters, digits and _, such as x1"
    return ""


def _sized(start: Mapping[str, Any], dim: int | None) -> dict[str, Array]:
    """Return the variables at their start, the vectors repeated to a length."""
    return {
        name: np.resize(
            np.array(value, np.float64), dim if dim and isinstance(value, list) else np.shape(value)
        )
        for name, value in start.items()
    }


def _length(value: Any) -> int | None:
    return len(value) if np.ndim(value) else None
