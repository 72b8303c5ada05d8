"""Lowering: turn a folded program into instructions on named buffers, for any engine."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from optrun.kernels.program import TENSOR_OPS, Node, in_order, node, shape_of_slice

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
    "and": "&",
    "or": "|",
}
"""Binary operators, written alike in Python and C."""


@dataclass(frozen=True)
class Instruction:
    """`target = op(*operands)`; ``axis`` of a sum or maximum is -1, -2 or empty for all axes, of rows which they are.

    A sum that ``consumes`` its operand may overwrite it.
    """

    op: str
    target: str
    operands: tuple[str, ...]
    axis: str = ""
    consumes: bool = False


@dataclass(frozen=True)
class Listing:
    """A straight-line program of instructions.

    Buffers have the names of the variables and `g`, which is read only. `_c0, _c1, …` are the coefficients by index,
    `_s0, _s1, …` float scratch arrays, `_b0, _b1, …` boolean ones, and `_z0, _z1, …` float ones that are -0.0 where
    nothing is written to them. `_k` and a hexadecimal float is that number. In a function, `x|1:` is a slice of `x`.
    """

    instructions: tuple[Instruction, ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """The scratch arrays, each with the shape of one lane; () in elementwise rules."""

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.instructions, self.shapes))

    def names(self, prefix: str) -> list[str]:
        """Return the buffers or numbers whose name starts with a prefix, sorted."""
        return sorted(name for name in self._all if name.startswith(prefix))

    def variables(self) -> list[str]:
        """Return the variables that are read or written, and `g`, sorted."""
        return sorted(name for name in self._all if not name.startswith("_"))

    def arguments(self) -> list[str]:
        """Return the arguments of the function that an engine generates: variables, then coefficients."""
        return self.variables() + self.names("_c")

    @cached_property
    def _all(self) -> frozenset[str]:
        return frozenset(
            name.partition("|")[0] for each in self.instructions for name in (each.target, *each.operands)
        )


def number_of(name: str) -> float:
    """Return the value of a number `_k…`."""
    return float.fromhex(name[2:])


def scalar(name: str) -> str:
    """Return the name of a buffer's element in a generated loop; coefficients and scratch are scalars there."""
    return name if name.startswith("_") else f"at_{name}"


def lower(outputs: Mapping[str, Node], coefficients: Sequence[Node], *, overwrites: bool = True) -> Listing:
    """Return the instructions that compute the outputs; scratch arrays are reused as soon as possible.

    ``overwrites`` tells whether an instruction may write to a scratch array that it reads: that needs less memory, but
    NumPy takes twice as long where the array is a single element.
    """
    computed = {name: _computed(name, value) for name, value in outputs.items()}
    return _Lowering(computed, coefficients, overwrites).listing()


def _computed(name: str, value: Node) -> Node:
    """Return an output as an operation: another buffer or a coefficient is copied."""
    is_unchanged = value.op == "input" and value.name == name
    needs_copy = not is_unchanged and (value.op in ("input", "slice", "literal") or not value.is_array)
    return node("copy", value, is_array=True) if needs_copy else value


class _Lowering:
    def __init__(self, outputs: Mapping[str, Node], coefficients: Sequence[Node], overwrites: bool) -> None:
        self.outputs, self.overwrites = outputs, overwrites
        values = in_order(outputs)
        self.inputs = {value.name: value for value in values if value.op == "input"}
        self.work = [value for value in values if value.op not in ("input", "literal", "slice")]
        self.place = {value: name for name, value in self.inputs.items()}
        self.place |= {value: f"_k{value.name}" for value in values if value.op == "literal"}
        self.place |= {coefficient: f"_c{index}" for index, coefficient in enumerate(coefficients)}
        self.last_read = {_whole(arg): index for index, value in enumerate(self.work) for arg in value.args}
        self.free: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}

    def listing(self) -> Listing:
        in_place = self._in_place() | self._padded()
        instructions = []
        for index, value in enumerate(self.work):
            operands = tuple(self._place_of(arg) for arg in value.args)
            # In the order of the arguments, so that the names of scratch arrays are the same in every process.
            wholes = dict.fromkeys(map(_whole, value.args))
            released = [whole for whole in wholes if self.last_read[whole] == index]
            # An engine may fill the target of `where` with the last branch before it reads the other operands.
            kept = [arg for arg in released if arg is not value.args[2]] if value.op == "where" else []
            reads_others = value.op in TENSOR_OPS or not wholes.keys() >= {*value.args}
            kept = released if reads_others or not self.overwrites else kept
            self._release(arg for arg in released if arg not in kept)
            self.place[value] = in_place.get(value) or self._take(value)
            self._release(kept)
            if value.op == "pad":
                if operands[0] != (part := f"{self.place[value]}|{value.name}"):
                    instructions.append(Instruction("copy", part, operands))
                continue
            axis = value.name if value.op in ("sum", "amax", "rows") else ""
            consumes = value.op == "sum" and released == [value.args[0]] and operands[0].startswith("_s")
            instructions.append(Instruction(value.op, self.place[value], operands, axis, consumes))
        for name, value in self.outputs.items():
            if self.place[value] != name:
                instructions.append(Instruction("copy", name, (self.place[value],)))
        return Listing(tuple(instructions), tuple(self.shapes.items()))

    def _place_of(self, value: Node) -> str:
        is_part = value.op == "slice" and value.is_array
        return f"{self._place_of(value.args[0])}|{value.name}" if is_part else self.place[value]

    def _in_place(self) -> dict[Node, str]:
        """Return the values that can be written directly to a variable: its old value is not read later."""
        in_place: dict[Node, str] = {}
        for name, value in self.outputs.items():
            old = self.inputs.get(name)
            if value.op in ("input", "pad") or value in in_place:
                continue
            is_read_later = self.last_read.get(old, -1) > self.work.index(value) if old else False
            is_kept_branch = value.op == "where" and value.args[1] is old
            is_read_elsewhere = value.op in TENSOR_OPS and old in value.args
            if not (is_read_later or is_kept_branch or is_read_elsewhere):
                in_place[value] = name
        for value in self.outputs.values():
            self.last_read[value] = len(self.work)
        return in_place

    def _padded(self) -> dict[Node, str]:
        """Return the places of padded vectors, each an array of its own, and of values that are written there."""
        places: dict[Node, str] = {}
        readers: dict[Node, list[Node]] = {}
        for value in self.work:
            for arg in value.args:
                readers.setdefault(_whole(arg), []).append(value)
        for value in self.work:
            if value.op != "pad":
                continue
            places[value] = name = f"_z{len([each for each in places.values() if '|' not in each])}"
            self.shapes[name] = value.shape
            part, is_scalar = value.args[0], value.args[0].shape != shape_of_slice(value.shape, value.name)
            is_own = part in self.work and part.op not in TENSOR_OPS and part not in self.outputs.values()
            if is_own and not is_scalar and readers[part] == [value]:
                places[part] = f"{name}|{value.name}"
        return places

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
            if place in self.shapes and not place.startswith("_z"):
                self.free.setdefault((place[:2], self.shapes[place]), []).append(place)


def _whole(value: Node) -> Node:
    """Return what array a value is a slice of; itself unless it is one."""
    return _whole(value.args[0]) if value.op == "slice" and value.is_array else value
