"""Regression of counts: the model, its predictions and its baselines are scikit-learn's."""

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays
from optrun.errors import ConfigError
from optrun.problems import PoissonRegression


def test_a_trained_model_predicts_scikit_learns_counts(tmp_path):
    linear = pytest.importorskip("sklearn.linear_model")
    draws = np.random.default_rng(0)
    x = draws.standard_normal((300, 4))
    y = draws.poisson(np.exp(1 + x @ [0.5, -0.3, 0.2, 0.0]))
    np.savez(tmp_path / "counts.npz", X=x, y=y.astype(float))
    problem = {
        "name": "poisson_regression",
        "data": str(tmp_path / "counts.npz"),
        "l2": 0.1,
        "test_fraction": 0,
    }
    config = {
        "problem": problem | {"task": "regression", "standardize": False},
        "optimizer": {"name": "LBFGS", "line_search_fn": "strong_wolfe"},
        "steps": 20,
        "dtype": "float64",
        "evaluate": {"metrics": ["gap", "mae"]},
    }
    run = optrun.run(config, directory=tmp_path / "run")
    model = linear.PoissonRegressor(alpha=0.1, tol=1e-10, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(run.predict(x), model.predict(x), rtol=1e-4)
    assert run.summary["train_mae"] == pytest.approx(np.abs(model.predict(x) - y).mean(), rel=1e-4)
    assert 0 <= run.summary["gap"] < 1e-8
    mean = run.baselines["mean"]
    assert mean["train_mae"] == pytest.approx(np.abs(y.mean() - y).mean())
    assert mean["train_loss"] == pytest.approx(y.mean() * (1 - np.log(y.mean())))


def test_targets_below_0_are_refused():
    with pytest.raises(
        ConfigError, match=r"data: the targets of .* begin at -.*: poisson_regression takes counts"
    ):
        PoissonRegression(Arrays(), data="linear(samples=50)")
    with pytest.raises(ConfigError, match="task: poisson_regression fits numbers"):
        PoissonRegression(Arrays(), data="diabetes", task="classification")
