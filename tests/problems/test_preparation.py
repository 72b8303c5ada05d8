"""The preparation of samples: what training rows tell, applied to others, and as plain data the same to the bit."""

import json

import numpy as np
import pytest

from optrun.arrays import Arrays
from optrun.errors import ConfigError
from optrun.problems.data import Preparation, Scaling, Target
from optrun.problems.data.columns import DataColumn, Table
from optrun.problems.data.treatments import Number
from optrun.problems.networks import MLP
from optrun.problems.regression import LinearRegression

NAN = float("nan")
TRAIN = np.arange(6)


def words(name, *cells):
    known = tuple(sorted({cell for cell in cells if cell}))
    return DataColumn(name, np.array([known.index(cell) if cell else -1 for cell in cells], np.int32), known)


def table(*columns):
    return Table(columns, np.arange(2, 2 + len(columns[0])))


def samples():
    """Return six training rows, and two others with an unknown word and an extreme value."""
    return table(
        DataColumn("age", np.array([3.0, 1.0, NAN, 4.0, 4.0, 10.0, 1e6, NAN])),
        words("colour", "red", "blue", "", "red", "green", "red", "violet", "blue"),
        DataColumn("zip", np.array([7, 5, 7, 7, 5, 7, 5, 9])),
    )


def again(preparation):
    return Preparation.from_json(json.loads(json.dumps(preparation.to_json())))


@pytest.mark.parametrize("missing", ["median", "mode", "indicator"])
@pytest.mark.parametrize("standardize", [True, False])
def test_features_are_scikit_learns(missing, standardize):
    pytest.importorskip("sklearn")
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    data = samples()
    made = Preparation.fit(
        data, TRAIN, standardize=standardize, missing=missing, categories=["zip"], target=Target("y")
    )
    age = data["age"].values[:, None]
    filled = SimpleImputer(strategy="most_frequent" if missing == "mode" else "median").fit(age[TRAIN])
    colour = np.array(["red", "blue", "red", "red", "green", "red", "violet", "blue"], object)[:, None]
    kinds = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(colour[TRAIN])
    encoded = kinds.transform(colour)
    parts = [filled.transform(age), encoded, [[0, 1], [1, 0], [0, 1], [0, 1], [1, 0], [0, 1], [1, 0], [0, 0]]]
    names = ["age", "colour=blue", "colour=green", "colour=red", "zip=5", "zip=7"]
    if missing == "indicator":
        encoded[2] = 0
        parts.insert(1, MissingIndicator().fit_transform(age))
        parts.insert(3, [[row == 2] for row in range(8)])
        names.insert(1, "age is missing")
        names.insert(5, "colour is missing")
    expected = np.hstack(parts)
    if standardize:
        expected = StandardScaler().fit(expected[TRAIN]).transform(expected)
    found = made.features(data)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert made.names == names
    assert found.tobytes() == again(made).features(data).tobytes()
    assert made.unknown(data) == {"colour": 1, "zip": 1}
    assert made.unknown_words(data.take(np.array([6, 6]))) == [
        "all 2 cells of 'colour' have words that no training sample has, such as 'violet', in place of 'blue', "
        "'green', 'red': all features of the column are 0 there"
    ]


def test_columns_are_found_by_name_in_any_order_beside_others():
    data = samples()
    made = Preparation.fit(data, TRAIN, standardize=True, missing="median")
    moved = table(*reversed(data.columns), words("note", *"abcdefgh"))
    assert made.features(moved).tobytes() == made.features(data).tobytes()
    assert made.features(data.take(np.array([7]))).tobytes() == made.features(data)[7:].tobytes()


def test_all_that_is_wrong_with_new_rows_is_named_at_once():
    complete = table(
        DataColumn("age", np.arange(8.0)),
        DataColumn("size", np.arange(8.0)),
        words("colour", *"abababab"),
        DataColumn("far", np.arange(8.0)),
    )
    made = Preparation.fit(complete, TRAIN, standardize=True)
    new = table(
        words("age", "x", "2", "y"),
        DataColumn("siz", np.arange(3.0)),
        words("colour", "a", "", "b"),
        DataColumn("far", np.array([1, 2, np.inf])),
    )
    with pytest.raises(ConfigError) as caught:
        made.features(new)
    assert str(caught.value) == (
        "data: 'age' has 2 words in place of numbers, such as 'x' in line 2; no column 'size'. Did you mean 'siz'?; "
        "'colour' lacks 1 value (line 3), and none was filled in for training: leave out such rows, or train with "
        "missing: median; 'far' is not finite (line 4)"
    )


def test_no_column_of_training_is_suggested_for_another_one():
    both = table(DataColumn("column 3", np.arange(8.0)), DataColumn("column 4", np.arange(8.0)))
    made = Preparation.fit(both, TRAIN, standardize=True)
    with pytest.raises(ConfigError) as caught:
        made.features(table(DataColumn("column 3", np.arange(8.0))))
    assert str(caught.value) == "data: no column 'column 4'"


@pytest.mark.parametrize(
    ("low", "high", "median"),
    [(1.5e308, 1.7e308, 1.6e308), (5e-324, 5e-324, 5e-324), (-1e308, 1.5e308, 2.5e307)],
)
def test_the_median_is_exact_among_the_largest_and_the_least_numbers(low, high, median):
    column = DataColumn("a", np.array([low, np.nan, high]))
    assert Number.fit(column, "median").fill == median


def test_a_column_without_values_in_training_is_refused():
    data = table(DataColumn("a", np.array([NAN] * 6 + [1.0, 2.0])), DataColumn("b", np.arange(8.0)))
    with pytest.raises(ConfigError, match="no training sample has a value of 'a': drop it"):
        Preparation.fit(data, TRAIN, standardize=True, missing="median")


@pytest.mark.parametrize("values", [np.array([1.0, 2, 4]), np.array([1e200, 3e200, -1e200]), np.full(3, 0.1)])
def test_scaling_can_be_undone_and_is_plain_data(values):
    made = Scaling.fit(values)
    np.testing.assert_allclose(made.invert(made.apply(values)), values, rtol=1e-12)
    plain = Scaling.from_json(json.loads(json.dumps(made.to_json())))
    assert plain.apply(values).tobytes() == made.apply(values).tobytes()


def test_images_keep_their_shape():
    images = np.random.default_rng(0).normal(size=(8, 4, 3))
    made = Preparation.fit(images, TRAIN, standardize=True)
    assert made.shape == (4, 3)
    np.testing.assert_allclose(made.features(images)[TRAIN].std(axis=0), 1)
    assert again(made).features(images).tobytes() == made.features(images).tobytes()
    with pytest.raises(ConfigError, match=r"samples of shape \(12,\), where \(4, 3\) are expected"):
        made.features(images.reshape(8, 12))


def test_a_problem_has_its_preparation(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("a,b,kind\n" + "\n".join(f"{i}.5,{i * i},{'xyz'[i % 3]}" for i in range(30)))
    made = MLP(Arrays("numpy", "float64"), data=str(path))
    target = again(made.preparation).target
    assert (target.name, target.classes) == ("kind", ("x", "y", "z"))
    assert target.decoded(np.array([2, 0])).tolist() == ["z", "x"]
    new = table(DataColumn("b", np.array([4.0])), DataColumn("a", np.array([2.5])))
    features = again(made.preparation).features(new)
    assert any((row == features[0]).all() for part, _ in made.parts.values() for row in part)
    real = LinearRegression(Arrays("numpy", "float64"), data="diabetes")
    scaled = real.parts["test"][1]
    values = again(real.preparation).target.decoded(scaled)
    np.testing.assert_allclose(values, np.round(values), atol=1e-9)
    assert real.preparation.target.classes == ()


def test_another_version_is_refused():
    with pytest.raises(ConfigError, match="version 2 is unknown, 1 is known"):
        Preparation.from_json({"version": 2})


def test_a_category_for_each_row_is_refused_before_it_fills_the_memory():
    samples = 12_000
    column = DataColumn("id", np.arange(samples), is_whole=True)
    with pytest.raises(ConfigError, match=r"'id' alone becomes 12,000 features: drop it"):
        Preparation.fit(
            Table((column,), np.arange(samples)), np.arange(samples), standardize=True, categories=["id"]
        )
