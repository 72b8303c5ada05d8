"""Metrics of predictions, against scikit-learn and by hand; each lane depends on itself alone."""

import warnings

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays
from optrun.config.sweep.model import usual_goal
from optrun.problems import ClassificationMetric, RegressionMetric
from optrun.problems.metrics.prediction import ClassPredictions, Predictions, measured
from optrun.registry import prediction_metrics, problems
from tests.registries import restore_after

NAMES = prediction_metrics.in_order()
OF_CLASSES = [name for name in NAMES if prediction_metrics.find(name).task == "classification"]
OF_NUMBERS = [name for name in NAMES if name not in OF_CLASSES]
LANES = 5


def of_classes(classes, samples=60, seed=0, absent=()):
    """Return predictions with ties, probabilities of 0, a class that is never predicted, and a lane of chance."""
    draws = np.random.default_rng(seed)
    targets = draws.integers(0, classes, samples)
    for c in absent:
        targets[targets == c] = 0
    scores = draws.standard_normal((LANES, classes, samples)).round(1)
    scores[:, targets, np.arange(samples)] += np.linspace(0, 3, LANES)[:, None]
    scores[1] = 0
    scores[2, -1] = -800
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return ClassPredictions(
        targets, scores.argmax(axis=1), np.ones(LANES, bool), scores=shares, probabilities=shares
    )


def of_numbers(samples=60):
    draws = np.random.default_rng(1)
    targets = 100 * draws.standard_normal(samples) + 300
    targets[0] = 0
    predicted = targets + np.linspace(0, 200, LANES)[:, None] * draws.standard_normal((LANES, samples))
    return Predictions(targets, predicted, np.ones(LANES, bool))


def oracle(name, sk, predictions, lane):
    y, predicted = predictions.targets, predictions.predicted[lane]
    if name in OF_NUMBERS:
        called = {
            "rmse": sk.root_mean_squared_error,
            "mae": sk.mean_absolute_error,
            "mape": sk.mean_absolute_percentage_error,
            "r2": sk.r2_score,
            "median_error": sk.median_absolute_error,
        }
        return called[name](y, predicted)
    shares = predictions.probabilities[lane].T
    second = shares[:, 1] if shares.shape[1] == 2 else shares
    labels = range(shares.shape[1])
    called = {
        "accuracy": lambda: sk.accuracy_score(y, predicted),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(y, predicted),
        "f1_macro": lambda: sk.f1_score(y, predicted, average="macro"),
        "f1_weighted": lambda: sk.f1_score(y, predicted, average="weighted"),
        "log_loss": lambda: sk.log_loss(y, shares, labels=labels),
        "brier": lambda: sk.brier_score_loss(y, second, labels=labels),
        "roc_auc": lambda: sk.roc_auc_score(y, second, multi_class="ovr", average="macro"),
        "average_precision": lambda: sk.average_precision_score(y, second),
    }
    return called[name]()


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_each_is_that_of_scikit_learn(name):
    sk = pytest.importorskip("sklearn.metrics")
    cases = [of_numbers()] if name in OF_NUMBERS else [of_classes(2), of_classes(3), of_classes(7, 200)]
    if name not in (*OF_NUMBERS, "roc_auc", "average_precision"):
        cases.append(of_classes(4, absent=[2]))
    for predictions in cases:
        found = measured([name], predictions)[name]
        with warnings.catch_warnings(action="ignore"):
            expected = [oracle(name, sk, predictions, lane) for lane in range(LANES)]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


BY_HAND = {
    # Two classes: y = 0 0 1 1, said 0 1 1 1, with p = .1 .6 .6 .9 of the second.
    "accuracy": 3 / 4,
    "balanced_accuracy": (1 / 2 + 1) / 2,
    "f1_macro": (2 / 3 + 4 / 5) / 2,
    "f1_weighted": (2 / 3 + 4 / 5) / 2,
    "log_loss": -(np.log(0.9) + np.log(0.4) + np.log(0.6) + np.log(0.9)) / 4,
    "brier": (0.01 + 0.36 + 0.16 + 0.01) / 4,
    "roc_auc": (1 + 1 + 1 + 0.5) / 4,
    "average_precision": (1 + 2 / 3) / 2,
    # Numbers: y = 1 2 4, said 1 4 1.
    "rmse": np.sqrt(13 / 3),
    "mae": 5 / 3,
    "mape": (0 + 1 + 3 / 4) / 3,
    "r2": 1 - 13 / (14 / 3),
    "median_error": 2,
}


@pytest.mark.parametrize("name", NAMES)
def test_each_is_what_it_says_by_hand(name):
    one = np.array([[0.1, 0.6, 0.6, 0.9]])
    shares = np.stack([1 - one, one], axis=1)
    predictions = ClassPredictions(
        np.array([0, 0, 1, 1]), (one > 0.5) * 1, np.array([True]), scores=shares, probabilities=shares
    )
    if name in OF_NUMBERS:
        predictions = Predictions(np.array([1.0, 2, 4]), np.array([[1.0, 4, 1]]), np.array([True]))
    assert measured([name], predictions)[name] == pytest.approx(BY_HAND[name], rel=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_its_goal_is_where_a_perfect_prediction_is(name):
    cls = prediction_metrics.find(name)
    predictions = of_numbers() if name in OF_NUMBERS else of_classes(2, 200)
    worse, better = cls.of(predictions)[[1, -1]] if name in OF_CLASSES else cls.of(predictions)[[-1, 0]]
    assert bool(better > worse) is (cls.goal == "maximize")
    assert usual_goal(f"val_{name}") == usual_goal(f"average_test_{name}") == cls.goal


PROBLEMS = [
    ("softmax_regression", {"data": "iris"}, OF_CLASSES),
    ("logistic_regression", {}, OF_CLASSES),
    ("mlp", {"data": "diabetes", "hidden": [4]}, OF_NUMBERS),
]


@pytest.mark.parametrize(("name", "options", "metrics"), PROBLEMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_lane_has_the_bits_of_its_run_alone_and_what_was_measured_before_stays(
    name, options, metrics, dtype
):
    problem = problems.find(name)(Arrays(dtype=dtype), validation_fraction=0.2, **options)
    draws = np.random.default_rng(0)
    params = {
        each: draws.standard_normal((9, *shape)).astype(dtype) for each, shape in problem.shapes.items()
    }
    params[next(iter(params))][4] = np.inf
    with np.errstate(all="ignore"):
        found = problem.evaluate(params, measure=metrics)
        without = problem.evaluate(params)
        assert found.keys() - without.keys() == {
            f"{part}_{each}" for part in ("train", "val", "test") for each in metrics if each != "accuracy"
        }
        for each, values in without.items():
            assert found[each].tobytes() == values.tobytes()
        for lane in range(9):
            alone = problem.evaluate(
                {each: values[lane : lane + 1] for each, values in params.items()}, measure=metrics
            )
            for each, values in found.items():
                assert values[lane].tobytes() == alone[each][0].tobytes(), each
    for each in found.keys() - without.keys():
        assert np.isnan(found[each][4])
        assert np.isfinite(np.delete(found[each], 4)).all()
    if dtype == "float64" and metrics is OF_CLASSES:
        np.testing.assert_allclose(found["val_log_loss"][:4], without["val_loss"][:4], rtol=1e-12)


def test_numbers_are_in_the_units_of_the_target():
    config = {
        "problem": {"name": "linear_regression", "data": "diabetes"},
        "optimizer": {"name": "Adam", "lr": 0.1},
        "steps": 300,
        "dtype": "float64",
        "evaluate": {"metrics": ["rmse", "r2"]},
    }
    run = optrun.run(config, save=False)
    raw = optrun.run(
        {**config, "problem": {**config["problem"], "standardize": False}, "steps": 1}, save=False
    )
    spread = raw.summary["train_rmse"] / run.summary["train_rmse"]
    assert spread > 2  # far from 1: one is at the origin
    target = problems.find("linear_regression")(Arrays(), data="diabetes").targets["test"]
    assert 40 < run.summary["test_rmse"] < target.std()
    # The training part has variance 1 where it is standardized.
    assert run.summary["train_r2"] == pytest.approx(1 - run.summary["train_loss"], rel=1e-12)


@pytest.mark.parametrize(
    ("base", "body", "said"),
    [
        (ClassificationMetric, {}, "Other.measure takes some of targets, predicted, probabilities"),
        (RegressionMetric, {"measure": lambda predicted: predicted[:, 0]}, "Other.goal is 'minimize' or"),
        (
            RegressionMetric,
            {"measure": lambda confusion: 0, "goal": "minimize"},
            "takes some of targets, pre",
        ),
    ],
)
def test_a_class_that_is_no_metric_is_refused_where_it_is_defined(base, body, said, monkeypatch):
    restore_after(monkeypatch, prediction_metrics)
    body = {"measure": lambda x: x} | body
    with pytest.raises(TypeError, match=said):
        type("Other", (base,), {**body, "measure": staticmethod(body["measure"])})
