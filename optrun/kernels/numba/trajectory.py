"""A function and a rule as the source of one loop over blocks of lanes, in which all steps of a block are made."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from optrun.kernels.lower import Instruction, Listing, scalar
from optrun.kernels.numba.computed import Computation
from optrun.kernels.numba.source import expression_of, head, numbers_of

INTEGERS = ("first", "end", "lanes", "across", "along", "steps", "recorded", "every", "width")
"""Lanes from … to, their number, the distances of two lanes and of two elements, the number of steps, the first
recorded one, the distance to the next, and the number of coefficients in a row.

Then come the distances of two rows of each column, and the steps at which lanes have ended.
"""
LINE_BYTES = 64
"""Of the processor's caches."""
ROWS_AHEAD = 12
"""So many rows before losses are written, their place is fetched: rows are far from each other in memory."""
NUMBERS = ("values", "shared", "within", "above", "losses", "last", "final", "minus")


@lru_cache(256)
def trajectory_source(
    function: Listing,
    rule: Listing,
    dim: int,
    dtype: str,
    columns: tuple[tuple[str, bool], ...],
    form: Computation,
    *,
    has_target: bool,
) -> str:
    """Return a module with the function `step` and its signature.

    Its arguments are the addresses of arrays of numbers, of conditions, and of integers: the variables of the rule,
    what `Watch` and `Stretch` have, the columns, of which it is told whether they are conditions, and what is deferred.
    """
    # A second comparison takes a fifth of the time of the loop.
    is_within = "abs(loss[at]) <= within[at]" + " and loss[at] > above" * has_target
    variables = variables_of(rule)
    blocks = [f"{name}_{i}" for name in variables for i in range(dim)]
    line = LINE_BYTES // np.dtype(dtype).itemsize
    instructions = [*_of_function(function), *(each for i in range(dim) for each in _of_element(rule, i))]
    named_numbers = numbers_of(instructions)
    numbers = [f"all_{name}" for name in variables] + [f"the_{name}" for name in NUMBERS]
    numbers += [f"all_{name}" for name, is_condition in columns if not is_condition]
    conditions = ["the_running", *(f"all_{name}" for name, is_condition in columns if is_condition)]
    is_true = {name: " != 0" if is_condition else "" for name, is_condition in columns}
    computed = {name: is_condition for name, _, is_condition in form.results}
    shared = [name for name in rule.names("_c") if name not in is_true and name not in computed]
    values = [name for name in map(value_of, function.names("_c")) if name not in is_true]
    ended = len(INTEGERS) + len(columns) + len(form.leaves)
    written = {each.target for each in instructions}
    lines = [
        *head(instructions, dtype, "block", "BLOCK", "doubles", "fetch", "places"),
        "def step(numbers, conditions, integers):",
        *(f"    {name} = integers[{place}]" for place, name in enumerate(INTEGERS)),
        *(f"    row{name} = integers[{len(INTEGERS) + place}]" for place, name in enumerate(is_true)),
        *(f"    {name} = numbers[{place}]" for place, name in enumerate(numbers)),
        *(f"    {name} = conditions[{place}]" for place, name in enumerate(conditions)),
        *form.arguments(len(numbers), len(INTEGERS) + len(columns)),
        "    minus_one, above = the_minus[0], the_above[0]",
        *(f"    {name} = the_values[{name[2:]}]" for name in values),
        *(f"    in_{name} = block(zero)" for name in blocks),
        *(f"    was_{i} = block(zero)" for i in range(dim)),
        "    loss, within, running = block(zero), block(zero), block(np.uint8(0))",
        "    for begin in range(first, end, BLOCK):",
        "        count = min(BLOCK, end - begin)",
        "        for at in range(BLOCK):",
        # Behind the last lane it comes again, and is not watched.
        "            lane = begin + min(at, count - 1)",
        *(
            f"            in_{name}_{i}[at] = all_{name}[lane * across + {i} * along]"
            for name in variables
            for i in range(dim)
        ),
        *form.of_block(),
        "            within[at] = the_within[lane]",
        "            running[at] = the_running[lane] if at < count else 0",
        "        due = recorded",
        "        start = begin",
        "        for now in range(steps):",
        *(f"            {name} = the_shared[now * width + {name[2:]}]" for name in shared),
        *(f"            start{name} = now * row{name} + begin" for name in is_true),
        *form.of_step(dtype),
        "            for at in range(BLOCK):",
        *(f"                {scalar(name)} = in_{name}[at]" for name in blocks),
        *(
            f"                {name} = made{name}[at]{' != zero' * is_condition}"
            for name, is_condition in computed.items()
        ),
        *(f"                was_{i}[at] = at_p_{i}" for i in range(dim)),
        *(f"                {name} = all_{name}[start{name} + at]{is_true[name]}" for name in is_true),
        *(
            f"                {scalar(each.target)} = {expression_of(each, dtype, named_numbers)}"
            for each in instructions
        ),
        *(f"                in_{name}[at] = {scalar(name)}" for name in blocks if name in written),
        "                loss[at] = _loss",
        "            ending = 0",
        "            for at in range(BLOCK):",
        f"                is_within = {is_within}",
        "                ending |= 0 if is_within else running[at]",
        "            if ending:",
        "                for at in range(count):",
        f"                    is_within = {is_within}",
        "                    if running[at] and not is_within:",
        "                        lane = begin + at",
        "                        running[at] = the_running[lane] = 0",
        f"                        integers[{ended} + lane - first] = now",
        "                        the_last[lane] = loss[at]",
        *(f"                        the_final[lane * {dim} + {i}] = was_{i}[at]" for i in range(dim)),
        "            if now == due:",
        f"                for at in range(0, count + {line}, {line}):",
        f"                    fetch(the_losses, start + {ROWS_AHEAD} * lanes + at)",
        "                for at in range(count):",
        "                    the_losses[start + at] = loss[at]",
        "                start += lanes",
        "                due += every",
        "        for at in range(count):",
        *(
            f"            all_{name}[(begin + at) * across + {i} * along] = in_{name}_{i}[at]"
            for name in variables
            for i in range(dim)
        ),
    ]
    return "\n".join(lines) + "\n"


def variables_of(rule: Listing) -> list[str]:
    """Return the parameters and the states of a rule."""
    return sorted({"p", *rule.variables()} - {"g"})


def value_of(name: str) -> str:
    """Return the name of a function's coefficient, of which the rule has its own."""
    return f"_f{name[2:]}" if name.startswith("_c") else name


def _of_function(listing: Listing) -> list[Instruction]:
    def renamed(name: str) -> str:
        if name.startswith("_"):
            return value_of(name)
        return "_loss" if name == "loss0" else f"p_{name[1:]}" if name[0] == "x" else f"_{name}"

    return [_renamed(each, renamed) for each in listing.instructions]


def _of_element(rule: Listing, i: int) -> list[Instruction]:
    def renamed(name: str) -> str:
        return name if name.startswith("_") else f"_grad{i}" if name == "g" else f"{name}_{i}"

    return [_renamed(each, renamed) for each in rule.instructions]


def _renamed(instruction: Instruction, renamed: Callable[[str], str]) -> Instruction:
    target, *operands = map(renamed, (instruction.target, *instruction.operands))
    return Instruction(instruction.op, target, tuple(operands))
