"""Data that say themselves which samples are for training, for validation and for testing."""

import random

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays
from optrun.config import ConfigErrors, from_mapping
from optrun.errors import ConfigError
from optrun.problems import LinearRegression, SoftmaxRegression
from optrun.problems.data import load

WORDS = ["train", "validation", "test", "Train", "val", "TEST", "train"]
NAMES = ["train", "val", "test", "train", "val", "test", "train"]


def rows(words=WORDS, place=1):
    """Return lines of two features, the part and a class."""
    draw = random.Random(0)
    found = []
    for i, word in enumerate(words):
        cells = [f"{draw.random():.3f}", f"{draw.random():.3f}", "ab"[i % 2]]
        found.append(",".join([*cells[:place], word, *cells[place:]]))
    return found


@pytest.fixture
def table(tmp_path):
    def write(lines, name="d.csv"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write


def parts_of(problem):
    return {part: len(x) for part, (x, _) in problem.parts.items()}


@pytest.mark.parametrize(
    ("header", "place", "split"),
    [
        ("x,part,z,y", 1, "part"),
        ("x,part,z,y", 1, 1),
        ("part,x,z,y", 0, 0),
        ("x,z,y,part", 3, "part"),
        ("x,z,y,part", 3, -1),
        (None, 1, 1),
        (None, 3, 3),
        (None, 0, -4),
    ],
)
def test_a_column_says_the_part_of_each_row_and_is_no_feature(header, place, split, table):
    body = rows(place=place)
    path = table([header, *body] if header else body)
    made = SoftmaxRegression(Arrays(dtype="float64"), data=path, split=split, standardize=False)
    found = {part: x.tolist() for part, (x, _) in made.parts.items()}
    expected = {"train": [], "val": [], "test": []}
    for name, line in zip(NAMES, rows(place=0), strict=True):
        expected[name].append([float(cell) for cell in line.split(",")[1:3]])
    assert found == expected
    said = repr("part") if header else f"column {place + 1}"
    assert "7 samples (3 train, 2 val, 2 test) of 2 features" in made.inferred
    assert made.inferred.endswith(f"2 classes 4 + 3 (split by {said})")


def test_the_training_part_alone_decides_the_scaling(table):
    path = table(["x,part,y", "1,train,2", "3,train,4", "100,test,300", "-50,val,7"])
    made = LinearRegression(Arrays(dtype="float64"), data=path, split="part")
    assert made.parts["train"][0].tolist() == [[-1.0], [1.0]]
    assert made.parts["test"][0].tolist() == [[98.0]]
    assert made.parts["val"][1].tolist() == [4.0]
    assert made.inferred.endswith("real, 2 … 300 (split by 'part')")


@pytest.mark.parametrize(
    ("words", "split", "message"),
    [
        (["train", "tset", "test"], "part", r"column 2 'part', line 3: 'tset' is no part: .*mean 'test'\?"),
        (
            ["train", "", "test"],
            "part",
            r"column 2 'part', line 3: '' is no part: train, val or test is expected",
        ),
        (["test", "val", "test"], "part", "split: no sample of 'd.csv' is for training"),
        (["train", "val", "test"], "prt", "split: no single column 'prt' in 'd.csv'"),
        (["train", "val", "test"], 4, "split: 'd.csv' has 4 columns, so none has the index 4"),
        (["train", "val", "test"], "y", "split: the column is the target"),
    ],
)
def test_what_is_no_split_is_refused_at_its_line_and_column(words, split, message, table):
    path = table(["x,part,z,y", *rows(words)])
    with pytest.raises(ConfigError, match=message):
        SoftmaxRegression(Arrays(), data=path, split=split, target="y")


def test_a_word_in_the_first_line_of_a_table_without_header(table):
    path = table(rows(["tran", "train", "test"]))
    with pytest.raises(ConfigError, match="column 2, line 1: 'tran' is no part"):
        SoftmaxRegression(Arrays(), data=path, split=1, header=False)


def archive(path, **arrays):
    np.savez(path, X=np.arange(14.0).reshape(7, 2), y=np.array([0, 1] * 3 + [0]), **arrays)
    return str(path)


def test_an_array_of_an_npz_file_says_the_part(tmp_path):
    path = archive(tmp_path / "d.npz", fold=np.array(WORDS))
    made = SoftmaxRegression(Arrays(dtype="float64"), data=path, split="fold", standardize=False)
    assert {part: x[:, 0].tolist() for part, (x, _) in made.parts.items()} == {
        "train": [0.0, 6.0, 12.0],
        "val": [2.0, 8.0],
        "test": [4.0, 10.0],
    }
    assert "(split by 'fold')" in made.inferred
    assert parts_of(SoftmaxRegression(Arrays(), data=path)) == {"train": 5, "test": 2}


@pytest.mark.parametrize(
    ("arrays", "split", "message"),
    [
        ({}, "fold", "split: no array 'fold' in 'd.npz'; it has X, y"),
        ({"fold": np.arange(7)}, "fold", "fold: 7 words expected, as X has rows, not int64 of shape"),
        ({"fold": np.array(["train"] * 6)}, "fold", "fold: 7 words expected"),
        ({"fold": np.array(["train"] * 6 + ["x"])}, "fold", "fold: sample 6: 'x' is no part"),
        ({"fold": np.array(["train"] * 7)}, 2, "split: the arrays of an NPZ file have names, not numbers"),
    ],
)
def test_an_array_that_is_no_split_is_refused(arrays, split, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        SoftmaxRegression(Arrays(), data=archive(tmp_path / "d.npz", **arrays), split=split)


def test_shipped_data_have_no_columns():
    with pytest.raises(ConfigError, match="split: only a table or an NPZ file says its split, not 'iris'"):
        SoftmaxRegression(Arrays(), data="iris", split="part")


@pytest.mark.parametrize("option", ["test_fraction", "validation_fraction", "split_seed"])
def test_a_given_split_excludes_what_would_draw_one(option, table):
    path = table(["x,part,z,y", *rows()])
    value = 0 if option == "split_seed" else 0.2  # split_seed and test_fraction at their defaults, too
    config = {"problem": {"name": "mlp", "data": path, "split": "part"}, "optimizer": "SGD", "steps": 2}
    with pytest.raises(ConfigErrors, match=f"problem.{option}: has no effect beside split: leave it out"):
        from_mapping({**config, "problem": {**config["problem"], option: value}})
    with pytest.raises(ConfigError, match=f"{option}: it has no effect beside split"):
        SoftmaxRegression(Arrays(), data=path, split="part", **{option: value})
    written = from_mapping(config).to_dict()
    assert option not in written["problem"]
    assert from_mapping(written).to_dict() == written
    assert optrun.run(written, save=False).summary.keys() >= {"val_loss", "test_accuracy"}
    assert from_mapping({**config, "problem": {"name": "mlp", "split": None, option: value}})
    assert from_mapping({**config, "problem": {**config["problem"], option: None}}).to_dict() == written


def test_another_split_of_the_same_samples_is_other_data(table):
    lines = ["x,part,z,y", *rows()]
    path = table(lines)
    both = [load(path, optrun.problems.data.Layout(split="part")).fingerprint]
    table([lines[0], *rows([*WORDS[:-1], "test"])])
    both.append(load(path, optrun.problems.data.Layout(split="part")).fingerprint)
    assert both[0] != both[1]
