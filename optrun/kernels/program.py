"""Programs: one step of a rule as a graph of coefficients and array operations.

A *coefficient* depends only on hyperparameters, the step count and scalar states; it is one number per lane. Any value
that depends on parameters, gradients or other states is an *array*. Both are nodes of one graph, in which equal
expressions are the same node.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from optrun.arrays import Array, power


@dataclass(frozen=True, eq=False)
class Node:
    """A value of a program: an input, a coefficient or the result of an operation."""

    op: str
    args: tuple["Node", ...]
    name: str
    value: float
    is_array: bool
    shape: tuple[int, ...]
    """The shape of one lane's array in a per-tensor rule; () for coefficients and in elementwise rules."""

    @property
    def is_condition(self) -> bool:
        """Whether it is boolean."""
        return self.op in COMPARISONS or self.op == "nonzero"


@cache
def node(
    op: str,
    *args: Node,
    name: str = "",
    value: float = 0.0,
    is_array: bool = False,
    shape: tuple[int, ...] | None = None,
) -> Node:
    """Return the node with these properties; equal expressions are the same object.

    The default shape is the broadcast shape of the arguments.
    """
    if shape is None:
        shape = np.broadcast_shapes(*(arg.shape for arg in args))
    return Node(op, args, name, value, is_array, shape)


TENSOR_OPS = frozenset({"matmul", "transpose", "sum"})
"""Operations whose elements depend on other elements than their own."""


COMPARISONS = {
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}


@dataclass(frozen=True, eq=False)
class Program:
    """One step: the new value of each variable in terms of the old values, `g` and coefficients."""

    outputs: Mapping[str, Node]
    coefficients: tuple[Node, ...]
    scalar_states: Mapping[str, Node] = field(default_factory=dict)
    """The new values of the scalar states."""

    kept: frozenset[str] = frozenset({"p"})
    """Outputs computed even if the parameters do not depend on them."""


def coefficients_of(outputs: Mapping[str, Node]) -> list[Node]:
    """Return the distinct coefficients that array operations read, in the order of their use."""
    found: dict[Node, None] = {}
    for value in in_order(outputs):
        found.update((arg, None) for arg in value.args if not arg.is_array)
    found.update((output, None) for output in outputs.values() if not output.is_array)
    return list(found)


def in_order(outputs: Mapping[str, Node]) -> list[Node]:
    """Return the array values that the outputs need, in topological order."""
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
    if coefficient.op in ("t", "scalar_state"):
        return True
    if coefficient.op == "hyperparameter":
        return coefficient.name in names
    return any(depends_on(arg, names) for arg in coefficient.args)


def evaluate(coefficient: Node, t: Array, values: Mapping[str, Array], memo: dict[Node, Array]) -> Array:
    """Return a coefficient in float64 as `[T, B]`; an axis along which it is constant has length 1.

    ``t`` is `[T, 1]`, every hyperparameter `[T or 1, B or 1]` and every scalar state `[T, B or 1]`.
    """
    if coefficient not in memo:
        if coefficient.op == "const":
            memo[coefficient] = np.full((1, 1), coefficient.value)
        elif coefficient.op == "t":
            memo[coefficient] = t
        elif coefficient.op in ("hyperparameter", "scalar_state"):
            memo[coefficient] = values[coefficient.name]
        else:
            args = [evaluate(arg, t, values, memo) for arg in coefficient.args]
            memo[coefficient] = _FUNCTIONS[coefficient.op](*args)
    return memo[coefficient]


def evaluate_scalar_states(
    scalar_states: Mapping[str, Node], t: Array, values: Mapping[str, Array], start: Mapping[str, Array]
) -> dict[str, Array]:
    """Return each scalar state before the first of the steps t and after each of them, `[T + 1, B or 1]` in float64.

    ``start`` holds the states `[B or 1]` before the first step; the other arguments are those of `evaluate`.
    """
    if not scalar_states:
        return {}
    rows = {name: [start[name]] for name in scalar_states}
    # Values that depend on no scalar state are evaluated for all steps at once.
    fixed: dict[Node, Array] = {}
    for value in sorted(nodes_below(scalar_states.values()), key=lambda each: len(nodes_below([each]))):
        if not any(each.op == "scalar_state" for each in nodes_below([value])):
            evaluate(value, t, values, fixed)
    for step in range(len(t)):
        memo = {value: of[step if len(of) > 1 else 0] for value, of in fixed.items()}
        now = {name: of[-1] for name, of in rows.items()}
        for name, value in scalar_states.items():
            rows[name].append(evaluate(value, t[step], now, memo))
    return {name: np.stack(np.broadcast_arrays(*of)) for name, of in rows.items()}


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


def nodes_below(values: Iterable[Node]) -> set[Node]:
    """Return the values and all their ancestors in the graph."""
    found: set[Node] = set()
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value not in found:
            found.add(value)
            waiting += value.args
    return found
