"""Minima of convex problems against SciPy's minimiser of the same loss, and the gap above them."""

from functools import partial

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays, Parameters
from optrun.problems import minima
from optrun.problems.regression import Regression
from optrun.registry import problems

SMOOTH = [
    ("linear_regression", {"l2": 0.3}),
    ("huber_regression", {}),
    ("huber_regression", {"delta": 0.1, "l2": 0.01, "bias": False}),
    ("huber_regression", {"delta": 0.01}),
    ("poisson_regression", {}),
    ("poisson_regression", {"l2": 0.5, "bias": False}),
    ("logistic_regression", {"l2": 1e-3}),
    ("logistic_regression", {"l2": 0.1, "bias": False, "class_weight": "balanced"}),
    ("softmax_regression", {"data": "iris", "l2": 1e-3}),
    ("softmax_regression", {"data": "wine", "l2": 0.1, "bias": False}),
    ("softmax_regression", {"data": "wine", "l2": 0.01, "class_weight": {"class_1": 7.0}}),
]
NUMBERS = {
    "linear_regression": {"l1": [0.0, 0.1], "l2": [0.0, 0.1]},
    "huber_regression": {"l2": [0.0, 0.1]},
    "poisson_regression": {"l2": [0.0, 10.0]},
    "logistic_regression": {"l2": [0.01, 0.1]},
    "softmax_regression": {"l2": [0.01, 0.1]},
}
"""What lanes may differ in, with a minimum each."""
OPTIONS = {"softmax_regression": {"data": "iris"}}
RATES = {"poisson_regression": 1e-3}
CONVEX = [name for name in problems if issubclass(problems.find(name), Regression)]


def built(name, options):
    return problems.find(name)(Arrays(dtype="float64"), **options)


def at(problem, flat):
    """Return the loss and the gradient at flat parameters."""
    params = Parameters(problem.shapes, arrays=problem.arrays)
    params.data[0] = flat
    loss = problem.loss_and_grad(params, params.grads, None)[0]
    return loss, params.grad[0].copy()


@pytest.mark.parametrize(("name", "options"), SMOOTH, ids=str)
def test_a_minimum_is_scipys_to_1e_10(name, options):
    optimize = pytest.importorskip("scipy.optimize")
    problem = built(name, options)
    # The biases of all classes may grow together.
    is_unique = name != "softmax_regression" or not options.get("bias", True)
    assert bool(problem.minimizers) == is_unique
    for minimizer in problem.minimizers:
        loss, grad = at(problem, np.concatenate([minimizer[part].ravel() for part in problem.shapes]))
        assert loss == pytest.approx(problem.minimum, rel=1e-13)
        assert np.abs(grad).max() < 1e-12
    found = optimize.minimize(
        lambda x: at(problem, x),
        np.zeros(sum(np.prod(shape, dtype=int) for shape in problem.shapes.values())),
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 0, "gtol": 1e-10, "maxiter": 20_000, "maxfun": 40_000, "maxcor": 50},
    )
    assert found.fun == pytest.approx(problem.minimum, rel=1e-10, abs=1e-10)
    assert found.fun > problem.minimum - 1e-14 * max(1.0, abs(problem.minimum))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("l2", [0.0, 0.01])
@pytest.mark.parametrize("l1", [0.02, 0.1, 1.0, 3.0])
@pytest.mark.parametrize("data", ["diabetes", "linear(samples=60, features=60, noise=0.5)"])
def test_the_minimum_of_a_lasso_and_of_an_elastic_net_is_scikit_learns(data, l1, l2, bias):
    linear = pytest.importorskip("sklearn.linear_model")
    problem = built("linear_regression", {"data": data, "l1": l1, "l2": l2, "bias": bias})
    x, y = problem.parts["train"]
    # Theirs is half of our objective.
    model = linear.ElasticNet(
        alpha=(l1 + l2) / 2, l1_ratio=l1 / (l1 + l2), fit_intercept=bias, tol=1e-13, max_iter=100_000
    ).fit(x, y)
    theirs = at(problem, np.append(model.coef_, model.intercept_) if bias else model.coef_)[0]
    assert theirs == pytest.approx(problem.minimum, rel=1e-10, abs=1e-10)
    assert theirs > problem.minimum - 1e-14
    (minimizer,) = problem.minimizers
    np.testing.assert_allclose(minimizer["weight"][:, 0], model.coef_, atol=1e-5)
    assert at(problem, np.concatenate([minimizer[part].ravel() for part in problem.shapes]))[
        0
    ] == pytest.approx(problem.minimum, rel=1e-13)


def test_the_minimum_of_every_convex_problem_is_tested():
    assert {name for name, _ in SMOOTH} == {*NUMBERS} == {*CONVEX}


@pytest.mark.parametrize("name", CONVEX)
def test_the_gap_of_a_lane_with_numbers_of_its_own_is_that_of_its_run_alone(name, monkeypatch):
    solved = []
    solve = problems.find(name)._solve
    monkeypatch.setattr(
        problems.find(name), "_solve", lambda *given: solved.append(given[3:]) or solve(*given)
    )
    config = {
        "problem": {"name": name, **OPTIONS.get(name, {})},
        "optimizer": {"name": "SGD", "lr": RATES.get(name, 0.02)},
        "steps": 20,
        "dtype": "float64",
        "evaluate": {"every": 10, "metrics": ["gap"]},
    }
    axes = {f"problem.{option}": values for option, values in NUMBERS[name].items()}
    sweep = optrun.sweep(config | {"sweep": {"parameters": axes}}, save=False)
    assert len(sweep.runs) == len(set(solved)) >= len(solved) - 1  # the plan of a sweep has a problem, too
    for run, own in zip(sweep.runs, sweep.configs, strict=True):
        gaps = run.evaluations["gap"]
        assert run.summary["gap"] == optrun.run(own, save=False).summary["gap"] == gaps[-1]
        assert gaps[0] > gaps[1] > gaps[2] > 0
    assert len({run.summary["gap"] for run in sweep.runs}) == len(sweep.runs)
    solved.clear()
    optrun.run(config | {"evaluate": {"every": 10}}, save=False)
    assert not solved


def test_what_is_not_proven_is_not_known(monkeypatch):
    monkeypatch.setattr(minima, "MOST_UNKNOWNS", 10)
    assert built("softmax_regression", {"data": "iris", "l2": 0.1}).minimum is None
    x = np.array([[1.0], [2.0]])
    separable = minima.newton(minima.logistic, x, np.array([1.0, 1.0]), 1, np.zeros(1))
    assert separable is None or separable[1] < 1e-10  # which the loss comes to, at infinity


@pytest.mark.parametrize("l1", [0.0, 0.1])
@pytest.mark.parametrize("largest", [1e300, 1.5e308])
def test_no_minimum_is_told_of_numbers_whose_squares_or_sums_are_infinite(largest, l1):
    x, y = drawn()
    x[:, 0] = largest * np.linspace(0.5, 1, len(x))
    assert minima.elastic_net(x, y, l1, 0.0, bias=True) is None


def test_no_point_is_told_where_there_are_others_as_low():
    x, y = drawn()
    twice = np.column_stack([x, x[:, 0]])
    for l1 in (0.0, 0.05):
        assert minima.elastic_net(x, y, l1, 0.0, bias=False).is_unique
        assert not minima.elastic_net(twice, y, l1, 0.0, bias=False).is_unique
        assert minima.elastic_net(twice, y, l1, 0.1, bias=False).is_unique
    for terms, wanted in ((partial(minima.huber, 0.5), y), (minima.poisson, np.round(np.abs(y)))):
        assert minima.newton(terms, x, wanted, 1, np.zeros(10)).is_unique
        assert not minima.newton(terms, twice, wanted, 1, np.zeros(11)).is_unique


def test_counts_of_none_in_a_category_have_their_least_loss_at_infinity():
    x = np.repeat(np.eye(3), 20, axis=0)
    counts = np.r_[np.arange(20) % 3, np.arange(20) % 5, np.zeros(20)]
    found = minima.newton(minima.poisson, x, counts, 1, np.zeros(3))
    assert not found.is_unique
    assert minima.newton(minima.poisson, x[:40, :2], counts[:40], 1, np.zeros(2)).is_unique


def drawn(alike=0.0):
    """Return 60 samples of 10 features, the first three nearly those of the next three, and their targets."""
    draws = np.random.default_rng(0)
    x = draws.normal(size=(60, 10))
    x[:, :3] = x[:, 3:6] + (alike * draws.normal(size=(60, 3)) if alike else draws.normal(size=(60, 3)))
    return x, x @ draws.normal(size=10) + 0.1 * draws.normal(size=60)


@pytest.mark.parametrize("l1", [1e-3, 1e-2])
@pytest.mark.parametrize("alike", [1e-3, 1e-6])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_features_alike_of_any_scale_have_the_minimum_that_meets_the_conditions_of_one(scale, alike, l1):
    x, y = drawn(alike)
    x *= scale
    theta = minima.elastic_net(x, y, l1, 0.0, bias=False).theta
    # |2/n xⱼᵀ r| ≤ l1, and the sign of wⱼ where that is not 0
    r = y.astype(np.longdouble) - x.astype(np.longdouble) @ theta[:, 0].astype(np.longdouble)
    slopes = (2 / len(x) * x.T @ r / l1).astype(np.float64)
    support = theta[:, 0] != 0
    np.testing.assert_allclose(slopes[support], np.sign(theta[support, 0]), rtol=5e-2)
    assert (np.abs(slopes) <= 1.05).all()


def test_units_of_features_change_no_minimum():
    x, y = drawn()
    units = np.geomspace(1e-9, 1e9, 10)
    for terms in (partial(minima.huber, 0.5), minima.logistic):
        wanted = y if terms is not minima.logistic else (y > 0) * 1.0
        flipped = wanted if terms is not minima.logistic else np.where(np.arange(60) % 7, wanted, 1 - wanted)
        plain = minima.newton(terms, x, flipped, 1, np.zeros(10))
        assert minima.newton(terms, x * units, flipped, 1, np.zeros(10))[1] == pytest.approx(
            plain[1], rel=1e-12
        )
    plain = minima.elastic_net(x, y, 0.0, 0.0, bias=True)[1]
    assert minima.elastic_net(x * units, y, 0.0, 0.0, bias=True)[1] == pytest.approx(plain, rel=1e-9)
