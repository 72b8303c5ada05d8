"""Lowering: a folded program becomes a list of instructions on named buffers, ready for any engine."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from optrun.kernels.program import TENSOR_OPS, Node, in_order, node

OPERATORS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
    "eq": "==",
    "ne": "!=",
}
"""Operations that Python and C write alike, between their operands."""


@dataclass(frozen=True)
class Instruction:
    """`target = op(*operands)`; ``axis`` is that of a sum, -1 or -2, empty for all of them."""

    op: str
    target: str
    operands: tuple[str, ...]
    axis: str = ""


@dataclass(frozen=True)
class Listing:
    """A straight line of instructions.

    Buffers go by the names of the variables and `g`, which is only read; `_c0, _c1, …` are coefficients by their
    index, `_s0, _s1, …` the scratch of floats and `_b0, _b1, …` that of conditions.
    """

    instructions: tuple[Instruction, ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Of the scratch: each name with the shape of one lane, () where all arrays have one shape."""

    def names(self, prefix: str) -> list[str]:
        """Return the buffers whose name begins so, sorted."""
        return sorted({name for name in self._all() if name.startswith(prefix)})

    def variables(self) -> list[str]:
        """Return the variables that are read or written, and `g`, sorted."""
        return sorted({name for name in self._all() if not name.startswith("_")})

    def arguments(self) -> list[str]:
        """Return the arrays that an engine gives to what it makes of this: variables, then coefficients."""
        return self.variables() + self.names("_c")

    def _all(self) -> Iterable[str]:
        for instruction in self.instructions:
            yield from (instruction.target, *instruction.operands)


def scalar(name: str) -> str:
    """Return what the element of a buffer, or a coefficient or scratch as it is, is called in a generated loop."""
    return name if name.startswith("_") else f"at_{name}"


def lower(outputs: Mapping[str, Node], coefficients: Sequence[Node]) -> Listing:
    """Return the instructions that compute the outputs, in as few buffers as the order of work allows."""
    return _Lowering(
        {name: _computed(name, value) for name, value in outputs.items()}, coefficients
    ).listing()


def _computed(name: str, value: Node) -> Node:
    """Return an output as an operation: what is another buffer or a coefficient as it stands is copied."""
    is_unchanged = value.op == "input" and value.name == name
    needs_copy = not is_unchanged and (value.op == "input" or not value.is_array)
    return node("copy", value, is_array=True) if needs_copy else value


class _Lowering:
    def __init__(self, outputs: Mapping[str, Node], coefficients: Sequence[Node]) -> None:
        self.outputs = outputs
        values = in_order(outputs)
        self.inputs = {value.name: value for value in values if value.op == "input"}
        self.work = [value for value in values if value.op != "input"]
        self.place = {value: name for name, value in self.inputs.items()}
        self.place |= {coefficient: f"_c{index}" for index, coefficient in enumerate(coefficients)}
        self.last_read = {arg: index for index, value in enumerate(self.work) for arg in value.args}
        self.free: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}

    def listing(self) -> Listing:
        homes = self._homes()
        instructions = []
        for index, value in enumerate(self.work):
            operands = tuple(self.place[arg] for arg in value.args)
            # In the order of the arguments, so that every process names its scratch alike.
            released = [arg for arg in dict.fromkeys(value.args) if self.last_read[arg] == index]
            # An engine may fill the target of `where` with the last branch before it reads the others.
            kept = [arg for arg in released if arg is not value.args[2]] if value.op == "where" else []
            kept = released if value.op in TENSOR_OPS else kept
            self._release(arg for arg in released if arg not in kept)
            self.place[value] = homes.get(value) or self._take(value)
            self._release(kept)
            axis = value.name if value.op == "sum" else ""
            instructions.append(Instruction(value.op, self.place[value], operands, axis))
        for name, value in self.outputs.items():
            if self.place[value] != name:
                instructions.append(Instruction("copy", name, (self.place[value],)))
        return Listing(tuple(instructions), tuple(self.shapes.items()))

    def _homes(self) -> dict[Node, str]:
        """Return the values that can be written straight into a variable: nothing reads its old value later."""
        homes: dict[Node, str] = {}
        for name, value in self.outputs.items():
            old = self.inputs.get(name)
            if value.op == "input" or value in homes:
                continue
            is_read_later = self.last_read.get(old, -1) > self.work.index(value) if old else False
            is_kept_branch = value.op == "where" and value.args[1] is old
            is_read_elsewhere = value.op in TENSOR_OPS and old in value.args
            if not (is_read_later or is_kept_branch or is_read_elsewhere):
                homes[value] = name
        for value in self.outputs.values():
            self.last_read[value] = len(self.work)
        return homes

    def _take(self, value: Node) -> str:
        kind = ("_b" if value.is_condition else "_s", value.shape)
        if self.free.get(kind):
            return self.free[kind].pop()
        name = f"{kind[0]}{sum(taken.startswith(kind[0]) for taken in self.shapes)}"
        self.shapes[name] = value.shape
        return name

    def _release(self, values: Iterable[Node]) -> None:
        for value in values:
            place = self.place[value]
            if place in self.shapes:
                self.free.setdefault((place[:2], self.shapes[place]), []).append(place)
