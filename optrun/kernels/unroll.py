"""Unrolling: a program of a short vector becomes one of its elements, which engines run as a loop over lanes."""

import math
from collections.abc import Mapping

import numpy as np

from optrun.kernels.evaluate import evaluate
from optrun.kernels.program import Node, in_order, node, nodes_below, part_of
from optrun.kernels.symbols import Symbol, as_node

NOTHING = as_node(-0.0)
"""What is added to a number without changing a bit of it."""


def size_of(outputs: Mapping[str, Node]) -> int:
    """Return a bound of the number of operations of an unrolled program."""
    return sum(
        math.prod(value.args[0].shape if value.op == "sum" else value.shape)
        for value in in_order(outputs)
        if value.op not in ("input", "literal", "slice", "pad")
    )


def unrolled(outputs: Mapping[str, Node]) -> dict[str, Node]:
    """Return the elements of outputs, `x0`, `x1`, … for `x`, as programs of the elements of inputs.

    The operations, and the order in which sums are added, are those of the vectors, so the bits are the same.
    """
    memo: dict[Node, list[Node]] = {}
    for value in in_order(outputs):
        memo[value] = _elements(value, memo)
    return {
        f"{name}{index}": element
        for name, value in outputs.items()
        for index, element in enumerate(_parts(value, memo))
    }


def _parts(value: Node, memo: Mapping[Node, list[Node]]) -> list[Node]:
    """Return the elements of an operand."""
    if value in memo:
        return memo[value]
    if not value.shape:
        return [value]
    if any(each.op == "hyperparameter" for each in nodes_below([value])):
        return [Symbol(value)[index].node for index in range(value.shape[0])]
    numbers = evaluate(value, np.ones((1, 1)), {}, {})
    return [as_node(each) for each in np.broadcast_to(numbers, (1, *value.shape))[0].tolist()]


def _elements(value: Node, memo: Mapping[Node, list[Node]]) -> list[Node]:
    size = math.prod(value.shape)
    if value.op == "input":
        return [node("input", name=f"{value.name}{index}", is_array=True) for index in range(size)]
    if value.op == "literal":
        return [value]
    args = [_parts(arg, memo) for arg in value.args]
    if value.op == "sum":
        return [_pairwise(args[0] * (math.prod(value.args[0].shape) // max(1, len(args[0]))))]
    if value.op == "slice":
        return args[0][part_of(value.name)]
    if value.op == "pad":
        found = [NOTHING] * size
        places = range(size)[part_of(value.name)]
        for place, element in zip(places, args[0] * (len(places) // max(1, len(args[0]))), strict=True):
            found[place] = element
        return found
    columns = zip(*(arg if len(arg) == size else arg * size for arg in args), strict=True)
    return [_operation(value.op, *each) for each in columns]


def _pairwise(terms: list[Node]) -> Node:
    """Return the sum in the order of `lane_sum`."""
    while len(terms) > 1:
        half = len(terms) // 2
        low = [_operation("add", *each) for each in zip(terms[:half], terms[-half:], strict=True)]
        terms = low + terms[half : len(terms) - half]
    return terms[0] if terms else as_node(0.0)


def _operation(op: str, *args: Node) -> Node:
    if op == "copy":
        return args[0]
    if op == "add" and NOTHING in args:
        return args[0] if args[1] is NOTHING else args[1]
    return node(op, *args, is_array=True)
