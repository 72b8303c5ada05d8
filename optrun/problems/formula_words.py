"""The words and operators of functions written as text: of numbers and vectors, known ones and symbols."""

import ast
import inspect
import math
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np

from optrun import ops
from optrun.arithmetic.words import COMPARISONS, OPERATORS, Grammar, Word
from optrun.arrays import power
from optrun.kernels.symbols import Symbol, as_node

OVER_A_VECTOR = ("sum", "prod", "mean", "norm")
OVER_AN_INDEX: Mapping[str, Callable[[Any, Any], Any]] = {
    "sum": operator.add,
    "mean": operator.add,
    "prod": operator.mul,
    "min": ops.minimum,
    "max": ops.maximum,
}


def length_of(value: Any) -> int | None:
    """Return the length of a vector; None for a number."""
    shape = getattr(value, "shape", ())
    return shape[0] if shape else None


def symbol_of(value: Any) -> Symbol:
    """Return a value as a symbol."""
    return value if isinstance(value, Symbol) else Symbol(as_node(value))


def _combining(numbers: Callable[..., Any], symbols: Callable[..., Any]) -> Callable[..., Any]:
    """Return an operation of numbers and vectors that are known, and of those of which one is a symbol."""

    def operation(*operands: Any) -> Any:
        lengths = dict.fromkeys(each for each in map(length_of, operands) if each is not None)
        if len(lengths) > 1:
            raise TypeError(f"vectors of different lengths do not combine: {' and '.join(map(str, lengths))}")
        if any(isinstance(each, Symbol) for each in operands):
            return symbols(*map(symbol_of, operands))
        return np.asarray(numbers(*operands))[()]

    return operation


def _over_vector(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def operation(*vectors: Any) -> Any:
        if any(length_of(each) is None for each in vectors):
            over = f", or is over an index: {name}(x[i] for i in range(3))" if name in OVER_AN_INDEX else ""
            raise TypeError(f"{name} takes a vector{over}")
        return function(*vectors)

    return operation


def chosen(condition: Any, value: Any, otherwise: Any) -> Any:
    """Return the value where the condition holds, otherwise the other one."""
    if not any(isinstance(each, Symbol) for each in (condition, value, otherwise)):
        return np.where(condition != 0, value, otherwise)[()]
    condition = symbol_of(condition)
    return ops.where(condition if condition.node.is_condition else condition != 0, value, otherwise)


def _power(x: Symbol, y: Symbol) -> Any:
    """Return xʸ; a number that lanes may differ in is an exponent of numbers below 0 too, where it is whole."""
    if y.node.is_array or y.node.op == "const" or not x.node.is_array:
        return x**y
    odd = y - 2 * ops.floor(y / 2)
    sign = ops.where(odd == 1, -1.0, ops.where(odd == 0, 1.0, math.nan))
    magnitude = ops.where(x < 0, -x, x)  # of slope 1 at 0, as x¹ is; that of abs(x) is 0
    return magnitude**y * ops.where(x < 0, sign, 1.0)


_dot = _over_vector(ops.dot, "dot")


def _word(name: str) -> Word:
    """Return a word of rules as one of expressions."""
    function = getattr(ops, name)
    parameters = inspect.signature(function).parameters.values()
    count = sum(each.default is each.empty for each in parameters)
    if name in OVER_A_VECTOR:
        return Word(_over_vector(function, name), of="vector")
    return Word(_combining(function, function), count, count)


_OF_RULES = ("debias", "total", *ops.OF_MATRICES)
GRAMMAR = Grammar(
    "a function",
    "(1 - x)**2 + 100 * (y - x**2)**2",
    {
        **{name: _word(name) for name in ops.__all__ if name not in _OF_RULES},
        "where": Word(_combining(chosen, chosen), 3, 3),
        "power": Word(_combining(power, _power), 2, 2),
        "ceil": Word(lambda x: -ops.floor(-x)),
        "min": Word(lambda *values: reduce(_combining(ops.minimum, ops.minimum), values), 2, None),
        "max": Word(lambda *values: reduce(_combining(ops.maximum, ops.maximum), values), 2, None),
        "len": Word(_over_vector(lambda x: np.float64(len(x)), "len"), of="vector"),
        "dot": Word(_combining(_dot, _dot), 2, 2, "vector"),
    },
    {
        **{op: _combining(of, of) for op, of in {**OPERATORS, **COMPARISONS}.items()},
        ast.Pow: _combining(power, _power),
    },
    longest=10_000,
)
