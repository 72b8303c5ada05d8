"""A listing as the source of one fused loop, which Numba compiles: scalars in place of scratch arrays."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from optrun.kernels.bits import BITS, FORMATS, expression
from optrun.kernels.layout import COLUMN, ROW, Rows
from optrun.kernels.lower import OPERATORS, Instruction, Listing, scalar

MOST_PAIRS = 128
"""Of buffers of which one is written, each of which LLVM's vectors compare: it makes none where there are more.

What is written is then collected first, one block after another, in an array of the loop's own.
"""
BLOCK = 64
"""Elements of each buffer in it."""


def source(listing: Listing, dtype: str, rows: Rows) -> str:
    """Return a module with the function `step` and its signature.

    Its arguments are the addresses of flat arrays of numbers, those of conditions, and integers: the rows from … to,
    the distance of two rows in memory, and the columns from … to. After buffers and coefficients come `_minus`, which
    is -1, and `_out`, room for a block of each buffer.
    """
    return _source(listing, dtype, tuple(rows.varying.items()), tuple(rows.conditions()))


@lru_cache(256)
def _source(
    listing: Listing, dtype: str, varying: tuple[tuple[str, str], ...], conditions: tuple[str, ...]
) -> str:
    read, written = _variables(listing)
    buffers, coefficients = listing.variables(), listing.names("_c")
    along = {axis: [name for name, its in varying if its == axis] for axis in (ROW, COLUMN)}
    numbers = [*buffers, *(name for name in coefficients if name not in conditions), "_minus", "_out"]
    named = {name: f"all_{name}[%s]" for name in coefficients}
    named |= {name: f"all_{name}[%s] != 0" for name in conditions}
    is_split = len(written) * (2 * len(buffers) - len(written) - 1) > 2 * MOST_PAIRS
    into = "all__out[{place} + at]" if is_split else "all_{name}[start + at]"
    named_numbers = numbers_of(listing.instructions)
    to = {name: into.format(name=name, place=place * BLOCK) for place, name in enumerate(written)}
    lines = [
        *head(listing.instructions, dtype),
        "def step(numbers, conditions, integers):",
        "    first_row, end_row, distance = integers[0], integers[1], integers[2]",
        "    first, end = integers[3], integers[4]",
        *(f"    all_{name} = numbers[{place}]" for place, name in enumerate(numbers)),
        *(f"    all_{name} = conditions[{place}]" for place, name in enumerate(conditions)),
        "    minus_one = all__minus[0]",
        *(f"    {name} = {named[name] % 0}" for name in coefficients if name not in dict(varying)),
        f"    size = {BLOCK if is_split else 'max(1, end - first)'}",
        "    for row in range(first_row, end_row):",
        *(f"        {name} = {named[name] % 'row'}" for name in along[ROW]),
        "        for begin in range(first, end, size):",
        "            start = row * distance + begin",
        "            stop = min(size, end - begin)",
        "            for at in range(stop):",
        *(f"                {name} = {named[name] % 'begin + at'}" for name in along[COLUMN]),
        *(f"                at_{name} = all_{name}[start + at]" for name in read),
        *(
            f"                {scalar(each.target)} = {expression_of(each, dtype, named_numbers)}"
            for each in listing.instructions
        ),
        *(f"                {target} = at_{name}" for name, target in to.items()),
    ]
    for name, collected in to.items() if is_split else ():
        lines += [
            "            for at in range(stop):",
            f"                all_{name}[start + at] = {collected}",
        ]
    return "\n".join(lines) + "\n"


def _variables(listing: Listing) -> tuple[Collection[str], Collection[str]]:
    """Return the buffers whose old value is read, and those that are written."""
    read: dict[str, None] = {}
    written: dict[str, None] = {}
    for instruction in listing.instructions:
        named = [name for name in instruction.operands if not name.startswith("_")]
        read.update((name, None) for name in named if name not in written)
        if not instruction.target.startswith("_"):
            written[instruction.target] = None
    return read, written


def numbers_of(instructions: Sequence[Instruction]) -> dict[str, str]:
    """Return the names that a module has for the numbers in its instructions."""
    named = {name for each in instructions for name in each.operands if name.startswith("_k")}
    return {name: f"k{place}" for place, name in enumerate(sorted(named))}


def head(instructions: Sequence[Instruction], dtype: str, *imported: str) -> list[str]:
    """Return what a module has before its function `step`."""
    names = [*(["bits_of, number_of"] if any(each.op in BITS for each in instructions) else []), *imported]
    return [
        '"""Made by optrun; safe to delete."""',
        "",
        "import numpy as np",
        *([f"from optrun.kernels.numba.intrinsics import {', '.join(names)}"] if names else []),
        "",
        f'signature = "void(CPointer(CPointer({dtype})), CPointer(CPointer(uint8)), CPointer(intp))"',
        f"zero, one = np.{dtype}(0), np.{dtype}(1)",
        *(
            f'{short} = np.{dtype}(float.fromhex("{name[2:]}"))'
            for name, short in numbers_of(instructions).items()
        ),
        "",
        "",
    ]


def expression_of(instruction: Instruction, dtype: str, numbers: Mapping[str, str]) -> str:
    """Return an instruction's operation in a module."""
    op, operands = instruction.op, [numbers.get(name) or scalar(name) for name in instruction.operands]
    if op in BITS:
        form = FORMATS[dtype]
        return f"number_of(np.{form.integers}({expression(op, f'bits_of({operands[0]})', form)}))"
    if op in OPERATORS:
        return f" {OPERATORS[op]} ".join(operands)
    x, *others = operands
    match op:
        case "copy":
            return x
        case "where":
            return f"{others[0]} if {x} else {others[1]}"
        case "nonzero":
            return f"{x} != zero"
        case "neg":
            # By a number that the compiler does not know: it would flip the sign of a NaN, which NumPy leaves.
            return f"{x} * minus_one"
        case "sqrt":
            return f"np.sqrt({x})"
        case "abs":
            return f"abs({x})"
        case "floor":
            return f"np.floor({x})"
        case "not":
            return f"not {x}"
        case "sign":
            return f"one if {x} > zero else (-one if {x} < zero else (zero if {x} == zero else {x}))"
        case "max" | "min":
            # As in NumPy, the second one where both are zero, and the first one where it is NaN.
            sign = ">" if op == "max" else "<"
            return f"{x} if {x} {sign} {others[0]} or {x} != {x} else {others[0]}"
    raise NotImplementedError(op)
