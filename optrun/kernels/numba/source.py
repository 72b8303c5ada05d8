"""A listing as the source of one fused loop, which Numba compiles: scalars in place of scratch arrays."""

from collections.abc import Iterable

from optrun.kernels.layout import COLUMN, ROW, Rows
from optrun.kernels.lower import OPERATORS, Instruction, Listing, scalar


def source(listing: Listing, dtype: str, rows: Rows) -> str:
    """Return a module with the function `step`.

    Its arguments are the flat buffers and coefficients, the array `minus` of one -1, then the rows from … to, the
    distance of two rows in memory, and the columns from … to.
    """
    read, written = _variables(listing)
    buffers, coefficients = listing.variables(), listing.names("_c")
    shared = [name for name in coefficients if name not in rows.varying]
    by_row, by_column = rows.along(ROW), rows.along(COLUMN)
    names = ", ".join(f"all_{name}" for name in listing.arguments())
    lines = [
        '"""Made by optrun from the rule of an optimizer; safe to delete."""',
        "",
        "import numpy as np",
        "",
        f"zero, one = np.{dtype}(0), np.{dtype}(1)",
        "",
        "",
        f"def step({names}, minus, first_row, end_row, distance, first, end):",
        "    minus_one = minus[0]",
        *(f"    {name} = all_{name}[0]" for name in shared),
        *(f"    each_{name} = all_{name}[first:end]" for name in by_column),
        "    for row in range(first_row, end_row):",
        *(f"        {name} = all_{name}[row]" for name in by_row),
        "        start, stop = row * distance + first, row * distance + end",
        *(f"        row_{name} = all_{name}[start:stop]" for name in buffers),
        "        for column in range(end - first):",
        *(f"            {name} = each_{name}[column]" for name in by_column),
        *(f"            at_{name} = row_{name}[column]" for name in read),
        *(f"            {scalar(each.target)} = {_expression(each)}" for each in listing.instructions),
        *(f"            row_{name}[column] = at_{name}" for name in written),
    ]
    return "\n".join(lines) + "\n"


def _variables(listing: Listing) -> tuple[Iterable[str], Iterable[str]]:
    """Return the buffers whose old value is read, and those that are written."""
    read: dict[str, None] = {}
    written: dict[str, None] = {}
    for instruction in listing.instructions:
        named = [name for name in instruction.operands if not name.startswith("_")]
        read.update((name, None) for name in named if name not in written)
        if not instruction.target.startswith("_"):
            written[instruction.target] = None
    return read, written


def _expression(instruction: Instruction) -> str:
    op, operands = instruction.op, [scalar(name) for name in instruction.operands]
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
        case "sign":
            return f"one if {x} > zero else (-one if {x} < zero else (zero if {x} == zero else {x}))"
        case "max" | "min":
            # As in NumPy, the second one where both are zero, and the first one where it is NaN.
            sign = ">" if op == "max" else "<"
            return f"{x} if {x} {sign} {others[0]} or {x} != {x} else {others[0]}"
    raise NotImplementedError(op)
