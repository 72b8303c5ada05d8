"""Splits by fractions, by folds and by groups: each class in each part, each sample tested once, groups whole."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays
from optrun.config import ConfigErrors, from_mapping
from optrun.config import load as load_config
from optrun.errors import ConfigError
from optrun.problems.data import Dataset, Split, load
from optrun.problems.regression import LinearRegression, SoftmaxRegression
from optrun.training.run_seed import problem_options


def sizes(problem):
    return {part: len(x) for part, (x, _) in problem.parts.items()}


@pytest.fixture
def visits(tmp_path):
    """Write a table of 40 rows of 8 patients, with a rare class, and return its path."""
    draw = random.Random(0)
    lines = ["patient,a,b,y"]
    lines += [
        f"P{i % 8},{draw.random():.3f},{draw.random():.3f},{'ill' if i < 3 else 'well'}" for i in range(40)
    ]
    path = tmp_path / "visits.csv"
    path.write_text("\n".join(lines))
    return str(path)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ({"train": 0.7, "validation": 0.15, "test": 0.15}, {"train": 105, "val": 24, "test": 21}),
        ({"test": 0.5}, {"train": 75, "test": 75}),
        ({"train": 0.9, "val": 0.1}, {"train": 135, "val": 15}),
        ({"Train": 1}, {"train": 150}),
    ],
)
def test_fractions_of_all_parts(split, expected):
    found = sizes(SoftmaxRegression(Arrays(), data="iris", split=split))
    assert sum(found.values()) == 150
    assert all(abs(found[part] - size) <= 3 for part, size in expected.items())
    assert found.keys() == expected.keys()
    same = SoftmaxRegression(
        Arrays(),
        data="iris",
        test_fraction=split.get("test", 0.0),
        validation_fraction=split.get("validation", split.get("val", 0.0)),
    )
    assert (
        same.parts["train"][0] == SoftmaxRegression(Arrays(), data="iris", split=split).parts["train"][0]
    ).all()
    other = SoftmaxRegression(Arrays(), data="iris", split=split, split_seed=1)
    assert len(split) == 1 or (other.parts["train"][0] != same.parts["train"][0]).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": {"train": 0.7, "test": 0.2}}, r"are 0.7 \+ 0 \+ 0.2, where 1 is expected"),
        ({"split": {"train": 0, "test": 1}}, "with some for training"),
        ({"split": {"test": 0.2}, "validation_fraction": 0.1}, "validation_fraction: split says it"),
        ({"split": {"train": "a.csv"}}, "split: the training samples are data"),
        ({"split": {"test": "a.csv", "val": 0.1}}, "split: fractions or files, not both"),
        ({"split": {"val": "a.csv"}, "validation_fraction": 0.1}, "split names a file of that part"),
        ({"split": {"test": True}}, "split.test must be a number or a string"),
        ({"split": {"tset": 0.2}}, "'tset' is no part.*mean 'test'"),
        ({"split": {"test": 2.0}}, "split.*must be ≤ 1"),
        ({"folds": 5, "fold": "seed"}, "fold: a problem without a run has no seed to follow"),
        ({"fold": 2}, "fold: 2 of how many"),
        ({"folds": 151}, "folds: 151 are more than the 150 samples"),
        ({"folds": 1}, "folds must be ≥ 2"),
        ({"folds": 3, "test_fraction": 0.2}, "test_fraction: it has no effect beside folds"),
        ({"folds": 3, "split": {"test": 0.2}}, "folds: it has no effect beside split"),
        ({"group": 0}, "group: only a table"),
    ],
)
def test_wrong_splits(options, message):
    with pytest.raises(ConfigError, match=message):
        SoftmaxRegression(Arrays(), data="iris", **options)


@pytest.mark.parametrize("folds", [2, 5, 7])
def test_folds_have_each_sample_once_and_each_class_as_scikit_learn(folds):
    model_selection = pytest.importorskip("sklearn.model_selection")
    data = load("wine")
    labels = data.classes()[1]
    rows = [Split(folds=folds, fold=fold, validation=0.1).rows(data, labels) for fold in range(folds)]
    assert np.sort(np.concatenate([each["test"] for each in rows])).tolist() == list(range(178))
    theirs = model_selection.StratifiedKFold(folds).split(labels, labels)
    for own, (_, test) in zip(rows, theirs, strict=True):
        assert np.sort(np.concatenate([*own.values()])).tolist() == list(range(178))
        assert np.abs(np.bincount(labels[own["test"]]) - np.bincount(labels[test])).max() <= 1
        assert abs(len(own["test"]) - len(test)) <= 1
        assert abs(len(own["val"]) - 18) <= 2
    real = load("diabetes")
    tested = [Split(folds=folds, fold=fold).rows(real, None)["test"] for fold in range(folds)]
    assert np.sort(np.concatenate(tested)).tolist() == list(range(442))


@pytest.mark.parametrize(
    "options", [{}, {"validation_fraction": 0.25}, {"folds": 4}, {"folds": 3, "validation_fraction": 0.2}]
)
def test_a_group_is_in_one_part(visits, options):
    patients = [int(line[1]) for line in Path(visits).read_text().splitlines()[1:]]
    tested = []
    for fold in range(options.get("folds", 1)):
        made = SoftmaxRegression(
            Arrays(),
            data=visits,
            group="patient",
            standardize=False,
            **options | ({"fold": fold} if "folds" in options else {}),
        )
        assert "of 2 features a, b (header)" in made.inferred
        groups = [{patients[i] for i in rows} for rows in rows_of(made, visits)]
        assert len(groups) == 2 + ("validation_fraction" in options)
        assert sorted(group for part in groups for group in part) == list(range(8))
        tested += rows_of(made, visits)[-1]
    if "folds" in options:
        assert sorted(tested) == list(range(40))
    else:
        assert len(tested) == 10  # the nearest to a fifth of 40 rows in groups of 5


def rows_of(problem, path):
    """Return the rows of a table that each part of a problem has, by their features."""
    lines = [tuple(np.float32(line.split(",")[1:3])) for line in Path(path).read_text().splitlines()[1:]]
    return [[lines.index(tuple(row)) for row in x] for x, _ in problem.parts.values()]


def test_every_class_is_in_every_part_or_a_note_says_so(visits):
    made = SoftmaxRegression(Arrays(), data=visits, group="patient", test_fraction=0.1)
    assert any("part has no sample of the class 'ill'" in note for note in made.notes)
    drawn = SoftmaxRegression(
        Arrays(), data=visits, drop=["patient"], test_fraction=0.1, validation_fraction=0.1
    )
    assert [int((y == 0).sum()) for _, y in drawn.parts.values()] == [1, 1, 1]
    assert not [note for note in drawn.notes if "no sample" in note]


def test_a_group_must_be_known(visits):
    with open(visits, "a") as file:
        file.write("\n,1,2,well")
    with pytest.raises(ConfigError, match=r"'patient', the group, is missing in line 42"):
        SoftmaxRegression(Arrays(), data=visits, group="patient")
    with pytest.raises(ConfigError, match="group: the column is the target"):
        LinearRegression(Arrays(), data=visits, target="a", group="a")


def test_folds_are_an_axis_of_a_sweep(tmp_path):
    problem = {"name": "softmax_regression", "data": "iris", "folds": 3}
    config = {
        "problem": problem,
        "optimizer": {"name": "Adam", "lr": 0.1},
        "steps": 3,
        "sweep": {"parameters": {"problem.fold": [0, 1, 2]}},
    }
    found = optrun.sweep(config, directory=tmp_path / "axis", jobs=1)
    losses = {run.summary["test_loss"] for run in found.runs}
    assert len(losses) == 3
    repeated = {**config, "problem": {**problem, "fold": "seed"}, "seed": 7, "seeds": {"init": 0, "data": 0}}
    found = optrun.sweep(
        {**repeated, "sweep": {"parameters": {}, "repeats": 3}}, directory=tmp_path / "r", jobs=1
    )
    assert {run.summary["test_loss"] for run in found.runs} == losses
    written = from_mapping({**config, "sweep": None}).to_dict()["problem"]
    assert "test_fraction" not in written
    assert from_mapping({"problem": written, "optimizer": "SGD", "steps": 1}).to_dict()["problem"] == written
    with pytest.raises(ConfigErrors, match="test_fraction: has no effect beside folds: leave it out"):
        from_mapping({**config, "sweep": None, "problem": {**problem, "test_fraction": 0.2}})


def write(directory, **tables):
    for name, lines in tables.items():
        (directory / f"{name}.csv").write_text("\n".join(lines) + "\n")


HEAD = "a,colour,y"
TRAIN = [HEAD, *(f"{i}.5,{'red' if i % 2 else 'blue'},{'uv'[i % 3 == 0]}" for i in range(12))]


def test_parts_of_files_of_their_own(tmp_path):
    write(
        tmp_path,
        train=TRAIN,
        test=["y,extra,colour,a", "u,1,red,100", "v,2,green,200"],
        val=[HEAD, "1,blue,v", "2,red,u"],
    )
    config = {
        "problem": {
            "name": "softmax_regression",
            "data": "train.csv",
            "split": {"test": "test.csv", "validation": "val.csv"},
            "target": "y",
        },
        "optimizer": "SGD",
        "steps": 1,
    }
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(config))
    problem = load_config(path).problem
    assert problem.options["split"]["test"] == str(tmp_path / "test.csv")  # from wherever it is run
    made = SoftmaxRegression(Arrays(dtype="float64"), **problem.options)
    assert sizes(made) == {"train": 12, "val": 2, "test": 2}
    assert "16 samples (12 train, 2 val, 2 test) of 2 columns a, colour" in made.inferred
    assert made.inferred.endswith("(split by files)")
    assert made.preparation.names == ["a", "colour=blue", "colour=red"]
    a = np.array([i + 0.5 for i in range(12)])
    np.testing.assert_allclose(made.parts["test"][0][:, 0], (np.array([100, 200]) - a.mean()) / a.std())
    unscaled = SoftmaxRegression(Arrays(dtype="float64"), **problem.options | {"standardize": False})
    np.testing.assert_array_equal(unscaled.parts["test"][0][:, 1:], [[0, 1], [0, 0]])
    assert unscaled.parts["test"][1].tolist() == [0, 1]
    twice = problem.options | {"split": dict.fromkeys(("test", "val"), str(tmp_path / "test.csv"))}
    notes = [set(SoftmaxRegression(Arrays(), **each).notes) for each in (problem.options, twice)]
    assert "the val and test parts are one file" in " ".join(notes[1] - notes[0])
    before = made.fingerprint
    write(tmp_path, test=["y,colour,a", "u,red,100", "u,green,200"])
    assert SoftmaxRegression(Arrays(), **problem.options).fingerprint != before
    drawn = SoftmaxRegression(
        Arrays(),
        data=str(tmp_path / "train.csv"),
        target="y",
        split={"test": str(tmp_path / "test.csv")},
        validation_fraction=0.25,
    )
    assert {part: len(x) for part, (x, _) in drawn.parts.items()} == {"train": 9, "val": 3, "test": 2}


def test_files_that_differ_are_refused_with_all_differences(tmp_path):
    write(tmp_path, train=TRAIN)
    for lines, message in (
        (["b,color,y", "x,red,1", "y,blue,2"], "split: no column 'a' and none 'colour' in 'test.csv'"),
        (
            ["a,colour,y", "x,red,1", "y,blue,2"],
            "its targets are words, or those .*: column 'a' has words, such as 'x', where numbers are for training",
        ),
        (
            ["a,colour,z", "1,red,1"],
            "split: no single column 'y' in 'test.csv': its columns are a, colour, z",
        ),
    ):
        write(tmp_path, test=lines)
        with pytest.raises(ConfigError, match=message) as caught:
            SoftmaxRegression(
                Arrays(), data=str(tmp_path / "train.csv"), split={"test": str(tmp_path / "test.csv")}
            )
        assert caught.value.field == "split"


@pytest.mark.parametrize("of_training", [{"drop": ["p"]}, {"group": "p"}, {"features": ["a", "col*"]}])
def test_the_training_file_decides_which_columns_of_other_files_are_read_and_as_what(tmp_path, of_training):
    write(
        tmp_path,
        train=["a,colour,y,p", *(f"{i}.5,{'red' if i % 2 else 'blue'},{'uv'[i % 2]},{i}" for i in range(12))],
        test=["text;y;colour;when;a;empty", "one;u;green;2024-01-02;1,25;", "two;v;red;2024-01-03;2,5;"],
    )
    made = SoftmaxRegression(
        Arrays(dtype="float64"),
        data=str(tmp_path / "train.csv"),
        target="y",
        split={"test": str(tmp_path / "test.csv")},
        standardize=False,
        **of_training,
    )
    assert made.preparation.names == ["a", "colour=blue", "colour=red"]
    assert made.parts["test"][0].tolist() == [[1.25, 0, 0], [2.5, 0, 1]]
    assert made.parts["test"][1].tolist() == [0, 1]


def test_files_without_header_are_read_by_the_numbers_of_columns(tmp_path):
    write(tmp_path, train=["1.5,x,0.5,u", "2.5,z,1.5,v"], test=["3.5,q,2.5,v", "4.5,z,1.25,u"])
    made = SoftmaxRegression(
        Arrays(dtype="float64"),
        data=str(tmp_path / "train.csv"),
        header=False,
        drop=[1],
        split={"test": str(tmp_path / "test.csv")},
        standardize=False,
    )
    assert made.parts["test"][0].tolist() == [[3.5, 2.5], [4.5, 1.25]]
    assert made.parts["test"][1].tolist() == [1, 0]


def test_archives_of_images_are_parts_too(tmp_path):
    for name, count in (("train", 6), ("test", 4)):
        np.savez(
            tmp_path / f"{name}.npz",
            X=np.random.default_rng(0).normal(size=(count, 2, 3)),
            y=np.arange(count) % 2,
        )
    made = SoftmaxRegression(
        Arrays(), data=str(tmp_path / "train.npz"), split={"test": str(tmp_path / "test.npz")}
    )
    assert sizes(made) == {"train": 6, "test": 4}
    assert made.preparation.shape == (2, 3)


def test_folds_that_follow_the_seed_are_of_one_split():
    section = {"name": "softmax_regression", "data": "iris", "folds": 5, "fold": "seed", "split_seed": "seed"}
    config = from_mapping({"problem": section, "optimizer": "SGD", "steps": 1})
    with pytest.raises(ConfigError, match="together they do not test each sample once"):
        problem_options(config)


def test_a_validation_part_of_all_training_samples_is_refused():
    data = load("iris")
    with pytest.raises(ConfigError, match=r"0\.6 of 150 samples, of which 75 .* leaves no sample"):
        Split(folds=2, validation=0.6).rows(data, data.classes()[1])


def test_a_part_much_larger_than_its_fraction_is_noted():
    classes = np.arange(300) % 100
    data = Dataset("d.csv", np.zeros((300, 1)), classes)
    for fraction, expected in ((0.02, ["the test part has 100 of 300 samples, not the 6"]), (0.3, [])):
        split = Split(test=fraction)
        notes = split.notes(data, split.rows(data, classes))
        assert [note.partition(" of its")[0] for note in notes] == expected
