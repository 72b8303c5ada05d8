"""Rules for tensors: what the engine computes is what NumPy computes on each lane alone."""

import numpy as np
import pytest

from optrun.errors import PluginError
from optrun.kernels.evaluate import evaluate
from optrun.kernels.lower import lower
from optrun.kernels.program import TENSOR_OPS
from optrun.kernels.tensor_engine import TensorEngine
from optrun.kernels.trace import trace
from optrun.ops import eigh, inverse_root, maximum, mean, norm, qr, solve, sorting, sqrt, total, where
from optrun.optim import Optimizer
from optrun.registry import NonNegative, optimizers
from tests.optim.samples import parameters

SHAPES = {"p": (33, 47), "row": (33, 1), "square": (33, 33), "vector": (47,)}
LANES = 5


def products(p, g, t, /, row, square, vector, *, h):
    square[:] = g @ p.mT + h * square
    p[:] = square @ p
    row += 1.0
    vector *= 1.0


def products_in_numpy(p, g, t, row, square, vector, h):
    square = g @ p.T + h * square
    return square @ p, row + 1.0, square, vector


def reductions(p, g, t, /, row, square, vector, *, h):
    row[:] = mean(g * g, -1) - row
    square[:] = row * mean(row, -2)
    vector[:] = h * vector
    p -= where(t > 1, h * g / maximum(norm(g), 1e-3) + total(p, -2), g)


def reductions_in_numpy(p, g, t, row, square, vector, h):
    row = (g * g).mean(-1, keepdims=True) - row
    square = np.broadcast_to(row * row.mean(-2, keepdims=True), (33, 33))
    moved = h * g / max(np.sqrt((g * g).sum()), 1e-3) + p.sum(-2, keepdims=True) if t > 1 else g
    return p - moved, row, square, h * vector


def factorizations(p, g, t, /, row, square, vector, *, h):
    values, vectors = eigh(square + square.mT)
    row[:] = (values @ sorting(values)).mT
    basis = qr(p.reshape(47, 33).mT @ p.reshape(47, 33))
    p[:] = solve(inverse_root(g @ g.mT, 2, 1.0), p)
    square[:] = h * (vectors * values * values) @ vectors.mT + basis @ basis.mT
    vector *= 1.0


def factorizations_in_numpy(p, g, t, row, square, vector, h):
    both = square + square.T
    values = np.sort(np.linalg.eigvalsh(both))[::-1]
    u, s, _ = np.linalg.svd(g)
    moved = (u * np.sqrt(s**2 + 1)) @ u.T @ p
    return moved, values[:, None], h * both @ both + np.eye(33), vector


RULES = [
    (products, products_in_numpy),
    (reductions, reductions_in_numpy),
    (factorizations, factorizations_in_numpy),
]


def run(rule, buffers, t, h):
    """Run a traced rule once on buffers `[B, *shape]`; h is `[B]`."""
    states = ("row", "square", "vector")
    program = trace(rule, states, ("h",), {}, shapes=SHAPES, dtype="float64")
    values = {"h": h[None]}
    columns = [
        evaluate(each, np.full((1, 1), float(t)), values, {})[0][:, None] for each in program.coefficients
    ]
    bound = TensorEngine().bind(
        lower(program.outputs, program.coefficients),
        buffers,
        [column if len(column) > 1 or len(h) == 1 else column.reshape(()) for column in columns],
    )
    bound()
    return [buffers[name] for name in SHAPES]


def samples(rng, lanes):
    shapes = {"g": SHAPES["p"], **SHAPES}
    return {name: rng.normal(size=(lanes, *shape)) for name, shape in shapes.items()}


@pytest.mark.parametrize(("rule", "direct"), RULES)
@pytest.mark.parametrize("t", [1, 2])
def test_the_engine_computes_what_numpy_does_on_every_lane(rule, direct, t, rng):
    buffers, h = samples(rng, LANES), rng.normal(size=LANES)
    before = {name: value.copy() for name, value in buffers.items()}
    found = run(rule, buffers, t, h)
    for lane in range(LANES):
        start = {name: value[lane] for name, value in before.items()}
        expected = direct(start.pop("p"), start.pop("g"), t, **start, h=h[lane])
        for name, ours, theirs in zip(SHAPES, found, expected, strict=True):
            np.testing.assert_allclose(ours[lane], theirs, rtol=1e-12, atol=1e-12, err_msg=name)
    assert buffers["g"].tobytes() == before["g"].tobytes()


def test_a_product_is_not_written_over_its_factors():
    program = trace(products, ("row", "square", "vector"), ("h",), {}, shapes=SHAPES, dtype="float64")
    listing = lower(program.outputs, program.coefficients)
    assert {each.op for each in listing.instructions} >= {"matmul", "transpose"}
    for each in listing.instructions:
        assert each.op not in TENSOR_OPS or each.target not in each.operands


@pytest.mark.parametrize(("rule", "_"), RULES)
def test_lanes_and_layout_change_no_bit(rule, _, rng):
    before, h = samples(rng, LANES), rng.normal(size=LANES)
    together = run(rule, {name: value.copy() for name, value in before.items()}, 2, h)
    strided = run(rule, {name: np.asfortranarray(value) for name, value in before.items()}, 2, h)
    for one, other in zip(together, strided, strict=True):
        assert one.tobytes() == np.ascontiguousarray(other).tobytes()
    for lane in range(LANES):
        solo = {name: value[lane : lane + 1].copy() for name, value in before.items()}
        for one, all_lanes in zip(run(rule, solo, 2, h[lane : lane + 1]), together, strict=True):
            assert one[0].tobytes() == all_lanes[lane].tobytes()


@pytest.mark.parametrize("broken", [np.nan, np.inf, 0.0])
def test_a_matrix_that_lapack_refuses_is_that_lanes_alone(broken, rng):
    """The whole stack fails where one matrix is singular, and a decomposition of NaN need not end."""

    def rule(p, g, t, /, row, square, vector, *, h):
        p *= 1.0
        square[:] = solve(square, inverse_root(square @ square.mT, 4, h))
        row += 1.0
        vector += 1.0

    buffers, h = samples(rng, 3), np.ones(3)
    buffers["square"][1, 4] = broken
    alone = {name: value[2:].copy() for name, value in buffers.items()}
    with np.errstate(invalid="ignore"):
        expected = run(rule, alone, 2, h[2:])[2][0]
        found = run(rule, buffers, 2, h)[2]
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[0]).all()
    assert found[2].tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (lambda p, g: p.__isub__(g @ p), "no product of"),
        (lambda p, g: p.__setitem__(slice(None), p[0]), "only a vector has elements"),
        (lambda p, g: p.__setitem__(slice(None), g.mT), "does not fit"),
        (lambda p, g: p.__isub__(eigh(g)[1]), "eigenvalues of"),
        (lambda p, g: p.__isub__(qr(g.reshape(15))), "a matrix is needed"),
        (lambda p, g: p.__isub__(inverse_root(g @ g.mT, 3, 0.0) @ g), "a power of two, not 3"),
        (lambda p, g: p.__isub__(solve(g, g)), "no system of equations"),
        (lambda p, g: p.__isub__(sorting(g)), "sorting takes a row"),
        (lambda p, g: p.__isub__(g.reshape(7)), "has other elements than"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_its_place(body, complaint, rng):
    class Senseless(Optimizer):
        per_tensor = True

        @staticmethod
        def update(p, g, t, /, *, lr: NonNegative = 0.1):
            body(p, g)

    try:
        with pytest.raises(PluginError, match=f"Senseless: .*{complaint}"):
            Senseless(parameters(rng), [{"params": "a.weight"}])
    finally:
        del optimizers._classes["senseless"], optimizers._names["senseless"]


def test_a_number_and_the_root_of_a_mean_for_each_tensor_fill_it(rng):
    def rule(p, g, t, /, row, square, vector, *, h):
        p[:] = sqrt(mean(p * p))
        row[:] = 7.0

    buffers = samples(rng, 2)
    expected = np.sqrt((buffers["p"] ** 2).mean((1, 2)))
    found, row, *_ = run(rule, buffers, 1, np.ones(2))
    assert (row == 7).all()
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None, None], found.shape), rtol=1e-14)
