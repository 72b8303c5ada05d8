"""Minima of convex problems against SciPy's minimiser of the same loss, and the gap above them."""

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays, Parameters
from optrun.problems import minima
from optrun.problems.regression import Regression
from optrun.registry import problems

SMOOTH = [
    ("linear_regression", {"l2": 0.3}),
    ("logistic_regression", {"l2": 1e-3}),
    ("logistic_regression", {"l2": 0.1, "bias": False, "class_weight": "balanced"}),
    ("softmax_regression", {"data": "iris", "l2": 1e-3}),
    ("softmax_regression", {"data": "wine", "l2": 0.1, "bias": False}),
    ("softmax_regression", {"data": "wine", "l2": 0.01, "class_weight": {"class_1": 7.0}}),
]
NUMBERS = {
    "linear_regression": {"l2": [0.0, 0.1, 1.0]},
    "logistic_regression": {"l2": [0.01, 0.1]},
    "softmax_regression": {"l2": [0.01, 0.1]},
}
"""What lanes may differ in, with a minimum each."""
OPTIONS = {"softmax_regression": {"data": "iris"}}
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
    (minimizer,) = problem.minimizers
    flat = np.concatenate([minimizer[part].ravel() for part in problem.shapes])
    loss, grad = at(problem, flat)
    assert loss == pytest.approx(problem.minimum, rel=1e-13)
    assert np.abs(grad).max() < 1e-12
    found = optimize.minimize(
        lambda x: at(problem, x),
        np.zeros_like(flat),
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 0, "gtol": 1e-10, "maxiter": 20_000, "maxfun": 40_000, "maxcor": 50},
    )
    assert found.fun == pytest.approx(problem.minimum, rel=1e-10, abs=1e-10)
    assert found.fun > problem.minimum - 1e-14 * max(1.0, problem.minimum)


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
        "optimizer": {"name": "SGD", "lr": 0.02},
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
