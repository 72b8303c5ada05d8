"""What is known of coefficients at each step, and what follows: the variables to compute, and the instructions."""

from functools import lru_cache
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.kernels.deferred import Deferred
from optrun.kernels.expand import expanded
from optrun.kernels.fold import Known, fold, live_variables
from optrun.kernels.lower import Listing, lower
from optrun.kernels.program import Node, Program, depends_on
from optrun.kernels.ranges import known_where


@lru_cache(1024)
def live_in(program: Program, constant: frozenset[tuple[Node, Known]]) -> frozenset[str]:
    """Return the variables to compute, given what is known of the coefficients at all steps."""
    return live_variables(program, dict(constant))


@lru_cache(1024)
def listing_of(program: Program, known: bytes, live: frozenset[str], dtype: str) -> Listing:
    """Return the instructions of a program, given what is known of its coefficients."""
    facts = dict(zip(program.coefficients, map(Known, known), strict=True))
    return lower(expanded(fold(program, facts, live), dtype), program.coefficients)


def known_shared(shared: Array) -> Array:
    """Return what is known of coefficients `[T, K]` that all lanes share; true counts as 1."""
    return np.where(shared == 0, Known.ZERO, np.where(shared == 1, Known.ONE, Known.UNKNOWN))


def known_at(column: Any, dtype: Any, steps: int) -> Array:
    """Return what is known of a coefficient `[T or 1, B or 1]` at each step."""
    if isinstance(column, Deferred):
        if column.is_condition:
            return np.full(steps, Known.UNKNOWN)
        is_not_zero = known_where(column, lambda known: known.is_not_zero(dtype), steps)
        return np.where(is_not_zero, Known.UNKNOWN, Known.SOME_ZERO)
    if column.dtype == bool:
        some = np.where(column.any(axis=1), Known.UNKNOWN, Known.ZERO)
        return np.where(column.all(axis=1), Known.ONE, some)
    zero = column == 0
    some = np.where(zero.any(axis=1), Known.SOME_ZERO, Known.UNKNOWN)
    one = np.where((column == 1).all(axis=1), Known.ONE, some)
    return np.where(zero.all(axis=1), Known.ZERO, one)


def known_throughout(known: Array, program: Program, scheduled: frozenset[str]) -> Array:
    """Return what is known of coefficients in several steps ``[T, K]``, with these hyperparameters scheduled.

    What holds in these steps alone is not used, unless it has to be: the next ones shall be the same program. A
    term whose coefficient is zero in some of them has the same bits as one that is zero in some lanes.
    """
    is_condition = np.array([each.is_condition for each in program.coefficients], bool)
    changes = np.array([depends_on(each, scheduled) for each in program.coefficients], bool)
    first = known[0]
    is_same = (known == first).all(axis=0)
    is_zero = ((known == Known.ZERO) | (known == Known.SOME_ZERO)).any(axis=0)
    kept = is_same & (is_condition | ~changes)
    joined: Array = np.where(kept, first, np.where(is_zero & ~is_condition, Known.SOME_ZERO, Known.UNKNOWN))
    return joined.astype(np.int8)
