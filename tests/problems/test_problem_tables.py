"""Tables of text: what is inferred from one is right or is asked about, and always said."""

import gzip
import zipfile

import numpy as np
import pytest

from optrun.arrays import Arrays
from optrun.errors import ConfigError
from optrun.problems.data import Layout, Scaling, load
from optrun.problems.networks import MLP
from optrun.problems.regression import LinearRegression, LogisticRegression, SoftmaxRegression


def table(text, name="d.csv", **layout):
    with open(name, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    return load(f"./{name}", Layout(**layout))


def rows(count=8, width=2, classes=2):
    """Return lines of features with fractions and a class."""
    values = np.random.default_rng(0).normal(size=(count, width))
    return [[*(f"{each:.3f}" for each in row), str(i % classes)] for i, row in enumerate(values)]


def text(lines, header=None, separator=","):
    return "\n".join(separator.join(line) for line in ([header] if header else []) + lines) + "\n"


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (["0", "1", "2"], ("0", "1")),  # what pandas calls columns without names
        (["2019", "2020", "y"], ("2019", "2020")),
        (["a", "b", "y"], ("a", "b")),
        (None, ()),
    ],
)
def test_a_first_line_of_names_is_no_sample(header, columns):
    data = table(text(rows(), header))
    assert (data.features.shape, data.columns) == ((8, 2), columns)
    assert data.targets.tolist() == [0, 1] * 4


@pytest.mark.parametrize("first", ["0,1,2", "2019,2020,2021"])
def test_a_first_line_that_may_be_a_sample_is_asked_about(first):
    whole = "1,0,1\n0,1,0\n2,2,1\n" if first == "0,1,2" else text(rows())
    with pytest.raises(ConfigError, match="Set header: true or header: false") as caught:
        table(f"{first}\n{whole}")
    assert caught.value.field == "header"
    samples = len(whole.splitlines())
    assert len(table(f"{first}\n{whole}", header=True).features) == samples
    assert len(table(f"{first}\n{whole}", header=False).features) == samples + 1


@pytest.mark.parametrize(
    "written", ["1,2,0\n3,4,1\n5,6,0\n", "1,2\n2,4\n3,6\n4,8\n"], ids=["classes", "a line"]
)
def test_whole_numbers_alone_are_samples(written):
    assert len(table(written).features) == written.count("\n")


@pytest.mark.parametrize("last", [lambda i: i % 2, lambda i: 7 * i, lambda i: "no" if i % 2 else "yes"])
def test_years_above_whole_numbers_are_asked_about(last):
    written = text([[str(i % 7), str(i * i % 11), str(last(i))] for i in range(50)], ["2019", "2020", "2021"])
    with pytest.raises(
        ConfigError, match="are 2019, 2020, 2021 the names .* Set header: true or header: false"
    ):
        table(written)
    assert table(written, header=True).columns == ("2019", "2020")


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
@pytest.mark.parametrize("start", [0, 1])
def test_the_index_of_a_data_frame_is_no_feature(name, start):
    lines = [[str(i + start), *line] for i, line in enumerate(rows())]
    written = text(lines, [name, "a", "b", "y"])
    data = table(written)
    assert (data.columns, data.features.shape) == (("a", "b"), (8, 2))
    assert "numbers the rows: it is left out, index: false keeps it" in data.notes[0]
    assert table(written, index=False).features.shape == (8, 3)


@pytest.mark.parametrize(
    ("numbers", "position", "kept"),
    [
        ([5, 0, 7, 2, 1, 6, 3, 4], 0, False),  # shuffled
        ([5, 8, 7, 2, 1, 6, 3, 4], 2, False),  # shuffled, and not where pandas writes it
        ([90, 3, 41, 7, 15, 8, 22, 64], 0, False),  # after a split into train and test
        ([90, 3, 41, 7, 15, 8, 22, 64], 2, True),
        ([3, 3, 41, 7, 15, 8, 22, 64], 0, True),
    ],
)
def test_a_shuffled_or_thinned_index_is_no_feature(numbers, position, kept):
    lines = [[*line[:position], str(n), *line[position:]] for n, line in zip(numbers, rows(), strict=True)]
    names = ["a", "b", "y"]
    names.insert(position, "")
    data = table(text(lines, names))
    assert data.features.shape == (8, 3 if kept else 2)
    said = "index: true leaves it out" if kept else "it is left out, index: false keeps it"
    assert [said in note for note in data.notes] == ([] if kept and position else [True])
    assert table(text(lines, names), index=False).features.shape == (8, 3)


def test_a_first_column_of_names_can_be_left_out():
    lines = [[f"P{i}", *line] for i, line in enumerate(rows())]
    assert table(text(lines, ["id", "a", "b", "y"]), index=True).columns == ("a", "b")
    counted = table(text([[str(i), *line[1:]] for i, line in enumerate(lines)], ["id", "a", "b", "y"]))
    assert counted.columns == ("id", "a", "b")
    assert counted.notes == ("'id' numbers the rows: index: true leaves it out",)


@pytest.mark.parametrize(
    ("written", "columns"),
    [
        ('"height, cm";"weight, kg";"y"\n1.5;2;0\n2.5;3;1\n', ("height, cm", "weight, kg")),
        ("a b  y\n1.5  2 0\n 2.5 3 1 \n", ("a", "b")),
        ("a\tb\ty\n1.5\t2\t0\n2.5\t3\t1\n", ("a", "b")),
    ],
)
def test_separators(written, columns):
    data = table(written)
    assert data.columns == columns
    assert data.features.tolist() == [[1.5, 2], [2.5, 3]]


@pytest.mark.parametrize("name", ["d.CSV", "d.csv.gz", "d.TSV.GZ", "iris.data", "d.txt.gz"])
def test_suffixes(name):
    content = text(rows(), ["a", "b", "y"]).encode()
    assert table(gzip.compress(content) if name.lower().endswith("gz") else content, name).columns == (
        "a",
        "b",
    )


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("a,a,y\n1,2,0\n2,3,1\n", "line 1: several columns are called 'a'"),
        (
            "id,date,x,y\nP1,2020-01-01,1.5,0\nP2,2020-01-02,,1\nP3,2020-01-03,-1_0,1\nP4,2020-01-03,2\n",
            r"d.csv': 5 faults:\n  1 line with another number of cells than the 4 of the first: line 5 \(3\)\n"
            r"  column 1 'id' holds 3 different words in 3 cells, such as 'P1' \(line 2\).*: drop it, .*\n"
            r"  column 2 'date' holds dates or times, such as '2020-01-01' \(line 2\): drop it, .*\n"
            r"  column 3 'x': 1 of 2 cells is no finite number: '-1_0' \(line 4\): .*\n"
            r"  column 3 'x' lacks 1 of 3 cells \(line 3\): missing: median",
        ),
        (
            "a,y\n1," + "9" * 5000 + "\n2,3\n",
            r"column 2 'y', the target: '9+…' is no finite number \(line 2\)",
        ),
        ('a;y\n"1,234";0\n"5,678";1\n', r"the comma of '1,234' may be a decimal .*: set decimal: ',' or '.'"),
        ("a;b;y\n51,4;0.5;0\n52,3;0.25;1\n", r"the comma of '51,4' may be a decimal"),
        ("a;y\n51,4;0\n0.25;1\n", r"'51,4' has a comma, and '0.25' a decimal point: make them alike"),
        (
            "a;b;y\n6.174.570;0.5;p\n2.741.209;1.5;q\n",
            r"points of '6.174.570' separate thousands, those of others",
        ),
        ('a,y\n1,0\n"2,1\n"3",0\n', "line 4: .*, in the row that begins in line 3"),
        ("a y\n1 2.5 0\n2 3.5 1\n", "each line has one cell more than the 2 of the first"),
        (",,\na,b,y\n1.5,2,0\n", "line 1: all cells are empty: delete it"),
        ("x,y\n1.5,204%\n2.5,-256%\n", "column 2 'y', the target, holds numbers with a unit, such as '204%'"),
        ("x,y\n1.5,$-204\n2.5,$6\n", "column 2 'y', the target, holds numbers with a unit"),
        ("price,y\n$1,0\n$2,1\n", "holds numbers with a unit, such as '\\$1'"),
    ],
)
def test_what_cannot_be_used_is_named_with_a_remedy(written, message):
    with pytest.raises(ConfigError, match=message):
        table(written)


def problem(cls, written, **options):
    with open("d.csv", "w") as file:
        file.write(written)
    return cls(Arrays("numpy", "float64"), data="./d.csv", **options)


def labelled(labels):
    return text([[f"{0.5 + i / 8}", label] for i, label in enumerate(labels)], ["x", "y"])


def test_the_line_says_how_the_data_were_understood():
    made = problem(MLP, text(rows(40, 3), ["a", "b", "c", "y"]))
    assert made.inferred == (
        "data d.csv: 40 samples (32 train, 8 test) of 3 features a, b, c (header), target 'y': "
        "2 classes 20 + 20 (split by class)"
    )
    made = problem(LinearRegression, text(rows(40, 3)), test_fraction=0.0)
    assert made.inferred == ("data d.csv: 40 samples of 3 features (no header), target column 4: real, 0 … 1")
    made = problem(
        LinearRegression, text(rows(40, 3), ['"height, cm"', "weight", "", "y"]), test_fraction=0.0
    )
    assert "of 3 features 'height, cm', weight, column 3 (header)" in made.inferred
    made = problem(MLP, labelled(["u"] * 30 + ["v"] * 10).replace("0.5,u", "0.5,u"), test_fraction=0)
    assert made.notes == ["75% of the samples are of class 'u': always to say so has an accuracy of 0.75"]
    made = problem(MLP, text([[*line[:1], "7", line[2]] for line in rows(8)], ["a", "b", "y"]))
    assert made.notes == ["feature 'b' is constant"]
    made = problem(MLP, labelled(["3.0"] * 8))
    assert made.notes == ["the target is constant: there is nothing to learn"]


MANY = [str(i) for i in range(30)] * 2
REAL = ["0.0", "1.0"] * 10


@pytest.mark.parametrize("cls", [MLP, SoftmaxRegression])
def test_many_whole_numbers_are_asked_about(cls):
    for labels in (MANY, MANY[:6]):
        with pytest.raises(ConfigError, match="set task: classification or task: regression"):
            problem(cls, labelled(labels), test_fraction=0)
    made = problem(cls, labelled(MANY), task="classification", test_fraction=0)
    assert "30 classes of 2 … 2" in made.inferred
    assert "real, 0 … 29" in problem(MLP, labelled(MANY), task="regression").inferred
    with pytest.raises(ConfigError, match="6 different names as targets, such as 'a'"):
        problem(cls, labelled("abcdef"))


def test_real_labels_are_said_and_the_remedy_is_named():
    made = problem(MLP, labelled(REAL))
    assert "real, 0 … 1" in made.inferred
    assert "task: classification takes them as classes" in made.notes[0]
    assert "2 classes 10 + 10" in problem(MLP, labelled(REAL), task="classification").inferred
    for cls in (SoftmaxRegression, LogisticRegression):
        with pytest.raises(ConfigError, match="task: classification takes them as such"):
            problem(cls, labelled(REAL))
        with pytest.raises(
            ConfigError, match="linear_regression, or mlp with task: regression, fits numbers"
        ):
            problem(cls, labelled(["0.5", "1.5", "0.25", "3"]))
        with pytest.raises(ConfigError, match="fits numbers"):
            problem(cls, labelled(["1e200", "2e200"] * 4))


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (LinearRegression, {"task": "classification"}),
        (SoftmaxRegression, {"task": "regression"}),
        (MLP, {"task": "classification", "loss": "mse"}),
    ],
)
def test_a_task_that_the_problem_has_not_is_refused(cls, options):
    with pytest.raises(ConfigError, match="^task: "):
        problem(cls, labelled(["0", "1"] * 10), **options)


def test_labels_that_are_numbers_can_be_fitted():
    made = MLP(Arrays("numpy", "float32"), data="digits", loss="mse")
    assert "target: real, 0 … 9" in made.inferred


@pytest.mark.parametrize(
    ("targets", "options", "said"),
    [
        (
            ["0.5", "1.5"] * 9,
            {"task": "classification"},
            "task: .* real numbers such as 0.5, .*: task: regression fits",
        ),
        (
            ["0.5", "1.5"] * 9,
            {"loss": "cross_entropy"},
            "loss: .* real numbers such as 0.5, .*: loss: mse fits numbers",
        ),
        ("uv" * 9, {"task": "regression"}, "task: .* class names, not numbers: task: classification takes"),
        ("uv" * 9, {"loss": "mse"}, "loss: .* class names, not numbers: loss: cross_entropy takes classes"),
    ],
)
def test_the_option_that_does_not_fit_the_targets_is_named_with_the_one_that_does(targets, options, said):
    with pytest.raises(ConfigError, match=f"^{said}") as caught:
        problem(MLP, labelled(targets), **options)
    assert caught.value.field in options


def test_one_class_is_named_as_it_was_written():
    with pytest.raises(ConfigError, match="one class only, 'u'"):
        problem(MLP, labelled("uuuu"), task="classification")


@pytest.mark.parametrize("scale", [1e300, 1.0, 1e-300])
def test_standardized_values_have_mean_0_and_variance_1_whatever_their_scale(scale):
    values = scale * np.random.default_rng(0).normal(size=(50, 2))
    scaled = Scaling.fit(values[:40]).apply(values)
    np.testing.assert_allclose(scaled[:40].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled[:40].std(axis=0), 1, rtol=1e-12)


def test_a_constant_column_is_0_though_its_computed_deviation_is_not():
    column = np.full((49, 1), 0.1)
    assert column.std() > 0
    assert (Scaling.fit(column).apply(column) == 0).all()


def test_numbers_that_the_dtype_cannot_hold_are_refused():
    lines = [[line[0], f"{i}e200", line[2]] for i, line in enumerate(rows())]
    with open("d.csv", "w") as file:
        file.write(text(lines))
    MLP(Arrays("numpy", "float32"), data="./d.csv")
    for options in ({}, {"target": 1, "loss": "mse"}):
        with pytest.raises(ConfigError, match="reach 7e.200, which float32 cannot hold: standardize: true"):
            MLP(Arrays("numpy", "float32"), data="./d.csv", standardize=False, **options)


def archive(name, member):
    with zipfile.ZipFile(name, "w") as file:
        for array in ("X.npy", "y.npy"):
            file.writestr(array, member)


HEADER = b"(" * 9000
IDX = bytes([0, 0, 8])


@pytest.mark.parametrize("dimensions", [200, 255])
def test_an_idx_file_of_too_many_dimensions(dimensions):
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        with open(name, "wb") as file:
            file.write(IDX + bytes([dimensions]) + (1).to_bytes(4, "big") * dimensions + b"\0")
    with pytest.raises(ConfigError, match="train-images-idx3-ubyte"):
        load("./train-images-idx3-ubyte")


@pytest.mark.parametrize(
    "member", [b"no array", b"\x93NUMPY\x01\x00" + len(HEADER).to_bytes(2, "little") + HEADER]
)
def test_an_archive_of_what_is_no_array(member):
    archive("a.npz", member)
    with pytest.raises(ConfigError, match=r"a\.npz"):
        load("./a.npz")


@pytest.mark.parametrize(
    "source", ["blobs(samples=100000,features=1000)", "linear(samples=100000,features=1000)"]
)
def test_generated_data_are_bounded_before_they_are_made(source):
    with pytest.raises(ConfigError, match="more than 16,777,216 numbers"):
        load(source)
