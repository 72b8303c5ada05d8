"""Tables as people have them: each trains, or one message says all that is wrong and what mends it."""

import json
import re

import numpy as np
import pytest

from optrun.arrays import Arrays
from optrun.config import from_mapping
from optrun.errors import ConfigError, MissingExtraError
from optrun.problems.data import Layout, Preparation, _load, files, load, shared, text
from optrun.problems.data.new_samples import given_samples, known_targets, read_samples
from optrun.problems.networks import MLP
from tests.missing import without
from tests.problems.real_tables import PLAIN, REAL_TABLES, YES_NO, among, real, sometimes, table, whole

ENGINES = {"csv": 1 << 40, "pandas": 0}


@pytest.fixture(params=ENGINES)
def engine(request, monkeypatch):
    """Read tables of any size by the engine of this name."""
    if request.param == "pandas":
        pytest.importorskip("pandas")
    monkeypatch.setattr(text, "PANDAS_FROM", ENGINES[request.param])
    files._raw_table.cache_clear()


def problem(path, options):
    made = MLP(Arrays(dtype="float64"), data=str(path), hidden=[4], **options)
    params = {name: made.arrays.array(value[None]) for name, value in made.initial(0).items()}
    grads = {name: np.empty_like(value) for name, value in params.items()}
    assert np.isfinite(made.loss_and_grad(params, grads, None)).all()
    return made


@pytest.mark.parametrize("name", REAL_TABLES)
def test_a_table_trains_or_one_message_says_what_is_wrong(name, tmp_path, engine):
    given = REAL_TABLES[name]
    path = tmp_path / "d.csv"
    path.write_bytes(given.content)
    options = given.options
    if given.wrong:
        with pytest.raises(ConfigError) as caught:
            problem(path, options)
        said = str(caught.value)
        for part in given.wrong:
            assert part in said, said
            said = said[said.index(part) :]
        options = options | given.mended
    if given.said:
        made = problem(path, options)
        for part in given.said:
            assert part in made.inferred, made.inferred
        if given.first:
            data = made._dataset
            assert (*map(cell, data.samples), data.targets[0]) == given.first
            slices(made, path, tmp_path / "slice.csv")


def cell(column):
    """Return the first cell of a column."""
    return column.values[0] if column.words is None else column.words[column.values[0]]


def slices(made, path, part):
    """Each row of a file alone is the sample that it is within the file, whatever the others are."""
    head, *lines = path.read_bytes().removeprefix(b"\xef\xbb\xbfsep=;\r\n").splitlines(keepends=True)
    preparation = Preparation.from_json(json.loads(json.dumps(made.preparation.to_json())))
    whole = read_samples(str(path), preparation)
    expected, (_, targets) = preparation.features(whole.samples), known_targets(whole, preparation.target)
    np.testing.assert_array_equal(expected, preparation.features(made._dataset.samples))
    for i in range(0, len(lines), 7):
        part.write_bytes(head + lines[i])
        alone = read_samples(str(part), preparation)
        assert preparation.features(alone.samples).tolist() == [expected[i].tolist()]
        assert known_targets(alone, preparation.target)[1].tolist() == [targets[i]]


def test_all_columns_are_the_same_by_either_engine(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    draw = np.random.default_rng(0)
    odd = [repr(float(x)) for x in draw.normal(size=300) * 10.0 ** draw.integers(-300, 300, 300)]
    whole = ["007", "+5", "-0", " 12", str(10**17), "3"] * 50
    mixed = ["1", "2.50", ".5", "5.", "1e3", "-1E-3"] * 50
    long = [f"{x:.30f}" for x in draw.random(300)]
    words = ["a", " b", "c ", "1", "", "NA"] * 50
    lines = [",".join(cells) for cells in zip(odd, whole, mixed, long, words, whole, strict=True)]
    path = tmp_path / "d.csv"
    path.write_text("odd,whole,mixed,long,words,y\n" + "\n".join(lines))
    found = []
    for name, size in ENGINES.items():
        monkeypatch.setattr(text, "PANDAS_FROM", size)
        if name == "pandas":
            monkeypatch.setattr(text, "_by_csv", lambda *_: pytest.fail("pandas has not read it"))
        data = read_anew(path)
        found.append([data.targets.tolist(), data.targets.dtype])
        found[-1] += [(c.name, c.values.tolist(), c.values.dtype, c.words, c.is_whole) for c in data.samples]
    assert found[0] == found[1]
    assert found[0][2][1] == list(map(float, odd))
    assert found[0][5][1] == list(map(float, long))


def read_anew(path):
    files._raw_table.cache_clear()
    return files.read(str(path), path, Layout(categories=("words",), missing="median"))


def test_pandas_reads_what_is_large(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    calls = []
    read = pandas.read_csv
    monkeypatch.setattr(
        pandas, "read_csv", lambda *args, **options: calls.append(1) or read(*args, **options)
    )
    path = tmp_path / "d.csv"
    for lines in (10, 200_000):
        path.write_text("a,b,y\n" + "1.5,2,0\n" * lines)
        assert load(str(path)).features.shape == (lines, 2)
        assert bool(calls) == (lines > 10)


def frame(pandas):
    days = pandas.date_range("2024-01-01", periods=6)
    return pandas.DataFrame(
        {
            "age": pandas.array([3, None, 5, 6, 7, 8], "Int64"),
            "height": [1.5, 2.5, np.nan, 0.1, 0.2, 0.3],
            "sex": pandas.Categorical(["m", "f", "m", None, "f", "m"]),
            "is_new": [True, False, True, False, True, True],
            "day": days,
            "kind": ["a", "b", "a", "b", "a", "b"],
        },
        index=[5, 3, 1, 0, 2, 4],
    )


def test_a_parquet_file_is_the_data_frame_that_was_written(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "d.parquet"
    frame(pandas).to_parquet(path)
    with pytest.raises(ConfigError) as caught:
        problem(path, {})
    said = str(caught.value)
    assert "'age' lacks 1 of 6 cells (row 2)" in said
    assert "'sex' lacks 1 of 6 cells (row 4)" in said
    assert "'day' holds dates or times, such as '2024-01-01" in said
    made = problem(path, {"drop": ["day"], "missing": "mode", "test_fraction": 0, "standardize": False})
    assert (
        "of 4 columns age, height, sex (2 categories), is_new (2 categories) as 6 features" in made.inferred
    )
    assert made.preparation.names == ["age", "height", "sex=f", "sex=m", "is_new=False", "is_new=True"]
    np.testing.assert_array_equal(made.parts["train"][0][1], [3, 2.5, 1, 0, 1, 0])
    assert (
        "target 'age': real, 3 … 8"
        in problem(
            path, {"target": "age", "features": ["kind"], "missing": "drop", "task": "regression"}
        ).inferred
    )


@pytest.mark.parametrize("cut", [0, 4, 100, -1, -9])
def test_a_damaged_parquet_file_is_a_config_error(cut, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "d.parquet"
    frame(pandas).to_parquet(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ConfigError, match=r"d.parquet.* not a readable Parquet file"):
        load(str(path))


def test_a_parquet_file_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "d.parquet").write_bytes(b"PAR1")
    without(monkeypatch, "pyarrow")
    with pytest.raises(MissingExtraError, match=r"-m pip install 'optrun\[data\]'"):
        load(str(tmp_path / "d.parquet"))


def test_a_table_that_another_process_has_read_is_the_same(tmp_path, monkeypatch):
    path = tmp_path / "d.csv"
    path.write_bytes(REAL_TABLES["mixed types"].content.replace(b"Oslo", b"Z\xc3\xbcrich"))
    monkeypatch.setattr(shared, "SHARED_FROM", 0)
    monkeypatch.setattr(shared, "_read", {})
    monkeypatch.setattr(shared, "_attached", {})
    made = problem(path, {})
    with shared.published() as tables:
        if not tables:
            pytest.skip("the system has no files in memory")
        shared.attach(tables)
        for each in (files._raw_table, _load):
            each.cache_clear()
        monkeypatch.setattr(files, "read_text", lambda *_: pytest.fail("the file is read again"))
        again = problem(path, {})
    assert (again.inferred, again.fingerprint) == (made.inferred, made.fingerprint)
    assert again.parts["train"][0].tobytes() == made.parts["train"][0].tobytes()
    assert shared.attached(next(iter(tables))) is None  # since the one that had published it is through


@pytest.mark.parametrize(
    ("columns", "note"),
    [
        ({"when": lambda d, i: 20240101 + i % 28, "a": real, "y": YES_NO}, "'when' looks like dates"),
        (
            {"patient_id": lambda d, i: 7000 + 3 * i, "a": real, "y": YES_NO},
            "'patient_id' differs in each row",
        ),
        (
            {"id": lambda d, i: 10**16 + 10**13 * i, "a": real, "y": YES_NO},
            "'id' has whole numbers such as 10000000000000000, too long to be exact",
        ),
        ({"user": among(10**19, 3 * 10**18), "a": real, "y": YES_NO}, "'user' has whole numbers such as 1"),
        ({"visit": lambda d, i: 1000 + i, "a": real, "y": YES_NO}, "'visit' differs in each row"),
        ({"nr": lambda d, i: i, "a": real, "y": YES_NO}, "'nr' numbers the rows: index: true leaves it out"),
        ({"a": real, "b": lambda d, i: 7, "y": YES_NO}, "feature 'b' is constant"),
        ({"a": real, "y": lambda d, i: "no" if i % 9 else "yes"}, "88% of the samples are of class 'no'"),
        ({"a": real, "c": lambda d, i: "x" if i != 8 else "z", "y": YES_NO}, None),
        (
            {"zip": among("10001", "00501"), "a": real, "y": YES_NO},
            "'zip' is read as numbers, and '00501' as 501: list it under categories",
        ),
        (
            {"zip": sometimes(among("10001", "00501"), (3,)), "a": real, "y": YES_NO},
            "'zip' is read as numbers",
        ),
        (
            {"a": real, "y": among("no", "yes", "Yes")},
            "of the target 'Yes' and 'yes' differ in case or blanks alone",
        ),
        ({"a": among("New York", "NewYork"), "y": YES_NO}, "of 'a' 'New York' and 'NewYork' differ"),
        (
            {"a": sometimes(real, (3, 7), "-999"), "y": YES_NO},
            "'a' has 2 × -999, far from its other numbers (",
        ),
        ({"a": sometimes(real, (3,), "-999"), "y": YES_NO}, ""),
        ({"a": real, "y": sometimes(YES_NO, (3, 4), "")}, "2 rows without a target are left out"),
        (
            {"a": real, "y": sometimes(YES_NO, (3,), "None")},
            "1 row without a target, such as 'None', is left out",
        ),
        ({"a": lambda draw, i: i % 30 + 70, "b": real, "y": YES_NO}, ""),
        (
            {"a": real, "y": sometimes(real, (3, 4, 7), "9999.9")},
            "the target has 3 × 9999.9, far from its other numbers (",
        ),
    ],
)
def test_what_may_be_a_mistake_is_noted(columns, note, tmp_path):
    (tmp_path / "d.csv").write_bytes(table(columns))
    notes = problem(tmp_path / "d.csv", {"missing": "median"}).notes
    assert [note in each for each in notes] == ([True] if note else [])


@pytest.mark.parametrize("copies", [0, 1, 3])
def test_samples_that_are_in_training_too_are_counted(copies, tmp_path):
    rows = [f"{i}.5,{'ab'[i % 2]},{i},{'no' if i % 3 else 'yes'}" for i in range(20)]
    lines = [f"{row},train" for row in rows[5:]] + [
        f"{row},test" for row in (rows[:5] + rows[10 : 10 + copies])
    ]
    (tmp_path / "d.csv").write_text(
        "\n".join(["x,c,n,y,part", *lines, "0.5,b,0,yes,train", "1.5,b,1,yes,train"])
    )
    notes = [note for note in problem(tmp_path / "d.csv", {"split": "part"}).notes if "alike" in note]
    said = f"{copies} of the {5 + copies} test samples {'is' if copies == 1 else 'are'} in the training part, too"
    assert [said in note for note in notes] == [True] * (copies > 0)


def test_words_that_training_samples_have_not_are_noted(tmp_path):
    lines = [
        f"{i}.5,{'new' if i == 3 else 'old'},{'ab'[i % 2]},{'test' if i > 1 else 'train'}" for i in range(4)
    ]
    (tmp_path / "d.csv").write_text("\n".join(["x,c,y,part", *lines]))
    notes = problem(tmp_path / "d.csv", {"split": "part"}).notes
    assert (
        "1 cell of 'c' has a word that no training sample has, such as 'new': all features of the column are 0 there"
        in notes
    )


def test_a_message_does_not_list_hundreds_of_columns(tmp_path):
    columns = {f"c{i}": lambda d, i: "" if i == 5 else i for i in range(300)}
    (tmp_path / "d.csv").write_bytes(table(columns | {"y": YES_NO}))
    with pytest.raises(ConfigError) as caught:
        problem(tmp_path / "d.csv", {})
    assert "300 faults" in str(caught.value)
    assert str(caught.value).splitlines()[-1] == "  … and 276 others"


LONG = among(*(str(9_007_199_254_740_993 * 1000 + i) for i in range(3)))


@pytest.mark.parametrize(
    ("columns", "options", "wrong"),
    [
        ({"id": LONG, "a": real, "y": YES_NO}, {"group": "id"}, "'id' has whole numbers such as 9"),
        (
            {"id": LONG, "a": real, "y": YES_NO},
            {"categories": ["id"]},
            "'id' has whole numbers such as 9",
        ),
        ({"a": real, "y": LONG}, {}, "has targets such as 9.0"),
        (
            {"a": real, "y": sometimes(lambda d, i: 2**53 + i % 3, (7,))},
            {"missing": "drop"},
            "'y' has whole numbers such as 9",
        ),
        (
            PLAIN,
            {"drop": ["outcome"]},
            "drop: column 'outcome' of 'd.csv' is no feature. Those that may be chosen are",
        ),
        (
            {"income": real, "y": YES_NO},
            {"drop": ["nope"]},
            "drop: no column 'nope' in 'd.csv'. Those that may be chosen are income",
        ),
        (PLAIN, {"drop": [9]}, "drop: 'd.csv' has 3 columns, so none has the index 9"),
        (PLAIN, {"features": [-4]}, "features: 'd.csv' has 3 columns, so none has the index -4"),
        (
            {"a": real, "part": lambda d, i: f"p{i}", "y": YES_NO},
            {"split": "part"},
            "55 other words are no parts",
        ),
        (
            {"price": sometimes(lambda d, i: f"{1234 + i}.5", (3,), "free"), "y": YES_NO},
            {},
            "1 of 60 cells is no finite number: 'free'",
        ),
    ],
)
def test_no_number_is_taken_for_another_one(columns, options, wrong, tmp_path):
    (tmp_path / "d.csv").write_bytes(table(columns))
    with pytest.raises(ConfigError) as caught:
        problem(tmp_path / "d.csv", options)
    assert wrong in str(caught.value)


def test_a_category_01_of_training_is_not_1_in_another_file(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(table({"code": among("01", "1"), "y": among("01", "1")}))
    made = problem(path, {"categories": ["*"]})
    path.write_text("code,y\n1,1\n01,01\n1,01\n")
    new = read_samples(str(path), made.preparation)
    assert made.preparation.names == ["code=01", "code=1"]
    assert (made.preparation.features(new.samples)[:, 1] > 0).tolist() == [True, False, True]
    assert known_targets(new, made.preparation.target)[1].tolist() == [1, 0, 0]


@pytest.mark.parametrize("trained", [".", ","])
@pytest.mark.parametrize("lines", ["age;height\n3;1,5\n4;-2,5\n", "age,height\n3,1.5\n4,-2.5\n"])
def test_new_samples_have_a_decimal_sign_of_their_own(tmp_path, trained, lines):
    path = tmp_path / "d.csv"
    path.write_bytes(table(PLAIN, separator=";", decimal=trained))
    made = problem(path, {})
    assert made.preparation.decimal == trained
    path.write_text(lines)
    assert read_samples(str(path), made.preparation).samples["height"].values.tolist() == [1.5, -2.5]
    path.write_text("age,height\n")
    assert len(read_samples(str(path), made.preparation)) == 0


@pytest.mark.parametrize(
    ("trained", "heights", "said"),
    [
        (".", "51,4 0.5", "a decimal comma, such as '51,4', and others with decimal points, such as '0.5'"),
        (",", "51,4 0.5", "a decimal comma, such as '51,4', and others with decimal points, such as '0.5'"),
        (",", "1.234 5", "the point of '1.234' may be a decimal sign or separate thousands"),
        (
            ".",
            "1,234 5",
            "'1,234' may be a decimal sign or separate thousands, which no number in training does",
        ),
        (None, "1.234 500", "write such numbers as 1.2340 or 1234"),
        (None, "1.2340 500", [1.234, 500]),
        (",", "-1.234 5", "write such numbers as -1,234 or -1234"),
        (",", "-1,234 5", [-1.234, 5]),
        (None, "1.234 2.5", [1.234, 2.5]),
        (".", "1.234 500", [1.234, 500]),
        (",", "1.234 2,5", [1234, 2.5]),
        (",", "1.234 2.5", [1.234, 2.5]),
        (",", "1.234.567 5", [1234567, 5]),
        (".", "1,234 2.5", [1234, 2.5]),
        (".", "1,234 2,5", [1.234, 2.5]),
    ],
)
def test_the_decimal_sign_of_new_samples_may_be_that_of_training(tmp_path, trained, heights, said):
    path = tmp_path / "d.csv"
    columns = PLAIN if trained else PLAIN | {"age": whole, "height": whole}
    path.write_bytes(table(columns, separator=";", decimal=trained or "."))
    made = problem(path, {})
    assert made.preparation.decimal == trained
    path.write_text("age;height\n" + "".join(f"3;{height}\n" for height in heights.split()))
    if isinstance(said, list):
        assert read_samples(str(path), made.preparation).samples["height"].values.tolist() == said
    else:
        with pytest.raises(ConfigError, match=re.escape(said)):
            read_samples(str(path), made.preparation)


@pytest.mark.parametrize(
    ("decimal", "text", "said"),
    [
        (",", "age;height\n3;1,234\n4;-2,5\n", [1.234, -2.5]),
        (".", "age;height\n3;1,234\n4;-2.5\n", [1234, -2.5]),
        (",", "age;height\n3;1.234\n4;-2\n", [1234, -2]),
        (".", "age;height\n3;1.234\n4;-2\n", [1.234, -2]),
        (",", "age;height\n3;1.5\n4;-2\n", "'height' with decimal points, where numbers have commas"),
        (None, "age;height\n3;1.234\n4;-2\n", "write such numbers as 1.2340 or 1234, or set decimal"),
        (None, "age,height\n3,1.234\n4,-2.345\n", [1.234, -2.345]),
        (None, "age,height\n3,1.234\n4,2\n", "write such numbers as 1.2340 or 1234"),
    ],
)
def test_the_decimal_sign_of_new_samples_may_be_given(tmp_path, decimal, text, said):
    path = tmp_path / "d.csv"
    path.write_bytes(table({**PLAIN, "height": whole}, separator=";"))
    preparation = problem(path, {}).preparation
    assert preparation.decimal is None
    path.write_text(text)
    if isinstance(said, list):
        assert read_samples(str(path), preparation, decimal).samples["height"].values.tolist() == said
    else:
        with pytest.raises(ConfigError, match=re.escape(said)):
            read_samples(str(path), preparation, decimal)


@pytest.mark.parametrize(("decimal", "numbers"), [(",", [1.234, -2]), (".", [1234, -2])])
def test_the_decimal_sign_of_a_data_frame_of_texts_may_be_given(tmp_path, decimal, numbers):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "d.csv"
    path.write_bytes(table({**PLAIN, "height": whole}, separator=";"))
    frame = pandas.DataFrame({"age": [3, 4], "height": ["1,234", "-2"]})
    preparation = problem(path, {}).preparation
    assert given_samples(frame, preparation, decimal).samples["height"].values.tolist() == numbers
    with pytest.raises(ConfigError, match="write such numbers as"):
        given_samples(frame, preparation)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("d.xlsx", "a spreadsheet is not read: save the sheet as CSV"),
        ("d.feather", r"known are \.csv, .*: pandas writes"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_to_do(name, said, tmp_path):
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigError, match=said):
        load(str(tmp_path / name))


def test_an_exact_name_is_no_pattern(tmp_path):
    (tmp_path / "d.csv").write_bytes(table({"price [USD]": real, "a": real, "y": YES_NO}))
    assert "of 1 feature a" in problem(tmp_path / "d.csv", {"drop": ["price [USD]"]}).inferred


def test_columns_of_a_parquet_file_are_what_they_were(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = str(tmp_path / "d.parquet")
    names = {
        "0": ["01234", "1234", "8001"] * 4,
        "1": np.arange(12) // 4 + 2**62,
        "2": np.arange(12, dtype="uint64") + np.uint64(2**63),
        "3": np.arange(12) % 2,
    }
    pandas.DataFrame(names).to_parquet(path)
    made = problem(path, {"target": "3", "drop": ["2"], "group": "1", "test_fraction": 0.4})
    assert made.preparation.names == ["0=01234", "0=1234", "0=8001"]
    assert len(np.unique(made._dataset.groups)) == 3
    assert (
        problem(path, {"target": "2", "drop": ["1"], "task": "regression"})._dataset.targets.min() == 2.0**63
    )


def test_the_word_auto_is_the_default_of_the_task():
    config = {"problem": {"name": "mlp", "data": "iris", "task": "auto"}, "optimizer": "SGD", "steps": 1}
    assert (
        from_mapping(config).to_dict()
        == from_mapping({**config, "problem": {"name": "mlp", "data": "iris"}}).to_dict()
    )
