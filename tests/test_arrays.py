"""Sums, powers, streams and views: against exact arithmetic and NumPy's own."""

import math
import operator
from fractions import Fraction

import numpy as np
import pytest

from optrun.arrays import LINE, Arrays, Parameters, lane_sum, power, stream


@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 1000])
def test_lane_sum_is_the_sum_in_any_layout(n, rng):
    terms = rng.normal(size=(5, n))
    found = [lane_sum(np.array(terms, order=order)) for order in "CF"]
    assert found[0].tobytes() == found[1].tobytes()
    for lane in range(5):
        assert found[0][lane] == pytest.approx(math.fsum(terms[lane]), rel=1e-12, abs=1e-13)
        assert lane_sum(terms[lane : lane + 1].copy())[0] == found[0][lane]


def test_power_is_accurate_and_does_not_depend_on_how_many_are_asked_for(rng):
    bases, exponents = rng.uniform(0, 1, 400), np.arange(400.0)
    together = power(bases, exponents)
    for base, exponent, found in zip(bases, exponents, together, strict=True):
        assert power(base, exponent) == found
        assert power([base, base], exponent).tolist() == [found, found]
        exact = float(Fraction(base) ** int(exponent))
        assert found == pytest.approx(exact, rel=1e-15, abs=1e-300)


def test_streams_depend_on_their_arguments_alone():
    drawn = {
        key: stream(*key).random()
        for key in [(0, "a"), (1, "a"), (0, "b"), (0, "a", 0), (0, "a", 1), (0, "a", 0, 0)]
    }
    assert len(set(drawn.values())) == len(drawn)
    assert all(stream(*key).random() == value for key, value in drawn.items())


@pytest.mark.parametrize("lane_fast", [False, True])
def test_views_are_the_flat_buffer(lane_fast, rng):
    params = Parameters({"a": (2, 3), "b": (), "c": (4,)}, lanes=5, lane_fast=lane_fast)
    params.data[:] = rng.normal(size=(5, 11))
    for name, view in params.items():
        assert np.shares_memory(view, params.data)
        assert view.shape == (5, *params.shapes[name])
    params["a"][3, 1, 2] = 42
    assert params.data[3, 5] == 42
    params.grads["c"][:] = 7
    assert params.grad[:, 7:].tolist() == [[7] * 4] * 5


@pytest.mark.parametrize("name", ["data", "grad"])
def test_the_buffers_are_written_but_not_replaced(name):
    params = Parameters({"a": (3,)})
    buffer = getattr(params, name)
    with pytest.raises(AttributeError, match=rf"write params\.{name}\[:\] = "):
        setattr(params, name, np.ones((1, 3), np.float32))
    setattr(params, name, operator.iadd(getattr(params, name), 2))
    assert getattr(params, name) is buffer
    assert buffer.tolist() == [[2, 2, 2]]


@pytest.mark.parametrize("lane_fast", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_buffers_are_zeros_that_begin_with_a_cache_line(dtype, lane_fast):
    # Held, so that every one lies elsewhere.
    held = [
        Arrays(dtype=dtype).zeros(lanes, size, lane_fast=lane_fast)
        for lanes in (1, 3)
        for size in (0, 1, 7, 1000)
    ]
    for buffer in held:
        assert (buffer.dtype, buffer.any()) == (dtype, False)
        assert buffer.flags.f_contiguous if lane_fast else buffer.flags.c_contiguous
        assert not buffer.size or buffer.ctypes.data % LINE == 0
