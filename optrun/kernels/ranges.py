"""Ranges of deferred tables: bounds of the numbers of each step, without the numbers.

Operations are rounded monotonically, so those of bounds are bounds of the results. Lanes are taken together where they
differ by less than a factor of √2 in each number: then the range of a difference such as η - η · w is not much wider
than its numbers. Steps may be taken together, too, as a schedule changes little from one to the next.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.kernels.deferred import DISTINCT, LANES, LEAVES, Deferred, in_order

MOST_KINDS = 256
TOGETHER = 32
"""Steps that are taken at once where that tells enough."""
LEAST = 1e-290
"""Above the numbers of which a thread that takes denormals for zeros might make others."""


@dataclass(frozen=True)
class Range:
    """What is known of the numbers of steps, or of several steps together, and of kinds of lanes."""

    low: Array
    high: Array
    """Their bounds `[T or 1, K or 1]`."""
    least: float = 0.0
    """A lower bound of the magnitudes of those that are not zero."""

    def is_within(self, holds: Callable[[Array], Array]) -> Array:
        """Return where `[T or 1]` all numbers are finite, within bounds and, but for zeros, at least LEAST."""
        found = np.isfinite(self.low) & np.isfinite(self.high) & holds(self.low) & holds(self.high)
        return np.logical_and(self.least >= LEAST, found.all(axis=1))

    def is_not_zero(self, dtype: Any) -> Array:
        """Return where `[T or 1]` no number is zero in a dtype."""
        found: Array = np.all((self.low.astype(dtype) > 0) | (self.high.astype(dtype) < 0), axis=1)
        return found


def known_where(value: Deferred, test: Callable[[Range], Array], steps: int) -> Array:
    """Return at which steps `[T]` a test of ranges holds, as far as it is known.

    Steps are taken together, and one by one from the first to the last of which it is not known.
    """
    rows = len(value)
    together = np.broadcast_to(test(range_of(value, TOGETHER)), (-(-rows // TOGETHER),))
    found: Array = np.repeat(together, TOGETHER)[:rows]
    if unknown := np.flatnonzero(~found).tolist():
        part = slice(unknown[0], unknown[-1] + 1)
        found[part] = test(range_of(value.rows(part)))
    return np.broadcast_to(found, (steps,))


def range_of(value: Deferred, together: int = 1) -> Range:
    """Return the range of a table, and the least magnitude in it and in those it is made of."""
    values = in_order([value])
    order, starts = _kinds([each for each in values if each.op == LANES and each.values.shape[1] > 1])
    known: dict[int, Range] = {}
    with np.errstate(all="ignore"):
        for each in values:
            args = [known[id(arg)] for arg in each.args]
            if each.op in LEAVES:
                known[id(each)] = _of_leaf(each, order, starts, together)
            else:
                known[id(each)] = _CONDITION if each.is_condition else _RANGES[each.op](*args)
    least = min(known[id(each)].least for each in values)
    return Range(known[id(value)].low, known[id(value)].high, least)


def _kinds(leaves: Sequence[Deferred]) -> tuple[Array, Array]:
    """Return an order of the lanes in which those of a kind are beside each other, and where each kind starts."""
    if not leaves:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    keys = []
    with np.errstate(all="ignore"):
        for leaf in leaves:
            numbers = leaf.values[0].astype(np.float64)
            keys.append(np.copysign(np.floor(2 * np.log2(np.absolute(numbers))) + 4096, numbers))
    order = np.lexsort(keys)
    changes = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    return order, starts if len(starts) <= MOST_KINDS else np.zeros(1, np.intp)


def _of_leaf(leaf: Deferred, order: Array, starts: Array, together: int) -> Range:
    numbers = leaf.values.astype(np.float64)
    magnitudes = np.absolute(numbers)
    least = float(np.min(magnitudes, where=magnitudes > 0, initial=np.inf))
    if leaf.op == LANES and numbers.shape[1] > 1:
        sorted_ = numbers[0][order]
        bounds = (np.minimum.reduceat(sorted_, starts)[None], np.maximum.reduceat(sorted_, starts)[None])
    elif leaf.op == DISTINCT:
        bounds = numbers.min(axis=1, keepdims=True), numbers.max(axis=1, keepdims=True)
    else:
        bounds = numbers, numbers
    if len(numbers) > 1 and together > 1:
        firsts = range(0, len(numbers), together)
        bounds = np.minimum.reduceat(bounds[0], firsts), np.maximum.reduceat(bounds[1], firsts)
    return _hull(bounds, least)


def _hull(candidates: Sequence[Array], least: float) -> Range:
    low, high = candidates[0], candidates[0]
    for each in candidates[1:]:
        low, high = np.minimum(low, each), np.maximum(high, each)
    if not (np.isfinite(low.sum()) and np.isfinite(high.sum())):
        # Nothing is known of what has an infinite bound, nor of what is made of it: 0 · ∞ and ∞ - ∞ are NaN.
        is_known = np.isfinite(low) & np.isfinite(high)
        low, high = np.where(is_known, low, -np.inf), np.where(is_known, high, np.inf)
    return Range(low, high, least)


def _of_sum(x: Range, y: Range) -> float:
    # A sum that is not zero is a multiple of the last place of the smaller one.
    return min(x.least, y.least) * 2.0**-53


def _mul(x: Range, y: Range) -> Range:
    if x.low.min() >= 0 <= y.low.min():
        return _hull([x.low * y.low, x.high * y.high], x.least * y.least)
    return _hull([a * b for a, b in product((x.low, x.high), (y.low, y.high))], x.least * y.least)


def _div(x: Range, y: Range) -> Range:
    if x.low.min() >= 0 < y.low.min():
        return _hull([x.low / y.high, x.high / y.low], x.least / float(y.high.max()))
    crosses = (y.low <= 0) & (y.high >= 0)
    quotients = [np.where(crosses, np.nan, a / b) for a, b in product((x.low, x.high), (y.low, y.high))]
    most = float(np.maximum(np.absolute(y.low), np.absolute(y.high)).max())
    return _hull(quotients, x.least / most if most > 0 else 0.0)


def _where(condition: Range, x: Range, y: Range) -> Range:
    always, never = condition.low > 0, condition.high <= 0
    low = np.where(always, x.low, np.where(never, y.low, np.minimum(x.low, y.low)))
    high = np.where(always, x.high, np.where(never, y.high, np.maximum(x.high, y.high)))
    return _hull([low, high], min(x.least, y.least))


_RANGES: Mapping[str, Callable[..., Range]] = {
    "add": lambda x, y: _hull([x.low + y.low, x.high + y.high], _of_sum(x, y)),
    "sub": lambda x, y: _hull([x.low - y.high, x.high - y.low], _of_sum(x, y)),
    "mul": _mul,
    "div": _div,
    "sqrt": lambda x: _hull([np.sqrt(x.low), np.sqrt(x.high)], x.least**0.5),
    "abs": lambda x: _hull([np.absolute(of) for of in (x.low, np.clip(0.0, x.low, x.high), x.high)], x.least),
    "max": lambda x, y: _hull([np.maximum(x.low, y.low), np.maximum(x.high, y.high)], min(x.least, y.least)),
    "min": lambda x, y: _hull([np.minimum(x.low, y.low), np.minimum(x.high, y.high)], min(x.least, y.least)),
    "where": _where,
    "floor": lambda x: Range(np.floor(x.low), np.floor(x.high), 1.0),
}
_CONDITION = Range(np.zeros((1, 1)), np.ones((1, 1)), 1.0)
