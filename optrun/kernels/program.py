"""Programs: one step of a rule as a graph of coefficients and array operations.

A *coefficient* depends only on hyperparameters, the step count and scalar states; it is one number per lane. Any value
that depends on parameters, gradients or other states is an *array*. Both are nodes of one graph, in which equal
expressions are the same node. A *reduction*, the sum of an array's elements, is one number per lane again; a
coefficient that depends on one is *late*: it is known only within the step.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np


@dataclass(frozen=True, eq=False)
class Node:
    """A value of a program: an input, a coefficient or the result of an operation."""

    op: str
    args: tuple["Node", ...]
    name: str
    value: float
    is_array: bool
    shape: tuple[int, ...]
    """The shape of one lane's array in a per-tensor rule or a function; () in elementwise rules."""

    @property
    def is_condition(self) -> bool:
        """Whether it is boolean."""
        return self.op in COMPARISONS or self.op in ("nonzero", "and", "or", "not")


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


CURVATURE, NOISE = "given_curvature", "given_noise"
GIVEN = frozenset({"g", CURVATURE, NOISE})
"""Inputs that a rule only reads: the gradient, a sample of the Hessian's diagonal, and normal numbers."""

FACTORIZATIONS = frozenset({"eigh", "identity", "qr", "solve", "sorting", "triu"})
"""Operations on whole matrices, which NumPy and LAPACK do."""

TENSOR_OPS = (
    frozenset({"matmul", "transpose", "reshape", "rows", "sum", "amax", "slice", "pad"}) | FACTORIZATIONS
)
"""Operations whose elements depend on other elements than their own."""


COMPARISONS = {
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}


UFUNCS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "sqrt": np.sqrt,
    "abs": np.absolute,
    "sign": np.sign,
    "max": np.maximum,
    "min": np.minimum,
    "floor": np.floor,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    **COMPARISONS,
}
"""The elementary operations that NumPy has, and CuPy by the same names."""


def part_of(name: str) -> slice:
    """Return the slice that the name of a `slice` or `pad` says."""
    return slice(*(int(bound) if bound else None for bound in name.split(":")))


def shape_of_slice(shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Return the shape of a slice of a vector."""
    return (len(range(shape[0])[part_of(name)]),)


@dataclass(frozen=True, eq=False)
class Program:
    """One step: the new value of each variable in terms of the old values, `g` and coefficients."""

    outputs: Mapping[str, Node]
    coefficients: tuple[Node, ...]
    scalar_states: Mapping[str, Node] = field(default_factory=dict)
    """The new values of the scalar states."""

    kept: frozenset[str] = frozenset({"p"})
    """Outputs computed even if the parameters do not depend on them."""

    reduced: tuple[Node, ...] = ()
    """The reductions, each after those on which it depends."""


REDUCED, COUNT, LOSS = "reduced", "count", "loss"
"""The sum of an array's elements, and their number: over the `tensor`, the `group` or the `run`, as the name says. The
value tells which sums of several rules are one, 0 where the array alone does. And the loss of the step's batch."""

OF_STEP = (REDUCED, COUNT, LOSS)
"""What is known only within the step."""


def reduced_below(values: Iterable[Node]) -> tuple[Node, ...]:
    """Return the reductions on which values depend, each after those on which it depends itself."""
    found: dict[Node, None] = {}
    seen: set[Node] = set()

    def visit(value: Node) -> None:
        if value not in seen:
            seen.add(value)
            for arg in value.args:
                visit(arg)
            if value.op in OF_STEP:
                found[value] = None

    for value in values:
        visit(value)
    return tuple(found)


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


@cache
def depends_on(coefficient: Node, names: frozenset[str]) -> bool:
    """Return whether a coefficient changes with the step or with one of these hyperparameters."""
    if coefficient.op in ("t", "scalar_state", *OF_STEP):
        return True
    if coefficient.op == "hyperparameter":
        return coefficient.name in names
    return any(depends_on(arg, names) for arg in coefficient.args)


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
