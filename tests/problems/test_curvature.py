"""Products with Hessians, and the sharpness, the trace and the gap that are evaluated with them."""

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays
from optrun.config import ConfigErrors, from_mapping
from optrun.errors import ConfigError
from optrun.optim.curvature import Hessian, largest_eigenvalue, trace
from optrun.problems.function import Function
from optrun.problems.quadratics import Quadratic
from optrun.registry import problems

QUICK = (
    "rosenbrock",
    "different_powers",
    "powell",
    "wood",
    "bukin_n6",
    "schwefel222",
    "booth",
    "helical_valley",
)
FUNCTIONS = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.full)
    for name in problems.in_order()
    if issubclass(problems.find(name), Function) and name != "minimax"  # whose slope is no gradient
]
SMALL_MLP = {"data": "iris", "hidden": [4], "activation": "tanh", "batch_size": 16, "l2": 0.1}


def dense(problem, params):
    """Return the Hessian of one lane by its products with unit vectors."""
    size = sum(np.prod(shape, dtype=int) for shape in problem.shapes.values())
    return np.stack([problem.hessian_times(params, unit[None])[0] for unit in np.eye(size)])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_product_with_a_functions_hessian_is_the_slope_of_its_gradient(name):
    problem = problems.find(name)(Arrays("numpy", "float64"))
    draws = np.random.default_rng(0)
    low, high = problem.domain.T
    x = (low + (high - low) * draws.uniform(0.3, 0.7, (3, problem.dim))).copy()
    v = draws.standard_normal(x.shape)
    exact = problem.hessian_times({"x": x}, v)
    grads = {side: np.empty_like(x) for side in (1, -1)}
    h = 1e-6 * max(1, np.abs(x).max() / 100)
    for side, grad in grads.items():
        problem.loss_and_grad({"x": x + side * h * v}, {"x": grad}, None)
    by_differences = (grads[1] - grads[-1]) / (2 * h)
    scale = np.abs(by_differences).max(axis=1, keepdims=True) + 1
    np.testing.assert_allclose(exact / scale, by_differences / scale, atol=1e-6)


def test_products_of_an_expression_follow_the_order_of_its_parameters():
    options = {"f": "x * y[0]**2 + y[1]**3", "start": {"y": [2.0, 3.0], "x": 5.0}}
    problem = problems.find("expression")(Arrays("numpy", "float64"), **options)
    for order in (("y", "x"), ("x", "y")):
        values = {"x": np.array([5.0]), "y": np.array([[2.0, 3.0]])}
        found = dense(problem, {name: values[name] for name in order})
        of_y_then_x = np.array([[10.0, 0, 4], [0, 18, 0], [4, 0, 0]])
        places = [0, 1, 2] if order[0] == "y" else [2, 0, 1]
        np.testing.assert_allclose(found, of_y_then_x[np.ix_(places, places)])


def test_products_of_a_network_make_a_symmetric_matrix_with_the_eigenvalues_of_differences_of_losses():
    problem = problems.find("mlp")(Arrays("numpy", "float64"), **SMALL_MLP)
    params = {name: of[None].copy() for name, of in problem.initial(0).items()}
    hessian = dense(problem, params)
    size = len(hessian)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-8)
    draws = np.random.default_rng(0)
    flat = np.concatenate([of.ravel() for of in params.values()])
    ends = np.cumsum([of.size for of in params.values()])[:-1]

    def loss(at):
        parts = zip(params.items(), np.split(at, ends), strict=True)
        return problem.evaluate({name: part.reshape(of.shape) for (name, of), part in parts})["loss"][0]

    for v in draws.standard_normal((3, size)):
        second = (loss(flat + 1e-3 * v) - 2 * loss(flat) + loss(flat - 1e-3 * v)) / 1e-6
        assert v @ hessian @ v == pytest.approx(second, rel=1e-4)
    operator = Hessian(lambda v: problem.hessian_times(params, v), size, [0])
    assert largest_eigenvalue(operator)[0] == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_penalty_on_absolute_values_has_no_curvature_also_where_weights_begin_at_0(dtype):
    cls = problems.find("logistic_regression")
    bent, smooth = (cls(Arrays("numpy", dtype), l1=l1, l2=0.1) for l1 in (0.5, 0.0))
    params = {name: of[None].astype(dtype) for name, of in smooth.initial(0).items()}
    v = np.random.default_rng(0).standard_normal((1, 31))
    assert (bent.hessian_times(params, v) == smooth.hessian_times(params, v)).all()


def of_matrix(matrix, seeds=(0, 1)):
    return Hessian(lambda v: v @ matrix, len(matrix), seeds)


@pytest.mark.parametrize(
    "spectrum",
    [[5.0], [2.0, -2.0], [-3.0, -1.0, -2.0], [0.0, 0.0], [4.0] * 5, np.geomspace(1e-3, 1e3, 100)],
    ids=len,
)
def test_the_largest_eigenvalue_and_the_trace_of_matrices(spectrum):
    size = len(spectrum)
    q = np.linalg.qr(np.random.default_rng(1).standard_normal((size, size)))[0]
    matrix = q @ np.diag(spectrum) @ q.T
    np.testing.assert_allclose(largest_eigenvalue(of_matrix(matrix)), max(spectrum), rtol=1e-6, atol=1e-12)
    rtol = 1e-12 if size <= 32 else 0.3
    np.testing.assert_allclose(trace(of_matrix(matrix)), np.sum(spectrum), rtol=rtol, atol=1e-12)
    nothing = Hessian(lambda v: v * np.array([[1.0], [np.nan]]), 3, [0, 1])
    np.testing.assert_allclose(largest_eigenvalue(nothing), [1.0, np.nan], rtol=1e-12)


METRICS = ["sharpness", "trace", "gap", "distance"]


def test_a_quadratics_are_its_condition_and_the_sum_of_its_spectrum_at_every_evaluation():
    problem = {"name": "quadratic", "dim": 20, "condition": 50}
    config = {"problem": problem, "optimizer": "SGD", "steps": 4, "dtype": "float64"}
    run = optrun.run(config | {"evaluate": {"every": 2, "metrics": METRICS}}, save=False)
    np.testing.assert_allclose(run.evaluations["sharpness"], 50, rtol=1e-9)
    np.testing.assert_allclose(run.evaluations["trace"], np.geomspace(1, 50, 20).sum(), rtol=1e-12)
    assert run.evaluations["gap"].tolist() == run.evaluations["loss"].tolist()
    there = Quadratic(Arrays(), dim=20, condition=50).minimizers[0]["x"]
    assert run.summary["distance"] == pytest.approx(np.linalg.norm(run.params["x"] - there), rel=1e-14)
    assert run.evaluations["step"].tolist() == [0, 2, 4]


@pytest.mark.parametrize(
    "problem",
    [
        {"name": "rosenbrock", "dim": 5},
        {"name": "mlp", **SMALL_MLP},
        {"name": "quadratic", "dim": 3, "rotation": True},
    ],
    ids=lambda problem: problem["name"],
)
def test_a_lane_has_the_bits_of_its_run_alone(problem):
    metrics = METRICS[:2]
    config = {
        "problem": problem,
        "optimizer": "Adam",
        "steps": 3,
        "evaluate": {"every": 2, "metrics": metrics},
    }
    axes = {"optimizer.lr": [1e-3, 1e-2]}
    sweep = optrun.sweep(config | {"sweep": {"parameters": axes, "repeats": 2}}, save=False)
    assert problem["name"] == "quadratic" or len({run.summary["sharpness"] for run in sweep.runs}) > 1
    for run, own in zip(sweep.runs, sweep.configs, strict=True):
        alone = optrun.run(own, save=False)
        assert run.summary == alone.summary
        without = optrun.run({**own.to_dict(), "evaluate": {"every": 2}}, save=False)
        assert without.summary["final_loss"] == run.summary["final_loss"]


def test_what_needs_the_objective_is_no_column_of_a_curve_and_a_gap_needs_a_minimum():
    config = {"problem": "rosenbrock", "optimizer": "SGD", "steps": 1}
    with pytest.raises(ConfigErrors, match=r"sharpness takes many gradients.*evaluate\.metrics"):
        from_mapping(config | {"record": {"metrics": ["sharpness"]}})
    unknown = {"problem": {"name": "logistic_regression"}, "evaluate": {"metrics": ["gap"]}}
    with pytest.raises(
        ConfigError,
        match="gap does not suit logistic_regression, whose minimum is not known: it is with l2 above 0 and l1: 0",
    ):
        optrun.run(config | unknown, save=False)
    own = {"name": "expression", "f": "x**2", "start": {"x": 1.0}, "minimum": 0.0}
    with pytest.raises(
        ConfigError, match="distance does not suit expression, whose minimizers are not known"
    ):
        optrun.run(config | {"problem": own, "evaluate": {"metrics": ["distance"]}}, save=False)


def test_the_nearest_of_several_minimizers_counts():
    config = {
        "problem": {"name": "himmelblau", "start": [-3.0, 3.0]},
        "optimizer": {"name": "SGD", "lr": 0.0},
    }
    run = optrun.run(config | {"steps": 1, "evaluate": {"metrics": ["distance"]}}, save=False)
    np.testing.assert_allclose(run.summary["distance"], np.hypot(3 - 2.805118, 3 - 3.131312), rtol=1e-5)


def test_the_gap_of_lanes_with_penalties_of_their_own_is_that_of_their_runs_alone():
    problem = {"name": "linear_regression", "data": "diabetes"}
    config = {"problem": problem, "optimizer": "SGD", "steps": 2, "evaluate": {"metrics": ["gap"]}}
    sweep = optrun.sweep(config | {"sweep": {"parameters": {"problem.l2": [0.0, 0.1, 1.0]}}}, save=False)
    for run, own in zip(sweep.runs, sweep.configs, strict=True):
        assert run.summary["gap"] == optrun.run(own, save=False).summary["gap"] > 0
    assert len({run.summary["gap"] for run in sweep.runs}) == 3
