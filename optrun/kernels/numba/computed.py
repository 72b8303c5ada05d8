"""Coefficients that a trajectory's loop computes: of deferred tables, the source and the arrays that it reads."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from optrun.arrays import Array
from optrun.kernels.deferred import DISTINCT, LANES, STEPS, Deferred, in_order
from optrun.kernels.lower import Instruction
from optrun.kernels.numba.source import expression_of


@dataclass(frozen=True)
class Computation:
    """What is computed of which kinds of numbers, but not of which ones."""

    leaves: tuple[tuple[str, str, bool], ...]
    """Each with its name, what it is of, and whether it is a condition."""
    instructions: tuple[Instruction, ...]
    results: tuple[tuple[str, str, bool], ...]
    """The coefficients, the values that they are, and whether these are conditions."""

    @classmethod
    def of(cls, tables: Mapping[str, Deferred]) -> tuple["Computation", list[Deferred]]:
        """Return the form of tables, and the numbers that it is filled with."""
        names: dict[int, str] = {}
        leaves, instructions, found = [], [], []
        for value in in_order([*tables.values()]):
            name = names[id(value)] = f"_d{len(names)}"
            if value.args:
                operands = tuple(names[id(arg)] for arg in value.args)
                instructions.append(Instruction(value.op, name, operands))
            else:
                leaves.append((name, value.op, value.is_condition))
                found.append(value)
        results = tuple((name, names[id(of)], of.is_condition) for name, of in tables.items())
        return cls(tuple(leaves), tuple(instructions), results), found

    def arguments(self, first: int, first_integer: int) -> Iterator[str]:
        """Yield the lines that read the addresses of the numbers, and the widths of their tables."""
        for place, (name, kind, _) in enumerate(self.leaves):
            yield f"    all{name} = doubles(numbers[{first + 2 * place}])"
            if kind == DISTINCT:
                yield f"    places{name} = places(numbers[{first + 2 * place + 1}])"
                yield f"    width{name} = integers[{first_integer + place}]"
                yield f"    own{name} = block(np.intp(0))"
            elif kind == LANES:
                yield f"    own{name} = block(np.float64(0))"
        for name, _, _ in self.results:
            yield f"    made{name} = block(zero)"

    def of_block(self) -> Iterator[str]:
        """Yield the lines that read the numbers of a lane of a block."""
        for name, kind, _ in self.leaves:
            if kind != STEPS:
                yield f"            own{name}[at] = {'places' if kind == DISTINCT else 'all'}{name}[lane]"

    def of_step(self, dtype: str) -> Iterator[str]:
        """Yield the lines that compute the coefficients of a block at a step."""
        if not self.results:
            return
        for name, kind, is_condition in self.leaves:
            if kind == STEPS:
                yield f"            {name} = all{name}[now]{' != 0' * is_condition}"
            elif kind == DISTINCT:
                yield f"            start{name} = now * width{name}"
        yield "            for at in range(BLOCK):"
        for name, kind, is_condition in self.leaves:
            if kind == LANES:
                yield f"                {name} = own{name}[at]{' != 0' * is_condition}"
            elif kind == DISTINCT:
                yield f"                {name} = all{name}[start{name} + own{name}[at]]{' != 0' * is_condition}"
        for each in self.instructions:
            yield f"                {each.target} = {expression_of(each, dtype, {})}"
        for name, value, is_condition in self.results:
            number = f"one if {value} else zero" if is_condition else f"np.{dtype}({value})"
            yield f"                made{name}[at] = {number}"


def numbers_of_leaves(leaves: list[Deferred], steps: int) -> list[Array]:
    """Return the arrays whose addresses `arguments` reads, two for each leaf."""
    arrays: list[Array] = []
    for leaf in leaves:
        shape = (1 if leaf.op == LANES else steps, leaf.values.shape[1])
        arrays.append(np.ascontiguousarray(np.broadcast_to(leaf.values, shape), np.float64))
        arrays.append(np.zeros(1, np.intp) if leaf.index is None else leaf.index)
    return arrays
