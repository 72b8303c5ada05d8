"""Coefficients that a trajectory's loop computes: of deferred tables, the operations and the numbers that they read."""

from collections.abc import Mapping
from dataclasses import dataclass

from optrun.kernels.deferred import Deferred, in_order
from optrun.kernels.lower import Instruction


@dataclass(frozen=True)
class Computation:
    """What is computed, in float64, of which kinds of numbers, but not of which ones."""

    leaves: tuple[tuple[str, str, bool], ...]
    """Each with its name, what it is of, and whether it is a condition."""
    instructions: tuple[Instruction, ...]
    results: tuple[tuple[str, str, bool], ...]
    """The coefficients, the values that they are, and whether these are conditions."""

    @classmethod
    def of(cls, tables: Mapping[str, Deferred]) -> tuple["Computation", dict[str, Deferred]]:
        """Return the form of tables, and the numbers that it is filled with, by name."""
        names: dict[int, str] = {}
        leaves: dict[str, Deferred] = {}
        instructions = []
        for value in in_order([*tables.values()]):
            name = names[id(value)] = f"_d{len(names)}"
            if value.args:
                operands = tuple(names[id(arg)] for arg in value.args)
                instructions.append(Instruction(value.op, name, operands))
            else:
                leaves[name] = value
        kinds = tuple((name, leaf.op, leaf.is_condition) for name, leaf in leaves.items())
        results = tuple((name, names[id(of)], of.is_condition) for name, of in tables.items())
        return cls(kinds, tuple(instructions), results), leaves
