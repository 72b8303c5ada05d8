"""Regressions and networks: known minima, batches, split and metrics."""

import numpy as np
import pytest

import optrun
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
        alone = np.concatenate([shared[epoch * steps + i] for i in range(steps)], axis=1)
        assert alone.shape == (1, count)
        assert (alone == order[0]).all()
    assert (orders[0] != orders[1]).any()


@pytest.mark.parametrize(
    ("seeds", "rows"),
    [
        ([7], [7]),
        ([7, 7, 7], [7]),
        ([5, 3, 5, 3], [5, 3]),
        ([3, 4, 5], [3, 4, 5]),
        ([5, 3, 3, 5], [5, 3, 3, 5]),
        ([5, 3, 5], [5, 3, 5]),
    ],
)
def test_a_batch_has_a_row_for_every_seed_that_comes_again_and_again(seeds, rows):
    problem = build(("softmax_regression", {"data": "iris", "batch_size": 10}))
    for t in (0, 13):
        expected = [problem.batches([seed])[t][0].tolist() for seed in rows]
        assert problem.batches(seeds)[t].tolist() == expected


TILED = [
    ("mlp", {"data": "iris", "hidden": [5]}),
    ("mlp", {"data": "iris", "hidden": [5, 4], "batch_size": 17, "activation": "gelu"}),
    ("mlp", {"data": "iris", "hidden": [5], "batch_size": 17, "l2": 0.1, "bias": False}),
    ("logistic_regression", {"batch_size": 100}),
    ("linear_regression", {"batch_size": 32}),
]


@pytest.mark.parametrize("seeds", [[1, 2, 3] * 4, list(range(12)), [4] * 12], ids=str)
@pytest.mark.parametrize("case", TILED, ids=str)
def test_bits_do_not_depend_on_how_many_lanes_a_pass_takes(case, seeds, monkeypatch):
    found = []
    for size in (1, 3_000, 9_000, 1 << 30):
        monkeypatch.setattr("optrun.problems.model.TILE_BYTES", size)
        problem = build(case, "float32")
        params = pack(problem, seeds)
        for lane, seed in enumerate(range(12)):
            params.data[lane] += 0.01 * seed
        loss = problem.loss_and_grad(params, params.grads, problem.batches(seeds)[1]).copy()
        metrics = problem.evaluate(params)
        found.append([loss.tobytes(), params.grad.tobytes(), *(each.tobytes() for each in metrics.values())])
    assert all(each == found[0] for each in found)


def test_biases_that_do_not_lie_behind_their_weights_give_the_same_bits():
    problem = build(("mlp", {"data": "iris", "hidden": [5], "batch_size": 17}))
    beside = pack(problem, [1, 2])
    apart = Parameters(dict(sorted(problem.shapes.items())), lanes=2, arrays=problem.arrays)
    for name, values in beside.items():
        apart[name][...] = values
    batch = problem.batches([1, 2])[0]
    losses = [problem.loss_and_grad(each, each.grads, batch).copy() for each in (beside, apart, beside)]
    assert losses[0].tobytes() == losses[1].tobytes() == losses[2].tobytes()
    for name in problem.shapes:
        assert beside.grads[name].tobytes() == apart.grads[name].tobytes()


def test_parameters_may_change_between_steps():
    problem = build(("mlp", {"data": "iris", "hidden": [5], "batch_size": 17}))
    batch = problem.batches([1, 2])[0]
    packs = [pack(problem, seeds) for seeds in ([1, 2], [3, 4])]
    alone = [problem.loss_and_grad(each, each.grads, batch).copy() for each in packs]
    replaced = dict(packs[0])
    problem.loss_and_grad(replaced, packs[0].grads, batch)
    replaced["layer2.bias"] = packs[1]["layer2.bias"]
    mixed = problem.loss_and_grad(replaced, packs[0].grads, batch).copy()
    packs[0]["layer2.bias"][:] = packs[1]["layer2.bias"]
    again = problem.loss_and_grad(packs[0], packs[0].grads, batch)
    assert mixed.tobytes() == again.tobytes() != alone[0].tobytes()
    assert problem.loss_and_grad(packs[1], packs[1].grads, batch).tobytes() == alone[1].tobytes()


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


def test_an_accuracy_is_a_count_over_a_count_in_all_its_digits():
    problem = {"name": "softmax_regression", "data": "iris", "test_fraction": 0.2}
    config = {"problem": problem, "optimizer": "SGD", "steps": 3, "dtype": "float32"}
    summary = optrun.run(config, save=False).summary
    assert summary["test_accuracy"] in [hits / 30 for hits in range(31)]
