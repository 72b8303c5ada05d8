"""Folding: eliminate operations by what is known about the coefficients of a pack, without changing a bit.

Terms with a zero coefficient are eliminated, per lane: `a + c·x` is `a` in a lane where c = 0, hence 0 · inf is 0.
If c = 0 in every lane, the term is dropped from the program; if c = 0 in some lanes, the sum is computed and those
lanes select `a`. So the bits of a lane do not depend on the other lanes of its pack.
"""

from collections.abc import Mapping, Set
from enum import IntEnum

from optrun.kernels.program import (
    GIVEN,
    Node,
    Program,
    coefficients_of,
    in_order,
    node,
    nodes_below,
    reduced_below,
)


class Known(IntEnum):
    """What is known about a coefficient in all lanes; a condition is ONE if true and ZERO if false."""

    UNKNOWN = 0
    ZERO = 1
    ONE = 2
    SOME_ZERO = 3


def fold(program: Program, known: Mapping[Node, Known], live: Set[str]) -> dict[str, Node]:
    """Return the outputs of the live variables, without the operations that ``known`` makes redundant."""
    rebuilt: dict[Node, Node] = {}
    outputs = {name: value for name, value in program.outputs.items() if name in live}
    for value in in_order(outputs):
        args = tuple(rebuilt.get(arg, arg) for arg in value.args)
        rebuilt[value] = _shaped(_simplify(value, args, known), value.shape)
    return {name: rebuilt.get(value, value) for name, value in outputs.items()}


def live_variables(program: Program, known: Mapping[Node, Known]) -> frozenset[str]:
    """Return the variables to compute: the kept ones, and all states on which these depend now or in a later step.

    ``known`` holds unless a hyperparameter is set by hand. A state that stays zero, such as the momentum buffer of
    plain SGD, is neither computed nor allocated. A state that changes is computed even if nothing reads it yet:
    momentum accumulates gradients even while the learning rate is zero.
    """
    folded = fold(program, known, program.outputs.keys())
    resting = {name for name, value in folded.items() if value.op == "input" and value.name == name}
    whole = _dependencies(program, program.outputs, program.kept)
    return _dependencies(program, folded, program.kept | (whole - resting))


def read_hyperparameters(program: Program, known: Mapping[Node, Known]) -> frozenset[str]:
    """Return the hyperparameters on which the kept variables depend, now or in a later step."""
    folded = fold(program, known, program.outputs.keys())
    wanted = {name: folded[name] for name in _dependencies(program, folded, program.kept)}
    left, seen, read = coefficients_of(wanted), set[Node](), set[str]()
    while left:
        if (value := left.pop()) in seen:
            continue
        seen.add(value)
        if value.op == "hyperparameter":
            read.add(value.name)
        left += [program.scalar_states[value.name]] if value.op == "scalar_state" else value.args
    return frozenset(read)


def _dependencies(program: Program, outputs: Mapping[str, Node], wanted: Set[str]) -> frozenset[str]:
    """Return the variables, and those on which they depend now or in a later step."""
    reached: set[str] = set()
    found = set(wanted)
    while found:
        reached |= found
        some = {name: outputs[name] for name in found}
        values = {*in_order(some)}
        if program.reduced:
            values |= nodes_below(reduced_below(_numbers(program, some)))
        found = {value.name for value in values if value.op == "input"} - reached - GIVEN
    return frozenset(reached)


def _numbers(program: Program, outputs: Mapping[str, Node]) -> set[Node]:
    """Return the coefficients that the outputs read, and what the scalar states among these are made of."""
    found: set[Node] = set()
    left = set(coefficients_of(outputs))
    while left:
        found |= left
        below = nodes_below(left)
        left = {program.scalar_states[each.name] for each in below if each.op == "scalar_state"} - found
    return found


def _simplify(value: Node, args: tuple[Node, ...], known: Mapping[Node, Known]) -> Node:
    """Return the simplest equivalent of an operation on simplified arguments."""
    if value.op == "input":
        return value
    if value.op == "where":
        condition, if_true, if_false = args
        fixed = {Known.ONE: if_true, Known.ZERO: if_false}.get(known.get(condition, Known.UNKNOWN))
        return fixed or node("where", *args, is_array=True, shape=value.shape)
    if value.op == "mul":
        for one, other in (args, args[::-1]):
            if known.get(one) is Known.ONE:
                return other
    if value.op in ("add", "sub"):
        # The factors are taken from the rule as written: those of a simplified argument depend on the coefficients
        # that all lanes share.
        return _sum(value.op, args, tuple(_factor(arg) for arg in value.args), known)
    return node(value.op, *args, name=value.name, is_array=True, shape=value.shape)


def _shaped(value: Node, shape: tuple[int, ...]) -> Node:
    """Return the value broadcast to a shape: without an eliminated term a sum may have a smaller one."""
    return value if value.shape == shape else node("copy", value, is_array=True, shape=shape)


def _sum(op: str, terms: tuple[Node, ...], factors: tuple[Node, ...], known: Mapping[Node, Known]) -> Node:
    """Return left ± right without the terms whose coefficient is zero."""
    left, right = terms
    without_left = right if op == "add" else node("neg", right, is_array=True)
    left_known, right_known = (known.get(factor) for factor in factors)
    total = without_left if left_known is Known.ZERO else node(op, left, right, is_array=True)
    if left_known is Known.SOME_ZERO:
        total = node("where", _is_nonzero(factors[0]), total, without_left, is_array=True)
    if right_known is Known.SOME_ZERO:
        total = node("where", _is_nonzero(factors[1]), total, left, is_array=True)
    return left if right_known is Known.ZERO else total


def _factor(term: Node) -> Node:
    """Return c of a term c·x; the term itself if it has another form."""
    if term.op == "mul":
        for arg in term.args:
            if not arg.is_array:
                return arg
    return term


def _is_nonzero(coefficient: Node) -> Node:
    # Compared as an array, after the cast: a coefficient that underflows in the parameters' dtype is zero there.
    return node("nonzero", coefficient, is_array=True)
