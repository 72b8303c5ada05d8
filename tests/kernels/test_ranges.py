"""Ranges of deferred tables against their numbers: what is said of these holds, whatever they are made of."""

import numpy as np
import pytest

from optrun.kernels.deferred import DISTINCT, STEPS, Deferred
from optrun.kernels.ranges import range_of

T, B = 3, 5
SPECIAL = [0.0, -0.0, 1.0, 1e300, 1e-300, np.inf, -np.inf, np.nan]
OF_ONE = [np.sqrt, np.absolute, np.floor]
OF_TWO = [np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum]


def numbers(rng, *shape):
    usual = rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4)
    usual = np.absolute(usual) if rng.random() < 0.5 else usual
    return np.where(rng.random(shape) < rng.choice([0.0, 0.3]), rng.choice(SPECIAL, shape), usual)


def leaf(rng):
    match rng.integers(3):
        case 0:
            return Deferred(STEPS, values=numbers(rng, T, 1))
        case 1:
            return Deferred.of_lanes(numbers(rng, B))
    return Deferred(DISTINCT, values=numbers(rng, T, 2), index=rng.integers(0, 2, B).astype(np.intp))


def table(rng, depth):
    if not depth:
        return leaf(rng)
    x, y = table(rng, depth - 1), table(rng, rng.integers(depth))
    match rng.integers(6):
        case 0:
            return rng.choice(OF_ONE)(x)
        case 1:
            return np.where(rng.choice([np.greater, np.not_equal])(x, y), y, leaf(rng))
    return rng.choice(OF_TWO)(x, y)


@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_what_is_known_of_numbers_holds(rng, depth, together):
    known_at_all = 0
    with np.errstate(all="ignore"):
        for _ in range(200):
            deferred = table(rng, depth)
            known, found = range_of(deferred, together), np.broadcast_to(deferred.dense(), (T, B))
            rows, groups = np.arange(T) // together, (-(-T // together),)
            within = np.broadcast_to(known.is_within(lambda bound: bound == bound), groups)[rows]
            least = np.broadcast_to(known.low.min(axis=1), groups)[rows, None]
            most = np.broadcast_to(known.high.max(axis=1), groups)[rows, None]
            assert np.isfinite(found[within]).all()
            assert ((least <= found) & (found <= most))[within].all()
            assert (found[np.broadcast_to(known.is_not_zero("float64"), groups)[rows]] != 0).all()
            sizes = np.absolute(found[np.isfinite(found) & (found != 0)])
            assert known.least <= sizes.min(initial=np.inf)
            known_at_all += within.any()
    assert known_at_all > 20


def test_lanes_with_nothing_are_of_one_kind():
    """Two kinds here, however many lanes there are: the rates stay above their floor then, as far as it is known."""
    rates = Deferred.of_lanes(np.where(np.arange(2000) % 2, 0.0, 0.5))
    known = range_of(0.1 * rates + (rates - 0.1 * rates) * np.linspace(1, 0, T)[:, None])
    assert known.is_within(lambda bound: bound >= 0).all()
