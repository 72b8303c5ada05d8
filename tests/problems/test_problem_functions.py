"""Functions and quadratics against closed forms."""

from fractions import Fraction

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.problems import Beale, Himmelblau, Quadratic, Rosenbrock
from tests.problems.cases import build, pack


def at(problem, *points):
    params = Parameters(problem.shapes, lanes=len(points), arrays=problem.arrays, lane_fast=True)
    for lane, x in enumerate(points):
        params.set_lane(lane, {"x": np.array(x, float)})
    loss = problem.loss_and_grad(params, params.grads, None).copy()
    return loss, params.grad.copy()


@pytest.mark.parametrize("dim", [2, 3, 10])
def test_rosenbrock_is_scipys(dim):
    optimize = pytest.importorskip("scipy.optimize")
    points = np.random.default_rng(0).standard_normal((20, dim))
    loss, grad = at(Rosenbrock(Arrays(dtype="float64"), dim=dim), *points)
    np.testing.assert_allclose(loss, [optimize.rosen(x) for x in points], rtol=1e-12)
    np.testing.assert_allclose(grad, [optimize.rosen_der(x) for x in points], rtol=1e-10, atol=1e-12)


def exact_beale(x, y):
    return sum((Fraction(c) - x + x * y**k) ** 2 for k, c in ((1, "1.5"), (2, "2.25"), (3, "2.625")))


def exact_himmelblau(x, y):
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


@pytest.mark.parametrize(("cls", "exact"), [(Beale, exact_beale), (Himmelblau, exact_himmelblau)])
def test_values_are_those_of_the_formula_in_exact_arithmetic(cls, exact):
    points = [(1.0, 1.0), (3.0, 0.5), (-1.25, 2.5), (0.0, 0.0), (4.0, -4.5)]
    loss, _ = at(cls(Arrays(dtype="float64")), *points)
    np.testing.assert_allclose(loss, [float(exact(Fraction(x), Fraction(y))) for x, y in points], rtol=1e-14)


def test_himmelblau_has_four_minimizers():
    points = [tuple(minimizer["x"]) for minimizer in Himmelblau(Arrays()).minimizers]
    assert len(set(points)) == 4


@pytest.mark.parametrize(
    ("problem", "start"),
    [
        (Rosenbrock(Arrays(), dim=5), [-1.2, 1, -1.2, 1, -1.2]),
        (Beale(Arrays()), [1, 1]),
        (Himmelblau(Arrays()), [0, 0]),
        (Quadratic(Arrays(), dim=3), [0, 0, 0]),
        (Beale(Arrays(), start=[4.0, -2.0]), [4, -2]),
    ],
)
def test_starts(problem, start):
    assert problem.initial(0)["x"].tolist() == problem.initial(99)["x"].tolist() == start


@pytest.mark.parametrize("rotation", [False, True])
def test_the_hessian_of_a_quadratic_has_the_promised_eigenvalues(rotation):
    problem = Quadratic(Arrays(dtype="float64"), dim=6, condition=1e4, rotation=rotation)
    center = problem.minimizers[0]["x"]
    loss, hessian = at(problem, *(center + np.eye(6)))
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian), np.logspace(0, 4, 6), rtol=1e-9)
    np.testing.assert_allclose(loss, np.diag(hessian) / 2, rtol=1e-9)
    assert np.allclose(hessian, np.diag(np.diag(hessian))) != rotation


def test_the_instance_of_a_quadratic_is_named_by_its_seed():
    first, same, other = (
        Quadratic(Arrays(dtype="float64"), rotation=True, problem_seed=seed) for seed in (0, 0, 1)
    )
    point = np.full(10, 0.3)
    assert at(first, point)[1].tobytes() == at(same, point)[1].tobytes()
    assert at(first, point)[0] != at(other, point)[0]


def test_noise_is_on_the_gradient_alone_with_the_promised_spread():
    noisy, exact = build(("rosenbrock", {"noise": 0.5})), build(("rosenbrock", {}))
    seeds = list(range(500))
    params, batches = pack(exact, seeds), noisy.batches(seeds)
    assert noisy.loss_and_grad(params, params.grads, batches[70]).tobytes() == (
        exact.loss_and_grad(pack(exact, seeds), pack(exact, seeds).grads, None).tobytes()
    )
    draws = np.stack([batches[t] for t in (0, 1, 63, 64)])
    assert draws.std() == pytest.approx(0.5, rel=0.05)
    assert abs(draws.mean()) < 0.05
    assert len(np.unique(draws)) == draws.size
    noisy_grad = params.grad.copy()
    exact.loss_and_grad(params, params.grads, None)
    np.testing.assert_allclose(noisy_grad - params.grad, batches[70].T, atol=1e-9)
