"""A function and a rule as the source of one loop over blocks of lanes, in which all steps of a block are made."""

from functools import lru_cache

import numpy as np

from optrun.kernels.lower import scalar
from optrun.kernels.numba.computed import blocks, of_block, of_step
from optrun.kernels.numba.source import expression_of, head, numbers_of
from optrun.kernels.trajectory_plan import TrajectoryPlan

LINE_BYTES = 64
"""Of the processor's caches."""
ROWS_AHEAD = 12
"""So many rows before losses are written, their place is fetched: rows are far from each other in memory."""
POINTERS = {"float64": "doubles({})", "intp": "places({})"}
"""To arrays of these dtypes."""


@lru_cache(256)
def trajectory_source(plan: TrajectoryPlan) -> str:
    """Return a module with the function `step` and its signature.

    Its arguments are the addresses of the plan's arrays of numbers and `the_minus`, which is -1, those of conditions,
    and integers: the lanes from … to, and those of the plan.
    """
    # A second comparison takes a fifth of the time of the loop.
    is_within = "abs(loss[at]) <= within[at]" + " and loss[at] > above" * plan.has_target
    dim, dtype, elements, form = plan.dim, plan.dtype, plan.elements, plan.form
    line = LINE_BYTES // np.dtype(dtype).itemsize
    named_numbers = numbers_of(plan.instructions)
    numbers = {**{name: kind for name, kind in plan.arrays.items() if kind != "bool"}, "the_minus": dtype}
    conditions = [name for name, kind in plan.arrays.items() if kind == "bool"]
    is_true = {name: " != 0" if is_condition else "" for name, is_condition in plan.columns}
    computed = {name: is_condition for name, _, is_condition in form.results}
    written = {each.target for each in plan.instructions}
    lines = [
        *head(plan.instructions, dtype, "block", "BLOCK", "doubles", "fetch", "places"),
        "def step(numbers, conditions, integers):",
        *(f"    {name} = integers[{place}]" for place, name in enumerate(("first", "end", *plan.integers))),
        *(
            f"    {name} = {POINTERS.get(kind, '{}').format(f'numbers[{place}]')}"
            for place, (name, kind) in enumerate(numbers.items())
        ),
        *(f"    {name} = conditions[{place}]" for place, name in enumerate(conditions)),
        "    minus_one, above = the_minus[0], the_above[0]",
        *(f"    {name} = the_values[{name[2:]}]" for name in plan.values),
        *(f"    in_{name} = block(zero)" for name in elements),
        *(f"    was_{i} = block(zero)" for i in range(dim)),
        "    loss, within, running = block(zero), block(zero), block(np.uint8(0))",
        *blocks(form),
        "    for begin in range(first, end, BLOCK):",
        "        count = min(BLOCK, end - begin)",
        "        for at in range(BLOCK):",
        # Behind the last lane it comes again, and is not watched.
        "            lane = begin + min(at, count - 1)",
        *(
            f"            in_{name}_{i}[at] = all_{name}[lane * across + {i} * along]"
            for name in plan.variables
            for i in range(dim)
        ),
        *of_block(form),
        "            within[at] = the_within[lane]",
        "            running[at] = the_running[lane] if at < count else 0",
        "        due = recorded",
        "        start = begin",
        "        for now in range(steps):",
        *(f"            {name} = the_shared[now * width + {name[2:]}]" for name in plan.shared),
        *(f"            start{name} = now * row{name} + begin" for name in is_true),
        *of_step(form, dtype),
        "            for at in range(BLOCK):",
        *(f"                {scalar(name)} = in_{name}[at]" for name in elements),
        *(
            f"                {name} = made{name}[at]{' != zero' * is_condition}"
            for name, is_condition in computed.items()
        ),
        *(f"                was_{i}[at] = at_p_{i}" for i in range(dim)),
        *(f"                {name} = all_{name}[start{name} + at]{is_true[name]}" for name in is_true),
        *(
            f"                {scalar(each.target)} = {expression_of(each, dtype, named_numbers)}"
            for each in plan.instructions
        ),
        *(f"                in_{name}[at] = {scalar(name)}" for name in elements if name in written),
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
        "                        the_ended[lane] = now",
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
            for name in plan.variables
            for i in range(dim)
        ),
    ]
    return "\n".join(lines) + "\n"
