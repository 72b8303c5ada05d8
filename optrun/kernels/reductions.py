"""Reductions within a step: numbers per lane that depend on all elements of an array, such as the norm of a gradient.

A step with reductions is made in stages. Each computes the arrays to be added, and adds them up, in an order that does
not depend on the lanes, the engine, the layout or the groups. Then the numbers that depend on the sums are evaluated on
the host, in float64 like all coefficients, and the next stage, or the update itself, reads them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, reduce

import numpy as np
from numpy.lib.stride_tricks import as_strided

from optrun.arrays import Array, arrays_of, lane_sum
from optrun.kernels.evaluate import evaluate
from optrun.kernels.program import COUNT, LOSS, OF_STEP, REDUCED, Node, Program

TERMS = "terms_"

Sums = dict[int, dict[str, Array]]
"""Sums `[B]` over tensors, by the key of their reduction, the same in all programs, and the name of the tensor."""


@dataclass(frozen=True, eq=False)
class Reductions:
    """The reductions of a program, and what depends on them."""

    program: Program

    @cached_property
    def late_states(self) -> frozenset[str]:
        """The scalar states that depend on reductions, of this step or of earlier ones."""
        found: frozenset[str] = frozenset()
        while True:
            more = {name for name, value in self.program.scalar_states.items() if _is_late(value, found)}
            if more <= found:
                return found
            found |= more

    @cached_property
    def late(self) -> tuple[int, ...]:
        """The indices of the coefficients that depend on reductions."""
        return tuple(index for index, each in enumerate(self.program.coefficients) if self.is_late(each))

    def is_late(self, value: Node) -> bool:
        """Return whether a number depends on reductions."""
        return _is_late(value, self.late_states)

    @cached_property
    def over_run(self) -> frozenset[int]:
        """The keys of what is added up, or counted, over the run."""
        return frozenset(key_of(each) for each in self.program.reduced if each.name == "run")

    @cached_property
    def stages(self) -> tuple[Program, ...]:
        """Programs that compute what is to be added, in arrays named after the places of the reductions."""
        found: dict[int, dict[str, Node]] = {}
        for place, each in enumerate(self.program.reduced):
            if each.op == REDUCED:
                found.setdefault(_depth(each), {})[f"{TERMS}{place}"] = each.args[0]
        return tuple(
            Program(found[depth], self.program.coefficients, kept=frozenset(found[depth]))
            for depth in sorted(found)
        )

    def table(self, t: Array, values: Mapping[str, Array]) -> dict[Node, Array]:
        """Return the parts of late numbers that are known at the steps t, each `[T or 1, B or 1]`."""
        known: dict[Node, Array] = {}
        memo: dict[Node, Array] = {}

        def visit(value: Node) -> None:
            if value in known or value.op in OF_STEP:
                return
            if self.is_late(value):
                for arg in value.args:
                    visit(arg)
            else:
                known[value] = evaluate(value, t, values, memo)

        for index in self.late:
            visit(self.program.coefficients[index])
        for name in self.late_states:
            visit(self.program.scalar_states[name])
        return known


_reductions_of = cache(Reductions)


class Late:
    """The numbers of a stepper that depend on reductions, within one step."""

    def __init__(self, program: Program, lanes: int) -> None:
        self.reductions = _reductions_of(program)
        self.states = {name: np.zeros((1, lanes)) for name in self.reductions.late_states}
        """The scalar states `[1, B]` that depend on reductions, before the step."""
        self._program, self._lanes = program, lanes
        self._table: dict[Node, Array] = {}
        self._known: dict[Node, Array] = {}
        self._waiting: list[int] = []

    def prepare(self, t: Array, values: Mapping[str, Array]) -> None:
        """Evaluate what is known of the steps t; the arguments are those of `evaluate`."""
        self._table = self.reductions.table(t, values)

    def begin(self, row: int, counts: Mapping[str | int, int], loss: Array | None) -> None:
        """Begin the step of a row; the arguments are those of `Stepper.begin`."""
        self._known = {value: rows[row % len(rows)][None] for value, rows in self._table.items()}
        for each in self._program.reduced:
            if each.op == COUNT:
                count = counts[key_of(each) if each.name == "run" else each.name]
                self._known[each] = np.full((1, 1), float(count))
            elif each.op == LOSS:
                assert loss is not None
                self._known[each] = loss[None]
        self._waiting = list(self.reductions.late)

    def learn(self, sums: Mapping[int, Array]) -> Iterable[tuple[int, Array]]:
        """Add sums by their keys; yield each coefficient that is known now, by its index, as `[1, B or 1]`."""
        for each in self._program.reduced:
            if each.op == REDUCED and key_of(each) in sums:
                self._known[each] = sums[key_of(each)][None]
        left = []
        for index in self._waiting:
            coefficient = self._program.coefficients[index]
            if all(each in self._known for each in _reduced_in(coefficient)):
                yield index, self._value(coefficient)
            else:
                left.append(index)
        self._waiting = left

    def finish(self) -> None:
        """Set the scalar states after the step."""
        new = {name: self._value(self._program.scalar_states[name]) for name in self.states}
        self.states = {name: np.broadcast_to(value, (1, self._lanes)) for name, value in new.items()}

    def _value(self, value: Node) -> Array:
        with np.errstate(all="ignore"):
            found = evaluate(value, np.empty((0, 1)), self.states, self._known)
        # NumPy gives NaN of NaNs another sign in a lane that it computes with others.
        return found if found.dtype == bool else np.where(np.isnan(found), np.nan, found)


@cache
def _reduced_in(value: Node) -> tuple[Node, ...]:
    """Return the reductions of this step that a number reads itself, not by way of arrays."""
    if value.op in OF_STEP:
        return (value,)
    return tuple(dict.fromkeys(each for arg in value.args for each in _reduced_in(arg)))


@dataclass(frozen=True)
class Stack:
    """The terms `[B, k, n]` of k tensors of equal sizes."""

    tensors: Sequence[str]
    terms: Array

    def sums(self) -> dict[str, Array]:
        """Return the sum `[B]` of each tensor, in float64 on the host; the terms are overwritten."""
        if not self.terms.shape[-1]:
            return dict.fromkeys(self.tensors, np.zeros(len(self.terms)))
        found = lane_sum(self.terms)
        found = found if isinstance(found, np.ndarray) else arrays_of(found).to_host(found)
        return dict(zip(self.tensors, found.astype(np.float64).T, strict=True))


def stacks_of(terms: Mapping[str, Array]) -> list[Stack]:
    """Return the terms of tensors as few stacks: those of equal sizes at equal distances in memory are one.

    The layers of a network often are, and an addition of many small arrays takes little longer than that of one.
    """
    alike: dict[tuple[object, ...], list[tuple[int, str, Array]]] = {}
    for name, array in terms.items():
        flat = array.reshape(len(array), -1)
        is_on_host = isinstance(flat, np.ndarray)
        place = flat.__array_interface__["data"][0] if is_on_host else 0
        owner = id(flat.base) if is_on_host and flat.base is not None else name
        alike.setdefault((flat.shape, flat.strides, owner), []).append((place, name, flat))
    stacks = []
    for found in alike.values():
        rest = sorted(found, key=lambda each: each[0])
        while rest:
            step = rest[1][0] - rest[0][0] if len(rest) > 1 else 0
            count = next((i for i, each in enumerate(rest) if each[0] != rest[0][0] + i * step), len(rest))
            stacks.append(Stack([name for _, name, _ in rest[:count]], _stacked(rest[0][2], count, step)))
            rest = rest[count:]
    return stacks


def _stacked(first: Array, count: int, step: int) -> Array:
    if count == 1:
        return first[:, None]
    (lanes, n), (to_lane, to_element) = first.shape, first.strides
    return as_strided(first, (lanes, count, n), (to_lane, step, to_element))


def place_of(name: str) -> int:
    """Return the place of the reduction that adds up an array of this name."""
    return int(name.removeprefix(TERMS))


def joined(sums: Iterable[Sums]) -> Sums:
    """Return the sums over the tensors of several parts or groups."""
    every: Sums = {}
    for each in sums:
        for key, of_tensors in each.items():
            every.setdefault(key, {}).update(of_tensors)
    return every


def totals(sums: Sums) -> dict[int, Array]:
    """Return the sums over all tensors, added in the order of their names, whatever the groups are."""
    return {
        key: reduce(np.add, [of_tensors[name] for name in sorted(of_tensors)])
        for key, of_tensors in sums.items()
    }


def key_of(value: Node) -> int:
    """Return a number that the sums of all rules share which are to be added up, and their counts, in this process."""
    known = (value.name, value.value) if value.value else (value.name, *map(_expression, value.args))
    return _KEYS.setdefault(known, len(_KEYS))


_KEYS: dict[tuple[object, ...], int] = {}


@cache
def _expression(value: Node) -> int:
    """Return a number that equal expressions of arrays of any shape share, in this process."""
    known = (value.op, value.name, value.value, *map(_expression, value.args))
    return _EXPRESSIONS.setdefault(known, len(_EXPRESSIONS))


_EXPRESSIONS: dict[tuple[object, ...], int] = {}


@cache
def _is_late(value: Node, late_states: frozenset[str]) -> bool:
    if value.op == "scalar_state":
        return value.name in late_states
    return value.op in OF_STEP or any(_is_late(arg, late_states) for arg in value.args if not arg.is_array)


@cache
def _depth(value: Node) -> int:
    """Return how many reductions follow upon each other until a value is known."""
    below = max(map(_depth, value.args), default=0)
    return below + 1 if value.op in OF_STEP else below
