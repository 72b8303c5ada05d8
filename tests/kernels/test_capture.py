"""Capture: NumPy calls become a listing that computes the same, and what no loop can make is refused."""

import numpy as np
import pytest

from optrun.arrays import lane_sum
from optrun.kernels.capture import MOST_ELEMENTS, MOST_INSTRUCTIONS, Capture, NotCapturedError
from optrun.kernels.numpy_engine import NumpyEngine

LANES = 7


def captured(calls, dtype="float32"):
    capture = Capture(dtype)
    out = capture.unwritten((3, 1))
    calls(capture.inputs("x", 3, 1), out)
    return capture.captured({"out": out})


def run(calls, dtype="float32"):
    """Do `calls(x, out)` in numbers, and what is captured of them by the NumPy engine: all `[3, LANES]`."""
    x = np.random.default_rng(0).standard_normal((3, LANES)).astype(dtype)
    expected = np.empty_like(x)
    calls(x, expected)
    listed = captured(calls, dtype)
    found = np.empty_like(x)
    buffers = {
        f"{name}{i}": row[:, None] for name, of in (("x", x), ("out", found)) for i, row in enumerate(of)
    }
    NumpyEngine().bind(listed.listing, buffers | {"p": buffers["x0"]}, listed.coefficients)()
    return expected, found, listed


def views(x, out):
    np.subtract(x[::-1], np.float32(0.1), out=out)
    out[1:] *= x[:-1]
    out[0] = x[2]


def sums(x, out):
    terms = x * x
    out[:] = lane_sum(terms.T)


def conditions(x, out):
    positive = np.empty_like(x, bool)
    np.greater(x, 0, out=positive)
    np.multiply(x, positive, out=out)


def numbers(x, out):
    np.maximum(x, np.array([[0.5], [-0.0], [0.0]], x.dtype), out=out)
    np.divide(out, 3, out=out)


@pytest.mark.parametrize("calls", [views, sums, conditions, numbers])
def test_what_is_captured_has_the_bits_of_the_calls(calls):
    expected, found, _ = run(calls)
    assert found.tobytes() == expected.tobytes()


def test_constants_are_named_once_by_their_bits():
    found = run(numbers)[2]
    assert sorted(float(each).hex() for each in found.coefficients) == sorted(
        value.hex() for value in (0.5, -0.0, 0.0, 3.0)
    )


REFUSED = {
    "a sum in an order of its own": lambda x, out: np.sum(x, axis=0, out=out[0]),
    "a method that sums": lambda x, out: out.__setitem__(0, x.sum()),
    "a product of matrices": lambda x, out: np.matmul(np.ones((3, 3), np.float32), x, out=out),
    "a function that is no loop's": lambda x, out: np.exp(x, out=out),
    "another function": lambda x, out: out.__setitem__(slice(None), np.concatenate([x, x])[:3]),
    "a part of the elements": lambda x, out: np.add(x, x, out=out, where=np.ones((3, 1), bool)),
    "a branch": lambda x, out: np.add(x, 1, out=out) if x[0, 0] else None,
    "a branch on an array": lambda x, out: np.add(x, 1, out=out) if (x[:1] > 0) else None,
    "a comparison of a value": lambda x, out: np.add(x, 1, out=out) if x[0, 0] == 0 else None,
    "another precision": lambda x, out: np.multiply(x, np.float64(0.1), out=out),
    "arrays of another precision": lambda x, out: np.multiply(x, np.full((3, 1), 0.1), out=out),
    "a target with numbers": lambda x, out: np.add(x, x, out=np.empty((3, 1), np.float32)),
    "what nobody has written": lambda x, out: np.add(x, np.empty_like(x), out=out),
    "an output that nobody has written": lambda x, out: np.add(x[0], x[1], out=out[0]),
    "too many elements": lambda x, out: [
        np.add(x, x, out=out),
        *(np.empty_like(x) for _ in range(MOST_ELEMENTS // 3)),
    ],
    "too much": lambda x, out: [np.add(x, x, out=out) for _ in range(MOST_INSTRUCTIONS // 3 + 1)],
}


@pytest.mark.parametrize("calls", REFUSED.values(), ids=REFUSED)
def test_what_no_loop_can_make_is_refused(calls):
    with pytest.raises(NotCapturedError):
        captured(calls)
