"""MNIST-1D: its recipe, its split, and the accuracies that its authors publish."""

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays, stream
from optrun.errors import ConfigError
from optrun.problems import SoftmaxRegression
from optrun.problems.data import load
from optrun.problems.data.mnist1d import DIGITS


def test_samples_are_those_of_the_recipe_sample_by_sample():
    """The same draws, by SciPy's filter and interpolation."""
    ndimage, interpolation = pytest.importorskip("scipy.ndimage"), pytest.importorskip("scipy.interpolate")

    def to_length(values, points):
        at = interpolation.interp1d(np.linspace(0, 1, len(values)), values)
        return at(np.linspace(0, 1, points))

    n, draws = 60, stream(7, "mnist1d")
    padding, scales = draws.integers(36, 61, n), draws.random((n, 1))
    shifts, correlated = draws.integers(48, size=(n, 1)), draws.standard_normal((n, 72))
    independent, shears, order = draws.standard_normal((n, 72)), draws.random((n, 1)), draws.permutation(n)
    expected = np.empty((n, 40))
    for i in range(n):
        digit = np.array(DIGITS[i % 10])
        digit = (digit - digit.mean()) / digit.std()
        digit = (digit - digit[0]) / 6 + 1e-8
        signal = to_length(np.concatenate([digit, np.zeros(padding[i])]), 72)
        signal = np.roll(signal * (0.8 + 0.4 * scales[i]), shifts[i])
        empty = signal == 0
        assert 72 * padding[i] / (12 + padding[i]) - 3 < empty.sum() < 72 * padding[i] / (12 + padding[i]) + 1
        signal[empty] = ndimage.gaussian_filter(0.25 * correlated[i], 2)[empty]
        signal += 0.02 * independent[i] - 0.75 * (shears[i] - 0.5) * np.linspace(-0.5, 0.5, 72)
        expected[i] = to_length(signal, 40)
    expected = (expected - expected.mean()) / expected.std()
    data = load("mnist1d(samples=60, seed=7)")
    np.testing.assert_allclose(data.features, expected[order], atol=1e-12)
    assert data.targets.tolist() == (order % 10).tolist()


def test_the_data_set_is_as_large_as_the_published_one_and_has_its_split():
    data = load("mnist1d")
    assert data.features.shape == (5000, 40)
    assert (data.features.mean(), data.features.std()) == (pytest.approx(0, abs=1e-12), pytest.approx(1))
    assert np.bincount(data.targets).tolist() == [500] * 10
    assert data.parts.tolist() == ["train"] * 4000 + ["test"] * 1000
    problem = SoftmaxRegression(Arrays(), data="mnist1d", standardize=False)
    assert {part: len(x) for part, (x, _) in problem.parts.items()} == {"train": 4000, "test": 1000}
    assert "(4,000 train, 1,000 test) of 40 features" in problem.inferred
    assert (problem.parts["test"][0] == data.features[4000:].astype(np.float32)).all()


def test_a_validation_part_comes_from_the_training_samples():
    options = {"data": "mnist1d", "standardize": False, "validation_fraction": 0.1}
    whole, first, other = (
        SoftmaxRegression(Arrays(dtype="float64"), **options | more)
        for more in ({"validation_fraction": 0.0}, {}, {"split_seed": 1})
    )
    assert len(first.parts["val"][0]) == pytest.approx(500, abs=5)
    together = np.concatenate([first.parts["train"][0], first.parts["val"][0]])
    assert np.array_equal(np.sort(together, axis=0), np.sort(whole.parts["train"][0], axis=0))
    assert np.array_equal(first.parts["test"][0], whole.parts["test"][0])
    assert not np.array_equal(first.parts["val"][0][:9], other.parts["val"][0][:9])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_fraction": 0.3}, "test_fraction: 'mnist1d' has test samples of its own: leave it out"),
        (
            {"split": {"train": 0.5, "test": 0.5}},
            "split: 'mnist1d' has test samples of its own: leave it out",
        ),
        ({"validation_fraction": 0.8}, "validation_fraction: .* leaves no sample for training"),
        ({"split": "fold"}, "split: only a table or an NPZ file says its split"),
    ],
)
def test_what_its_split_leaves_no_room_for_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        SoftmaxRegression(Arrays(), data="mnist1d", **options)


def test_a_seed_of_a_split_that_is_given_is_pointed_out():
    note = ["split_seed has no effect: mnist1d has a split of its own"]
    for options, expected in (({}, []), ({"split_seed": 3}, note), ({"validation_fraction": 0.1}, [])):
        assert list(SoftmaxRegression(Arrays(), data="mnist1d", **options).notes) == expected


@pytest.mark.full
@pytest.mark.parametrize(
    ("problem", "steps", "published"),
    [
        ({"name": "softmax_regression"}, 2000, 0.32),
        ({"name": "mlp", "hidden": [256, 256], "sampling": "fixed"}, 6000, 0.68),
    ],
)
def test_models_have_the_published_accuracies(problem, steps, published):
    """Adam with a rate of 0.01 and batches of 100, as the authors train; their network also has a skip connection."""
    options = {"data": "mnist1d", "batch_size": 100, "standardize": False, **problem}
    run = optrun.run(
        {
            "problem": options,
            "optimizer": {"name": "Adam", "lr": 1e-2},
            "steps": steps,
            "record": {"every": 100},
        },
        save=False,
    )
    assert run.summary["test_accuracy"] == pytest.approx(published, abs=0.03)
