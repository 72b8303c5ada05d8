"""Tracing: an update rule, run once on symbols, becomes coefficients and a straight-line elementwise program.

A *coefficient* depends on hyperparameters and the step count alone; it is a number per lane. Everything that
touches parameters, gradients or state is an *array* operation. Both are nodes of one graph, in which equal
expressions are one node.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Union

import numpy as np

from optrun.arrays import Array, power

Operand = Union["Symbol", float]


@dataclass(frozen=True, eq=False)
class Node:
    """One value of a program: an input, a coefficient or the result of an operation."""

    op: str
    args: tuple["Node", ...]
    name: str
    value: float
    is_array: bool

    @property
    def is_condition(self) -> bool:
        """Whether it is true or false rather than a number."""
        return self.op in COMPARISONS or self.op == "nonzero"


@cache
def node(op: str, *args: Node, name: str = "", value: float = 0.0, is_array: bool = False) -> Node:
    """Return the one node of these properties: equal expressions are the same object."""
    return Node(op, args, name, value, is_array)


COMPARISONS = {
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}


class Symbol:
    """A value of a rule while it is traced; operators and the words of `optrun.optim.ops` build the graph."""

    __hash__ = None  # type: ignore[assignment]
    __array_ufunc__ = None

    def __init__(self, node: Node) -> None:
        self.node = node

    def __add__(self, other: Operand) -> "Symbol":
        return apply("add", self, other)

    def __radd__(self, other: Operand) -> "Symbol":
        return apply("add", other, self)

    def __sub__(self, other: Operand) -> "Symbol":
        return apply("sub", self, other)

    def __rsub__(self, other: Operand) -> "Symbol":
        return apply("sub", other, self)

    def __mul__(self, other: Operand) -> "Symbol":
        return apply("mul", self, other)

    def __rmul__(self, other: Operand) -> "Symbol":
        return apply("mul", other, self)

    def __truediv__(self, other: Operand) -> "Symbol":
        return apply("div", self, other)

    def __rtruediv__(self, other: Operand) -> "Symbol":
        return apply("div", other, self)

    def __pow__(self, other: Operand) -> "Symbol":
        return apply("pow", self, other)

    def __rpow__(self, other: Operand) -> "Symbol":
        return apply("pow", other, self)

    def __neg__(self) -> "Symbol":
        return apply("neg", self)

    def __gt__(self, other: Operand) -> "Symbol":
        return apply("gt", self, other)

    def __ge__(self, other: Operand) -> "Symbol":
        return apply("ge", self, other)

    def __lt__(self, other: Operand) -> "Symbol":
        return apply("lt", self, other)

    def __le__(self, other: Operand) -> "Symbol":
        return apply("le", self, other)

    def __eq__(self, other: object) -> "Symbol":  # type: ignore[override]
        return apply("eq", self, other)

    def __ne__(self, other: object) -> "Symbol":  # type: ignore[override]
        return apply("ne", self, other)

    def __bool__(self) -> bool:
        raise TypeError("a rule cannot branch on a value that differs between lanes or steps: use where(...)")


class Variable(Symbol):
    """A symbol that a rule may assign to, in place: the parameters and the state."""

    def __setitem__(self, key: slice, value: Operand) -> None:
        if key != slice(None):
            raise TypeError("a rule assigns whole arrays: name[:] = ...")
        self.node = as_node(value)

    def __iadd__(self, other: Operand) -> "Variable":
        self.node = apply("add", self, other).node
        return self

    def __isub__(self, other: Operand) -> "Variable":
        self.node = apply("sub", self, other).node
        return self

    def __imul__(self, other: Operand) -> "Variable":
        self.node = apply("mul", self, other).node
        return self

    def __itruediv__(self, other: Operand) -> "Variable":
        self.node = apply("div", self, other).node
        return self


def as_node(value: object) -> Node:
    """Return the node of a symbol or of a plain number."""
    if isinstance(value, Symbol):
        return value.node
    if isinstance(value, (int, float)):
        # Named by its bits: 0.0 and -0.0 are equal, but not the same constant.
        return node("const", name=float(value).hex(), value=float(value))
    raise TypeError(f"a rule combines symbols and numbers, not {type(value).__name__}")


def apply(op: str, *operands: object) -> Symbol:
    """Return the symbol of an operation on symbols and numbers."""
    args = tuple(as_node(operand) for operand in operands)
    is_array = any(arg.is_array for arg in args)
    if is_array and op == "div" and not args[1].is_array:
        # A division by a coefficient costs an array five times a multiplication by its reciprocal.
        return apply("mul", apply("div", 1.0, Symbol(args[1])), Symbol(args[0]))
    if is_array and op == "pow":
        raise TypeError("a rule may raise coefficients to a power, not arrays: write x * x or sqrt(x)")
    return Symbol(node(op, *args, is_array=is_array))


@dataclass(frozen=True)
class Program:
    """What one step does: the new value of each variable in terms of the old ones, `g` and coefficients."""

    outputs: Mapping[str, Node]
    coefficients: tuple[Node, ...]


def trace(
    update: Callable[..., object],
    states: tuple[str, ...],
    hyperparameters: tuple[str, ...],
    flags: Mapping[str, Any],
    *,
    maximize: bool = False,
) -> Program:
    """Return the program of a rule.

    ``update(p, g, t, *states, **hyperparameters, **flags)`` is called once; ``flags`` are passed as they are,
    so the rule may branch on them.
    """
    variables = {name: Variable(node("input", name=name, is_array=True)) for name in ("p", *states)}
    gradient = Symbol(node("input", name="g", is_array=True))
    symbols = {name: Symbol(node("hyperparameter", name=name)) for name in hyperparameters}
    returned = update(
        variables["p"],
        -gradient if maximize else gradient,
        Symbol(node("t")),
        *(variables[name] for name in states),
        **symbols,
        **flags,
    )
    if returned is not None:
        raise TypeError(
            "update returns a value: it assigns in place, p -= … or p[:] = …, and returns nothing"
        )
    outputs = {name: variable.node for name, variable in variables.items()}
    untouched = [name for name, value in outputs.items() if value.op == "input" and value.name == name]
    assigned = {name: value for name, value in outputs.items() if name not in untouched}
    read = {value.name for value in in_order(assigned) if value.op == "input"}
    for name in untouched:
        if name != "p" and name not in read:
            continue  # state that a flag turns off
        raise TypeError(f"update never assigns {name} in place: write {name} -= … or {name}[:] = …")
    return Program(outputs, tuple(coefficients_of(outputs)))


def coefficients_of(outputs: Mapping[str, Node]) -> list[Node]:
    """Return the coefficients that array operations read, each once, in the order of their use."""
    found: dict[Node, None] = {}
    for value in in_order(outputs):
        found.update((arg, None) for arg in value.args if not arg.is_array)
    found.update((output, None) for output in outputs.values() if not output.is_array)
    return list(found)


def in_order(outputs: Mapping[str, Node]) -> list[Node]:
    """Return the array values that the outputs need, each after what it reads."""
    order: dict[Node, None] = {}

    def visit(value: Node) -> None:
        if value.is_array and value not in order:
            for arg in value.args:
                visit(arg)
            order[value] = None

    for output in outputs.values():
        visit(output)
    return list(order)


def depends_on(coefficient: Node, names: frozenset[str]) -> bool:
    """Return whether a coefficient changes with the step or with one of these hyperparameters."""
    if coefficient.op == "t":
        return True
    if coefficient.op == "hyperparameter":
        return coefficient.name in names
    return any(depends_on(arg, names) for arg in coefficient.args)


def evaluate(coefficient: Node, t: Array, values: Mapping[str, Array], memo: dict[Node, Array]) -> Array:
    """Return a coefficient in float64 as `[T, B]`, either of them 1 where nothing varies along it.

    ``t`` is `[T, 1]` and every hyperparameter `[T or 1, B or 1]`.
    """
    if coefficient not in memo:
        if coefficient.op == "const":
            memo[coefficient] = np.full((1, 1), coefficient.value)
        elif coefficient.op == "t":
            memo[coefficient] = t
        elif coefficient.op == "hyperparameter":
            memo[coefficient] = values[coefficient.name]
        else:
            args = [evaluate(arg, t, values, memo) for arg in coefficient.args]
            memo[coefficient] = _FUNCTIONS[coefficient.op](*args)
    return memo[coefficient]


_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": lambda x: np.multiply(x, -1.0),
    "pow": power,
    "sqrt": np.sqrt,
    "abs": np.absolute,
    "sign": np.sign,
    "max": np.maximum,
    "min": np.minimum,
    "where": np.where,
    **COMPARISONS,
}
