"""Coefficients that a trajectory's loop computes: the lines of its source."""

from collections.abc import Iterator

from optrun.kernels.computation import Computation
from optrun.kernels.deferred import DISTINCT, LANES, STEPS
from optrun.kernels.numba.source import expression_of


def blocks(form: Computation) -> Iterator[str]:
    """Yield the lines that make room for what lanes of a block have of their own."""
    for name, kind, _ in form.leaves:
        if kind != STEPS:
            yield f"    own{name} = block(np.{'intp' if kind == DISTINCT else 'float64'}(0))"
    for name, _, _ in form.results:
        yield f"    made{name} = block(zero)"


def of_block(form: Computation) -> Iterator[str]:
    """Yield the lines that read the numbers of a lane of a block."""
    for name, kind, _ in form.leaves:
        if kind != STEPS:
            yield f"            own{name}[at] = {'places' if kind == DISTINCT else 'all'}{name}[lane]"


def of_step(form: Computation, dtype: str) -> Iterator[str]:
    """Yield the lines that compute the coefficients of a block at a step."""
    if not form.results:
        return
    for name, kind, is_condition in form.leaves:
        if kind == STEPS:
            yield f"            {name} = all{name}[now]{' != 0' * is_condition}"
        elif kind == DISTINCT:
            yield f"            start{name} = now * row{name}"
    yield "            for at in range(BLOCK):"
    for name, kind, is_condition in form.leaves:
        if kind == LANES:
            yield f"                {name} = own{name}[at]{' != 0' * is_condition}"
        elif kind == DISTINCT:
            yield f"                {name} = all{name}[start{name} + own{name}[at]]{' != 0' * is_condition}"
    for each in form.instructions:
        yield f"                {each.target} = {expression_of(each, dtype, {})}"
    for name, value, is_condition in form.results:
        number = f"one if {value} else zero" if is_condition else f"np.{dtype}({value})"
        yield f"                made{name}[at] = {number}"
