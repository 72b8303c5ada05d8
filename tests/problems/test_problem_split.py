"""The parts of a data set: their sizes, what they are drawn from, and the figures of each."""

import zlib

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays
from optrun.config import from_mapping
from optrun.errors import ConfigError
from optrun.problems import SoftmaxRegression
from optrun.problems.data import drawn_parts, load
from optrun.training.checkpoints import run_key


def labels_of(data: str) -> np.ndarray:
    return load(data).classes()[1]


@pytest.mark.parametrize("data", ["iris", "digits", "breast_cancer", "blobs(samples=37, classes=4)"])
@pytest.mark.parametrize(
    ("test", "validation"), [(0.2, 0.0), (0.2, 0.2), (0.0, 0.3), (0.15, 0.6), (0.6, 0.1)]
)
def test_each_part_has_its_fraction_of_every_class(data, test, validation):
    labels = labels_of(data)
    parts = drawn_parts(labels, len(labels), test=test, validation=validation, seed=3)
    assert list(parts) == ["train", "val", "test"]
    assert np.array_equal(np.sort(np.concatenate([*parts.values()])), np.arange(len(labels)))
    for label, size in zip(*np.unique(labels, return_counts=True), strict=True):
        counts = {part: int((labels[rows] == label).sum()) for part, rows in parts.items()}
        held_out = round(test * size), round(validation * size)
        assert counts == {"train": size - sum(held_out), "val": held_out[1], "test": held_out[0]}
    for rows in parts.values():
        assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize("data", ["iris", "digits", "breast_cancer"])
@pytest.mark.parametrize(("part", "fraction"), [("test", 0.2), ("val", 0.25)])
def test_a_part_has_the_classes_that_one_of_scikit_learn_has(data, part, fraction):
    model_selection = pytest.importorskip("sklearn.model_selection")
    labels = labels_of(data)
    parts = drawn_parts(labels, len(labels), test=0.2, validation=0.25, seed=0)
    _, theirs = model_selection.train_test_split(labels, test_size=fraction, stratify=labels)
    assert np.abs(np.bincount(labels[parts[part]]) - np.bincount(theirs)).max() <= 1


@pytest.mark.parametrize("labels", [None, np.arange(101) % 7], ids=["real", "classes"])
@pytest.mark.parametrize("seed", [0, 5])
def test_the_test_part_does_not_depend_on_the_validation_part(labels, seed):
    without, beside = (drawn_parts(labels, 101, test=0.2, validation=each, seed=seed) for each in (0.0, 0.3))
    assert np.array_equal(without["test"], beside["test"])
    assert np.array_equal(without["train"], np.sort(np.concatenate([beside["train"], beside["val"]])))
    other = drawn_parts(labels, 101, test=0.2, validation=0.3, seed=seed + 1)
    assert not np.array_equal(beside["val"], other["val"])


def test_every_class_keeps_a_sample_for_training():
    labels = np.array([0] * 50 + [1, 2, 2])
    parts = drawn_parts(labels, len(labels), test=0.5, validation=0.49, seed=0)
    assert {label: int((labels[parts["train"]] == label).sum()) for label in (0, 1, 2)} == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_fraction": 0.8}, "0.8, with a test_fraction of 0.2, leaves no sample for training"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "0.5, with a test_fraction of 0.5, leaves no"),
        ({"validation_fraction": 1e-6}, "validation_fraction: 1e-06 of 150 samples is no sample"),
    ],
)
def test_a_fraction_that_leaves_a_part_empty_is_refused_at_its_place(options, message):
    problem = {"name": "softmax_regression", "data": "iris", **options}
    with pytest.raises(ConfigError, match=message) as caught:
        optrun.run({"problem": problem, "optimizer": "SGD", "steps": 1}, save=False)
    assert caught.value.field == "problem.validation_fraction"


CONFIG = {
    "problem": {"name": "softmax_regression", "data": "wine", "validation_fraction": 0.25},
    "optimizer": {"name": "Adam", "lr": 0.03},
    "steps": 12,
    "evaluate": {"every": 5},
    "dtype": "float64",
}


def test_validation_figures_are_those_of_the_stored_parameters(tmp_path):
    run = optrun.run(CONFIG, directory=tmp_path / "run")
    found = optrun.load_run(run.path)
    data = load("wine")
    labels = data.classes()[1]
    sequence = np.random.SeedSequence(0, spawn_key=(zlib.crc32(b"split"),))
    order = np.random.Generator(np.random.PCG64(sequence)).permutation(len(labels)).tolist()
    parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for label in range(3):
        own = [i for i in order if labels[i] == label]
        test = round(0.2 * len(own))
        end = test + round(0.25 * len(own))
        parts["test"] += own[:test]
        parts["val"] += own[test:end]
        parts["train"] += own[end:]
    train = data.features[parts["train"]]
    features = (data.features - train.mean(0)) / train.std(0)
    for part, rows in parts.items():
        logits = features[rows] @ found.params["weight"] + found.params["bias"]
        accuracy = np.mean(logits.argmax(1) == labels[rows])
        each = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(rows)), labels[rows]]
        assert found.summary[f"{part}_accuracy"] == pytest.approx(accuracy, rel=1e-12)
        assert found.summary[f"{part}_loss"] == pytest.approx(each.mean(), rel=1e-9)
    assert found.evaluations["step"].tolist() == [0, 5, 10, 12]
    assert found.evaluations["val_accuracy"][-1] == found.summary["val_accuracy"]
    names = ["train_accuracy", "train_loss", "val_accuracy", "val_loss", "test_accuracy", "test_loss"]
    assert list(found.summary) == ["final_loss", *names]


def test_without_a_validation_part_a_run_is_what_it_was():
    """The option is left out of configs where it is 0, so that checkpoints and stores of before are found."""
    problem = {"name": "softmax_regression", "data": "iris"}
    plain = from_mapping({**CONFIG, "problem": problem})
    zero = from_mapping({**CONFIG, "problem": {**problem, "validation_fraction": 0.0}})
    assert "validation_fraction" not in plain.to_dict()["problem"]
    assert zero.to_dict() == plain.to_dict()
    assert run_key(plain) == "0:4ba719c50c368e63"
    assert from_mapping(from_mapping(CONFIG).to_dict()).problem.options["validation_fraction"] == 0.25
    made = SoftmaxRegression(Arrays(dtype="float64"), data="iris")
    assert {part: len(x) for part, (x, _) in made.parts.items()} == {"train": 120, "test": 30}


def test_what_is_inferred_names_the_parts():
    made = SoftmaxRegression(Arrays(), data="iris", validation_fraction=0.2)
    assert made.inferred.startswith("data iris: 150 samples (90 train, 30 val, 30 test) of 4 features")
    alone = SoftmaxRegression(Arrays(), data="iris", test_fraction=0.0, validation_fraction=0.2)
    assert alone.inferred.startswith("data iris: 150 samples (120 train, 30 val) of 4 features")
