"""The words of rules and functions: accurate, and the same bits on every engine."""

import numpy as np
import pytest

from optrun import ops
from optrun.arrays import Arrays
from optrun.kernels.cuda.source import step_source
from optrun.kernels.differentiate import gradient
from optrun.kernels.evaluate import evaluate
from optrun.kernels.expand import expanded
from optrun.kernels.formula import Formula
from optrun.kernels.layout import Rows
from optrun.kernels.lower import lower
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.kernels.program import coefficients_of, node
from optrun.kernels.symbols import ELEMENTS, Symbol, constants, tracing
from tests.gpu.compiled_c import compiled, needs_a_compiler
from tests.kernels.engines import EVERY_ENGINE

EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-42, -1e-42, 1e-310, 700.0, -700.0, 89.0, 9.5]
WORDS = {
    "exp": (ops.exp, -700, 700),
    "log": (ops.log, 1e-3, 1e6),
    "log1p": (ops.log1p, -0.9, 10),
    "sin": (ops.sin, -1000, 1000),
    "cos": (ops.cos, -1000, 1000),
    "arctan": (ops.arctan, -50, 50),
    "tanh": (ops.tanh, -10, 10),
}
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def everything(x, y):
    """All words that are more than one operation of the processor."""
    joined = ops.where((x > 0) & ~(y > 1) | (y < -2), 1.0, y) + (x > y)
    whole = x % 3.0 + 7.0 // x + ops.mod(y, x) + ops.clip(x, -1.0, 2.0) + x**3 + abs(y) ** -1.5 + 2.0**y
    return joined + whole + ops.power(ops.abs(x), 1.7) + sum(word(y) for word, _, _ in WORDS.values())


def listed(function, dtype):
    x, y = (Symbol(node("input", name=name, is_array=True)) for name in ("p", "g"))
    with tracing(ELEMENTS):
        outputs = {"out": function(x, y).node}
    coefficients = coefficients_of(outputs)
    return lower(expanded(outputs, dtype), coefficients), [np.array(c.value, dtype) for c in coefficients]


def computed(bind, function, x, y):
    """Return what an engine makes of `function(x, y)`."""
    listing, coefficients = listed(function, x.dtype.name)
    buffers = {"p": x.copy(), "g": y.copy(), "out": np.empty_like(x)}
    with np.errstate(all="ignore"):
        bind(listing, buffers, coefficients)()
    return buffers["out"]


def by_c(listing, buffers, coefficients):
    rows = Rows.of(listing, buffers["p"], coefficients)
    step = compiled(step_source(listing, buffers["p"].dtype.name, rows), "step")
    given = [buffers[name] if name in buffers else rows.values[name] for name in listing.arguments()]
    return lambda: step(*given, rows.rows, rows.columns, rows.distance)


def known(values):
    return np.where(np.isnan(values), np.nan, values).tobytes()


def operands(dtype, rng):
    x, y = (5 * rng.standard_normal((2, 4, 65))).astype(dtype)
    with np.errstate(over="ignore"):
        for place, values in ((0, x), (3, y)):
            values.flat[place::5] = np.resize(EDGES, values.flat[place::5].shape).astype(dtype)
    return x, y


@EVERY_ENGINE
@each_dtype
def test_every_engine_has_the_bits_of_every_other(engine, dtype, rng):
    x, y = operands(dtype, rng)
    expected = computed(NumpyEngine().bind, everything, x, y)
    assert known(computed(engine().bind, everything, x, y)) == known(expected)
    for lane in range(len(x)):  # alone, and in another layout
        one = computed(
            engine().bind, everything, *(np.asfortranarray(each[lane : lane + 1]) for each in (x, y))
        )
        assert known(one) == known(expected[lane : lane + 1])


@each_dtype
def test_the_source_for_a_device_has_the_bits_of_numpys_calls(dtype, rng):
    needs_a_compiler()
    x, y = operands(dtype, rng)
    assert known(computed(by_c, everything, x, y)) == known(computed(NumpyEngine().bind, everything, x, y))


@each_dtype
@pytest.mark.parametrize("name", WORDS)
def test_words_are_within_two_units_in_the_last_place(name, dtype, rng):
    mpmath = pytest.importorskip("mpmath")
    word, least, most = WORDS[name]
    limit = np.log(np.finfo(dtype).max) - 1
    x = rng.uniform(max(least, -limit), min(most, limit), (1, 500)).astype(dtype)
    x[0, ::2] = rng.uniform(0.01, 2, 250)
    x[0, ::7] = np.arange(1, 73) * np.pi / 4
    with mpmath.workprec(150):
        exact = [
            getattr(mpmath, {"arctan": "atan"}.get(name, name))(mpmath.mpf(float(each))) for each in x[0]
        ]
        found = computed(NumpyEngine().bind, lambda x, y: word(x), x, x)[0]
        units = np.spacing(np.abs(np.array([float(each) for each in exact]).astype(dtype)))
        off = [
            abs(mpmath.mpf(float(each)) - true) / float(unit)
            for each, true, unit in zip(found, exact, units, strict=True)
        ]
    assert max(off) < 2.2


@each_dtype
@pytest.mark.parametrize("name", ["exp", "log", "log1p", "arctan", "tanh"])
def test_words_say_at_the_edges_what_numpy_says(name, dtype):
    with np.errstate(all="ignore"):
        x = np.array([EDGES]).astype(dtype)
        found = computed(NumpyEngine().bind, lambda x, y: WORDS[name][0](x), x, x)
        np.testing.assert_allclose(found, getattr(np, name)(x), rtol=1e-6)


@each_dtype
def test_sine_and_cosine_do_not_guess(dtype):
    x = np.array([[np.inf, -np.inf, np.nan, 1e7, -1e7]], dtype)
    for word in (ops.sin, ops.cos):
        assert np.isnan(computed(NumpyEngine().bind, lambda x, y, word=word: word(x), x, x)).all()


def test_coefficients_have_the_words_too():
    t = np.arange(1.0, 6.0)[:, None]
    symbol = Symbol(node("t"))
    for name, (word, _, _) in WORDS.items():
        np.testing.assert_allclose(
            evaluate(word(symbol / 7).node, t, {}, {}), getattr(np, name)(t / 7), rtol=1e-15, err_msg=name
        )


VECTORS = {
    "arithmetic": lambda x: ops.sum(x[1:] * x[:-1] / (2 + x[1:] ** 2) - 3 / x[:-1] ** 2) * x[0] - x[-1],
    "words": lambda x: ops.sum(
        ops.exp(x / 2) * ops.sin(x) + ops.log(x**2 + 1) * ops.cos(3 * x) + ops.tanh(x) + ops.arctan(x)
    ),
    "roots and powers": lambda x: (
        ops.norm(x) + ops.sum(ops.abs(x) ** 1.3 + ops.sqrt(1 + x**4) + ops.log1p(x**2))
    ),
    "branches": lambda x: ops.sum(ops.where(x > 0.3, x**3, ops.maximum(x, -0.2) * ops.minimum(x**2, 0.5))),
    "constants": lambda x: (
        ops.dot(x * np.arange(1.0, 6.0), 10 ** (x / np.arange(2.0, 7.0))) + ops.mean(x) ** 2
    ),
    "one number in many": lambda x: ops.sum((x[0] - x) ** 2 * x[1]) + ops.sum(x[0] * np.arange(4.0)),
    "products": lambda x: ops.prod(ops.cos(x)) + ops.prod(x[:2] - 1) * ops.prod(x[::2]),
    "reversed": lambda x: ops.sum(ops.exp(x)[::-1] * x * ops.exp(x[::-1])) + x[1:4].sum(),
    "remainders": lambda x: ops.sum(x * (x % 0.7)) + 5 // 3,
}


def at(function, points):
    """Return the values and the gradients of a function at points `[B, n]`."""
    bound = Formula(function, points.shape[1], Arrays(dtype="float64"))
    grad = np.empty_like(points)
    return bound.bind(points, grad, None)().copy(), grad


@pytest.mark.parametrize("name", VECTORS)
def test_gradients_are_those_of_differences(name, rng):
    function = VECTORS[name]
    x = rng.uniform(0.1, 1.5, 5) * [1, -1, 1, 1, -1]
    value, grad = at(function, x[None])
    assert value == pytest.approx(function(x), rel=1e-13)
    h = 1e-4
    shifts = h * np.concatenate([k * np.eye(5) for k in (-2, -1, 1, 2)])
    values = at(function, x + shifts)[0].reshape(4, 5)
    differences = np.array([1, -8, 8, -1]) @ values / (12 * h)
    np.testing.assert_allclose(grad[0], differences, rtol=1e-8, atol=1e-8)


def test_a_gradient_takes_what_is_detached_for_a_constant(rng):
    x = rng.standard_normal((1, 5))
    value, grad = at(lambda x: ops.sum(ops.detach(x) ** 3 * x + ops.exp(ops.detach(ops.sin(x)))), x)
    assert value == pytest.approx(np.sum(x**4 + np.exp(np.sin(x))), rel=1e-13)
    np.testing.assert_allclose(grad, x**3, rtol=1e-13)


@pytest.mark.parametrize("is_weighted", [True, False])
@pytest.mark.parametrize("name", VECTORS)
def test_a_second_derivative_is_the_gradient_of_a_gradient(name, is_weighted, rng):
    x = rng.uniform(0.1, 1.5, 5) * [1, -1, 1, 1, -1]
    v = rng.standard_normal(5) if is_weighted else np.ones(5)
    symbol = node("input", name="x", is_array=True, shape=(5,))
    slopes = Symbol(gradient(VECTORS[name](Symbol(symbol)).node, symbol))
    along = slopes * Symbol(constants(v)) if is_weighted else slopes
    product = at(lambda x: ops.sum(along), x[None])[1][0]
    before, after = at(VECTORS[name], np.stack([x - 1e-5 * v, x + 1e-5 * v]))[1]
    np.testing.assert_allclose(product, (after - before) / 2e-5, rtol=1e-7, atol=1e-8)


def test_a_linear_function_has_one_slope_and_no_curvature(rng):
    x, v = rng.standard_normal((2, 3, 5))
    np.testing.assert_array_equal(at(ops.sum, x)[1], np.ones((3, 5)))
    formula = Formula(ops.sum, 5, Arrays(dtype="float64"))
    np.testing.assert_array_equal(formula.hessian_times(x, v), np.zeros((3, 5)))
    written = {each.target for each in formula.elements().listing.instructions}
    assert written.issuperset(f"grad{i}" for i in range(5))


def test_a_long_vector_has_no_longer_program():
    def listing(dim):
        return Formula(VECTORS["arithmetic"], dim, Arrays())._vectors[0]

    assert len(listing(10**6).instructions) == len(listing(10).instructions)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x**2, "one number, not 3: sum"),
        (lambda x: 1.0, "a number computed from x, not float"),
        (lambda x: x[0] > 1, "a number computed from x"),
        (lambda x: x[0] if x[0] > 1 else x[1], r"use where\(...\)"),
        (lambda x: np.sin(x).sum(), "np.sin takes numbers: use the words of optrun.ops"),
        (lambda x: np.sum(x), "np.sum takes numbers"),
        (lambda x: x[3], r"x\[3\] of a vector of 3"),
        (lambda x: ops.sum(x[1:] * x), r"different lengths.*\(2,\) and \(3,\)"),
        (lambda x: x[[0, 1]], r"elements and slices, x\[0\] and x\[1:\]"),
        (lambda x: ops.sum(x * "2"), "symbols, numbers and vectors of numbers, not str"),
    ],
)
def test_a_function_says_what_it_may_not_do(function, message):
    with pytest.raises((TypeError, IndexError), match=message):
        Formula(function, 3, Arrays())
