"""CUDA source of a listing: one kernel, with scalars instead of scratch arrays.

Apart from the thread indices the kernels are plain C, so that tests can compile and run them without a GPU.
"""

import math
import sys
from collections.abc import Sequence

from optrun.kernels.bits import BITS, FORMATS, expression
from optrun.kernels.layout import COLUMN, ROW, Rows
from optrun.kernels.lower import OPERATORS, Instruction, Listing, number_of, scalar

OPTIONS = ("--fmad=false", "--prec-div=true", "--prec-sqrt=true", "--ftz=false")
"""Compiler options: every operation is rounded according to IEEE 754, and denormal numbers are kept."""

C_TYPES = {"float32": "float", "float64": "double", "bool": "bool", "intp": "long long"}


def step_source(listing: Listing, dtype: str, rows: Rows) -> str:
    """Return the kernel `step`, which runs all instructions for each element.

    Its arguments are the buffers and coefficients, then the number of rows and of columns, and the distance of two rows
    in memory; the elements of a row are contiguous.
    """
    real = C_TYPES[dtype]
    variables, coefficients = listing.variables(), listing.names("_c")
    written = {each.target for each in listing.instructions} & {*variables}
    types = {name: C_TYPES[value.dtype.name] for name, value in rows.values.items()}
    parameters = [
        *(f"{'' if name in written else 'const '}{real}* __restrict__ all_{name}" for name in variables),
        *(f"const {types[name]}* __restrict__ all_{name}" for name in coefficients),
        *(f"long long {name}" for name in ("rows", "columns", "distance")),
    ]
    lines = [
        f'extern "C" __global__ void step({", ".join(parameters)})',
        "{",
        *(
            f"    const {types[name]} {name} = all_{name}[0];"
            for name in coefficients
            if name not in rows.varying
        ),
        "    for (long long row = (long long)blockIdx.y * blockDim.y + threadIdx.y; row < rows;",
        "         row += (long long)gridDim.y * blockDim.y) {",
        *(f"        const {types[name]} {name} = all_{name}[row];" for name in rows.along(ROW)),
        "        for (long long column = (long long)blockIdx.x * blockDim.x + threadIdx.x; column < columns;",
        "             column += (long long)gridDim.x * blockDim.x) {",
        *(f"            const {types[name]} {name} = all_{name}[column];" for name in rows.along(COLUMN)),
        "            const long long at = row * distance + column;",
        *(f"            {real} at_{name} = all_{name}[at];" for name in variables),
        *(f"            {real} {name};" for name in listing.names("_s")),
        *(f"            bool {name};" for name in listing.names("_b")),
        *(f"            {line}" for line in both_bits(listing.instructions, dtype)),
        *(f"            {statement(each, dtype)}" for each in listing.instructions),
        *(f"            all_{name}[at] = at_{name};" for name in variables if name in written),
        "        }",
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def fetch_source(dtype: str) -> str:
    """Return the kernel `fetch`, which copies the next row of a table and advances the counter, in one block.

    A row holds ``width`` floats and ``flags`` bytes; ``next`` is the row index.
    """
    real = C_TYPES[dtype]
    return f"""\
extern "C" __global__ void fetch(const {real}* __restrict__ table, const unsigned char* __restrict__ conditions,
    {real}* __restrict__ now, unsigned char* __restrict__ now_conditions, long long* __restrict__ next,
    long long width, long long flags)
{{
    const long long row = next[0];
    __syncthreads();
    for (long long i = threadIdx.x; i < width; i += blockDim.x)
        now[i] = table[row * width + i];
    for (long long i = threadIdx.x; i < flags; i += blockDim.x)
        now_conditions[i] = conditions[row * flags + i];
    if (threadIdx.x == 0)
        next[0] = row + 1;
}}
"""


def watch_source(dtype: str) -> str:
    """Return the kernel `watch`, which stores the losses of step t in a row and marks the lanes that end at step t.

    ``distance`` is the distance of two losses in memory.
    """
    real = C_TYPES[dtype]
    return f"""\
extern "C" __global__ void watch(const {real}* __restrict__ loss, {real}* __restrict__ losses,
    double* __restrict__ best, long long* __restrict__ best_at, double* __restrict__ limit, bool* __restrict__ alive,
    bool* __restrict__ ending, long long t, long long row, double factor, double target, long long patience,
    long long lanes, long long distance)
{{
    for (long long lane = (long long)blockIdx.x * blockDim.x + threadIdx.x; lane < lanes;
         lane += (long long)gridDim.x * blockDim.x) {{
        const double value = loss[lane * distance];
        losses[row * lanes + lane] = loss[lane * distance];
        if (t == 0 && factor > 0) {{
            limit[lane] = fmin(factor * fmax(fabs(value), 1.0), {sys.float_info.max!r});
        }}
        bool ends = !(fabs(value) <= limit[lane]) || !(value > target);
        if (patience > 0) {{
            if (value < best[lane]) {{
                best[lane] = value;
                best_at[lane] = t;
            }}
            ends = ends || t - best_at[lane] >= patience;
        }}
        ending[lane] = ends && alive[lane];
        alive[lane] = alive[lane] && !ends;
    }}
}}
"""


def both_bits(instructions: Sequence[Instruction], dtype: str) -> list[str]:
    """Return the declaration of `both`, a number and its bits, where operations on bits need it."""
    integer = "unsigned int" if dtype == "float32" else "unsigned long long"
    is_needed = any(each.op in BITS for each in instructions)
    return [f"union {{ {C_TYPES[dtype]} number; {integer} bits; }} both;"] if is_needed else []


def statement(instruction: Instruction, dtype: str) -> str:
    """Return an instruction in a kernel, where scalars have the names of what it reads and writes."""
    target = scalar(instruction.target)
    if instruction.op in BITS:
        x, moved = (
            _operand(instruction.operands[0], dtype),
            expression(instruction.op, "both.bits", FORMATS[dtype]),
        )
        return f"both.number = {x}; both.bits = {moved}; {target} = both.number;"
    return f"{target} = {_expression(instruction, dtype)};"


def _operand(name: str, dtype: str) -> str:
    if not name.startswith("_k"):
        return scalar(name)
    value, suffix = number_of(name), "f" if dtype == "float32" else ""
    if not math.isfinite(value):
        top = 0.0 if math.isnan(value) else math.copysign(1.0, value)
        return f"({top}{suffix} / 0.0{suffix})"
    return f"{value!r}{suffix}"


def _expression(instruction: Instruction, dtype: str) -> str:
    op, operands = instruction.op, [_operand(name, dtype) for name in instruction.operands]
    real = C_TYPES[dtype]
    suffix = "f" if real == "float" else ""
    if op in OPERATORS:
        return f" {OPERATORS[op]} ".join(operands)
    x, *others = operands
    match op:
        case "copy":
            return x
        case "where":
            return f"{x} ? {others[0]} : {others[1]}"
        case "nonzero":
            return f"{x} != ({real})0"
        case "neg":
            return f"{x} * ({real})-1"
        case "not":
            return f"!{x}"
        case "sqrt" | "floor":
            return f"{op}{suffix}({x})"
        case "abs":
            return f"fabs{suffix}({x})"
        case "sign":
            return f"{x} > 0 ? ({real})1 : ({x} < 0 ? ({real})-1 : ({x} == 0 ? ({real})0 : {x}))"
        case "max" | "min":
            # As NumPy does: the second operand if both are zero, the first one if it is NaN.
            sign = ">" if op == "max" else "<"
            return f"{x} {sign} {others[0]} || {x} != {x} ? {x} : {others[0]}"
    raise NotImplementedError(op)
