"""Regressions and networks: known minima, batches, split and metrics."""

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters, one_blas_thread
from optrun.problems import MLP, LinearRegression, LogisticRegression, SoftmaxRegression
from tests.problems.cases import build, pack


def test_the_loss_is_finite_for_extreme_logits():
    for name in ("logistic_regression", "softmax_regression"):
        problem = build((name, {}), "float32")
        params = pack(problem, [0])
        params.data *= 1e6
        loss = problem.loss_and_grad(params, params.grads, None)
        assert np.isfinite(loss).all()
        assert np.isfinite(params.grad).all()


@pytest.mark.parametrize("bias", [True, False])
def test_the_minimum_of_ridge_regression_is_scikit_learns(bias):
    linear_model = pytest.importorskip("sklearn.linear_model")
    problem = LinearRegression(Arrays(dtype="float64"), l2=0.5, bias=bias)
    x, y = problem.parts["train"]
    # Its penalty is alpha/(2 n) times ours, of a sum where ours is of a mean.
    model = linear_model.Ridge(alpha=0.25 * len(x), fit_intercept=bias).fit(x, y)
    np.testing.assert_allclose(problem.minimizers[0]["weight"][:, 0], model.coef_, rtol=1e-8)
    value = np.mean((model.predict(x) - y) ** 2) + 0.25 * np.sum(model.coef_**2)
    assert problem.minimum == pytest.approx(value, rel=1e-10)


def test_the_minimum_of_logistic_regression_is_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    problem = LogisticRegression(Arrays(dtype="float64"), l2=0.01)
    x, y = problem.parts["train"]
    model = linear_model.LogisticRegression(C=1 / (0.01 * len(x)), tol=1e-10, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(problem.minimizers[0]["weight"][:, 0], model.coef_[0], rtol=1e-4)
    assert LogisticRegression(Arrays()).minimum is None
    assert not LogisticRegression(Arrays()).minimizers


@pytest.mark.parametrize(("samples", "size"), [(150, 40), (150, 120), (150, 119), (10, 1)])
def test_each_epoch_holds_each_sample_once(samples, size):
    problem = build(("softmax_regression", {"data": f"blobs(samples={samples})", "batch_size": size}))
    count = len(problem.parts["train"][0])
    steps = problem.steps_per_epoch
    assert steps == -(-count // size)
    shared, mixed = problem.batches([3, 3]), problem.batches([3, 4])
    orders = []
    for epoch in (0, 1):
        batches = [mixed[epoch * steps + i] for i in range(steps)]
        assert [b.shape[1] for b in batches] == [size] * (steps - 1) + [count - size * (steps - 1)]
        order = np.concatenate(batches, axis=1)
        assert (np.sort(order) == np.arange(count)).all()
        assert (order[0] != order[1]).any()
        orders.append(order)
        alone = np.concatenate([shared[epoch * steps + i] for i in range(steps)])
        assert (alone == order[0]).all()
    assert (orders[0] != orders[1]).any()


def test_an_evaluation_in_chunks_has_the_same_bits(monkeypatch):
    problem = build(("mlp", {"data": "iris", "hidden": [5]}))
    params = pack(problem, range(7))
    whole = problem.evaluate(params)
    monkeypatch.setattr("optrun.problems.supervised.CHUNK", 1_500)
    chunked = problem.evaluate(params)
    assert {k: v.tobytes() for k, v in whole.items()} == {k: v.tobytes() for k, v in chunked.items()}


def test_the_split_is_stratified_fixed_and_disjoint():
    first, same, other = (
        SoftmaxRegression(Arrays(dtype="float64"), data="iris", split_seed=seed) for seed in (0, 0, 1)
    )
    assert [len(x) for x, _ in first.parts.values()] == [120, 30]
    assert np.bincount(first.parts["test"][1].astype(int)).tolist() == [10, 10, 10]
    assert (first.parts["test"][0] == same.parts["test"][0]).all()
    assert (first.parts["test"][0] != other.parts["test"][0]).any()


def test_standardized_features_and_real_targets_have_mean_0_and_variance_1_in_training():
    for array in LinearRegression(Arrays(dtype="float64")).parts["train"]:
        np.testing.assert_allclose(array.mean(0), 0, atol=1e-12)
        np.testing.assert_allclose(array.std(0), 1)
    raw = LinearRegression(Arrays(dtype="float64"), standardize=False).parts["train"]
    assert raw[1].min() >= 25


def test_without_a_test_part_there_are_no_test_metrics():
    problem = build(("mlp", {"data": "iris", "hidden": [3], "test_fraction": 0}))
    assert set(problem.evaluate(pack(problem, [0]))) == {"loss", "train_loss", "train_accuracy"}
    assert len(problem.parts["train"][0]) == 150


def test_a_network_learns_the_digits():
    """Ten seeds of 500 Adam steps on batches of 128, as a user would start."""
    seeds = list(range(10))
    problem = MLP(Arrays(), data="digits", hidden=[64], batch_size=128)
    params = Parameters(problem.shapes, lanes=len(seeds))
    for lane, seed in enumerate(seeds):
        params.set_lane(lane, problem.initial(seed))
    batches, mean, square = problem.batches(seeds), params.zeros(), params.zeros()
    with one_blas_thread:
        for t in range(500):
            problem.loss_and_grad(params, params.grads, batches[t])
            mean += 0.1 * (params.grad - mean)
            square += 0.001 * (params.grad**2 - square)
            scale = np.sqrt(square / (1 - 0.999 ** (t + 1))) + 1e-8
            params.data[...] -= 5e-3 * mean / (1 - 0.9 ** (t + 1)) / scale
        assert (problem.evaluate(params)["test_accuracy"] >= 0.96).all()
