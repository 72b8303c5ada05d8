"""Data sets: what ships, generators, a user's files, and what is wrong with them."""

import gzip
import io
import os
import pickle
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optrun.arrays import Arrays
from optrun.errors import ConfigError
from optrun.problems import SoftmaxRegression
from optrun.problems.data import DATASETS, SHIPPED, DataSource, Layout, files, load
from optrun.registry import Option, PathOrName


@pytest.mark.parametrize("name", list(SHIPPED))
def test_shipped_data_are_scikit_learns(name):
    datasets = pytest.importorskip("sklearn.datasets")
    bunch = (
        datasets.load_diabetes(scaled=False) if name == "diabetes" else getattr(datasets, f"load_{name}")()
    )
    data = load(name)
    scale = 16 if name == "digits" else 1
    assert (data.features * scale == bunch.data).all()
    if name == "diabetes":
        assert (data.values() == bunch.target).all()
    else:
        classes, codes = data.classes()
        assert (classes[codes] == bunch.target_names.astype(str)[bunch.target]).all()


@pytest.mark.parametrize(
    ("name", "shape", "total", "classes"),
    [
        ("breast_cancer", (569, 30), 1056474.4596356, 2),
        ("diabetes", (442, 10), 276404.2336, None),
        ("digits", (1797, 64), 35107.375, 10),
        ("iris", (150, 4), 2078.7, 3),
        ("wine", (178, 13), 159975.296, 3),
    ],
)
def test_shipped_data_are_complete(name, shape, total, classes):
    data = load(name)
    assert data.features.shape == shape
    assert data.features.sum() == pytest.approx(total, rel=1e-8)
    assert data.categorical == (classes is not None)
    assert f"{shape[0]:,} samples × {shape[1]}" in DATASETS[name]
    if classes:
        assert len(data.classes()[0]) == classes


@pytest.mark.parametrize("name", list(DATASETS))
def test_a_name_is_matched_without_case_and_underscores(name):
    data = load(name.replace("_", "-").upper())
    assert (data.features == load(name).features).all()
    assert np.isfinite(data.features).all()
    assert not data.features.flags.writeable


@pytest.mark.parametrize(
    ("source", "shape", "classes"),
    [
        ("blobs", (500, 2), 3),
        ("blobs( samples=30, classes=5,features=4 )", (30, 4), 5),
        ("spirals(samples=40, noise=0)", (40, 2), 2),
        ("linear(samples=10,features=3,noise=0,seed=4)", (10, 3), None),
        ("linear()", (500, 10), None),
    ],
)
def test_generators(source, shape, classes):
    data = load(source)
    assert data.features.shape == shape
    if classes:
        assert len(data.classes()[0]) == classes
    else:
        x = np.column_stack([data.features, np.ones(shape[0])])
        residuals = data.values() - x @ np.linalg.lstsq(x, data.values())[0]
        assert residuals.std() == pytest.approx(0 if "noise=0" in source else 0.1, rel=0.1, abs=1e-12)


def test_a_generator_is_seeded():
    assert (load("blobs(seed=1)").features == load("blobs( seed=1)").features).all()
    assert (load("blobs(seed=1)").features != load("blobs").features).any()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("digts", r"unknown data set 'digts'\. Did you mean 'digits'\?"),
        ("https://example.org/d.csv", "no file but an address: download it first"),
        ("nothing_like_it", r"Known are .*iris.*; a path has a suffix or a slash, as \./nothing_like_it"),
        ("iris(samples=3)", "unknown data set"),
        ("blobs(sample=3)", "unknown option 'sample'. Did you mean 'samples'"),
        ("blobs(3)", "arguments are written once each"),
        ("blobs(samples=3,samples=4)", "arguments are written once each"),
        ("blobs(samples=1)", r"data: blobs: samples must be ≥ 2 \(got 1\)$"),
        ("blobs(samples=x)", "samples must be an integer"),
        ("blobs(samples=100000000)", "samples must be ≤ 100000"),
        ("blobs(noise=-1)", "noise must be ≥ 0"),
        ("blobs(noise=.inf)", "noise must be finite"),
        ("blobs(noise=nan)", "noise"),
        ("./missing.csv", "No such file"),
        ("a\0b.csv", "cannot be read"),
        ("/dev/zero", "not a regular file"),
    ],
)
def test_unknown_sources(source, message):
    with pytest.raises(ConfigError, match=message):
        load(source)


def test_a_target_column_is_for_csv_files_only(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.eye(3), y=np.arange(3.0))
    for source in ("iris", "blobs", str(tmp_path / "a.npz")):
        with pytest.raises(ConfigError, match="target: only a table"):
            load(source, Layout(target=0))
    with pytest.raises(ConfigError, match="unknown data set"):
        load("cust", Layout(target=0))


def test_the_option_is_marked_as_a_path_or_a_name():
    option = Option("data", DataSource, "digits")
    assert option.type is str
    assert PathOrName() in DataSource.__metadata__
    for name in DATASETS:
        assert not PathOrName.is_path(name)
    assert not PathOrName.is_path("blobs(noise=0.5)")
    for path in ("a.csv", "./digits", "mnist/", "/x/y", "my data (1).csv", "C:\\a", "..", ""):
        assert PathOrName.is_path(path)


def csv(tmp_path, text, target=None, name="a.csv", **layout):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(str(path), Layout(target, **layout))


@pytest.mark.parametrize(
    ("text", "target", "features", "targets"),
    [
        ("a,b,y\n1,2,0\n3,4,1\n", None, [[1, 2], [3, 4]], [0, 1]),
        ("1,2,0\n3,4,1", None, [[1, 2], [3, 4]], [0, 1]),
        ("1,2,cat\n3,4,dog\n", None, [[1, 2], [3, 4]], ["cat", "dog"]),
        ("y,a\r\n0.5,1\r\n-1e3,2\r\n", "y", [[1], [2]], [0.5, -1000]),
        ("\ufeffy,a\n1,2\n\n3,4\n", 0, [[2], [4]], [1, 3]),
        ("1,2,3\n4,5,6\n", -2, [[1, 3], [4, 6]], [2, 5]),
        ("a; b; y\n1; 2.5; u\n3; 4; v\n", " y".strip(), [[1, 2.5], [3, 4]], ["u", "v"]),
        ("1\t2\n3\t4\n", None, [[1], [3]], [2, 4]),
        ('"a,b",y\n"1",2\n3,4\n', "a,b", [[2], [4]], [1, 3]),
        ("1,99999999999999999999\n2,3\n", None, [[1], [2]], [1e20, 3]),
    ],
)
def test_csv(tmp_path, text, target, features, targets):
    data = csv(tmp_path, text, target)
    assert data.features.tolist() == features
    assert data.targets.tolist() == targets
    assert data.categorical == (not any(isinstance(t, float) for t in targets))


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("", None, "no line to read"),
        ('""', None, "no line to read"),
        ("a,b\n", None, "0 samples of 1 feature: 2 samples of 1 feature are the least"),
        ("1\n2\n", None, "2 samples of 0 features"),
        ("a,y\n1,2\n3\n", None, r"number of cells than the 2 of the first: line 3 \(1\)"),
        ("1,2\n3,4,5\n", None, r"line 2 \(3\)"),
        ("a,b,y\n1,2,3\n1,x,3\n", None, r"column 2 'b': 1 of 2 cells is no finite number: 'x' \(line 3\)"),
        ("a,y\n1,2\n,3\n", None, r"column 1 'a' lacks 1 of 2 cells \(line 3\)"),
        ("1_0,2\n3,4\n", None, r"column 1: 1 of 2 cells is no finite number: '1_0' \(line 1\)"),
        ("1,2\nnan,4\n", None, r"column 1 lacks 1 of 2 cells \(line 2\)"),
        ("1,2\n1e999,4\n", None, r"column 1: 1 of 2 cells is no finite number: '1e999' \(line 2\)"),
        ("1,2.5\n3,inf\n", None, r"column 2, the target: 'inf' is no finite number \(line 2\)"),
        (
            "0,1,t\n1,2,u\n4,5,6\n",
            None,
            r"column 3, the target: 't' is not a number, as other targets are \(line 1\)",
        ),
        ("a,y\n1,u\n2,\n", None, r"column 2 'y', the target, lacks 1 of 2 cells \(line 3\)"),
        ("a,y\n1,\n2,\n", None, "column 2 'y', the target, is empty: name another with target"),
        ("a,y\n1,2\n2,3\n", "z", "target: no single column 'z' in 'a.csv': its columns are a, y"),
        ("a,a\n1,2\n2,3\n", "a", "target: no single column 'a'"),
        ("income,y\n1,2\n2,3\n", "nope", "its columns are income, y$"),
        ("alpha,y\n1,2\n2,3\n", "alhpa", "its columns are alpha, y. Did you mean 'alpha'"),
        ("1,2\n2,3\n", "y", "it has no header; give an index"),
        ("2021,2022\n1,2\n2,3\n", "2022", "in 'a.csv': header: true takes the first line for names"),
        ("1,2\n2,3\n", 2, "target: 'a.csv' has 2 columns, so none has the index 2"),
        ('a,y\n"1,2\n', None, "line 2: a quote opens in this row and never closes"),
        (b"a,y\n\x00,2\n", None, "not a text file: it has bytes that no text has"),
        ("a,y\n1," + "x" * 200_000 + "\n", None, "line 2: field larger"),
    ],
)
def test_csv_errors(tmp_path, text, target, message):
    with pytest.raises(ConfigError, match=message):
        csv(tmp_path, text, target)


def test_a_changed_file_is_read_again(tmp_path):
    assert csv(tmp_path, "1,2\n3,4\n").targets.tolist() == [2, 4]
    assert csv(tmp_path, "1,2\n3,4\n5,6\n").targets.tolist() == [2, 4, 6]


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return load(str(tmp_path / "a.npz"))


def test_npz(tmp_path):
    data = npz(tmp_path, X=np.arange(12, dtype=np.uint8).reshape(2, 2, 3), y=np.array(["b", "a"]))
    assert data.features.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    assert data.classes()[1].tolist() == [1, 0]
    assert npz(tmp_path, X=np.eye(3), y=np.array([1, 0, 2], np.uint8)).categorical
    assert not npz(tmp_path, X=np.eye(4), y=np.ones(4, np.float32)).categorical


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.eye(2)}, "no array 'y'; it has X"),
        ({"X": np.arange(3.0), "y": np.arange(3)}, r"X: numbers \[N, features\] expected"),
        ({"X": np.eye(2) + 1j, "y": np.arange(2)}, "X: numbers"),
        ({"X": np.eye(3), "y": np.arange(2)}, "y: 3 targets expected"),
        ({"X": np.eye(3), "y": np.eye(3)}, "y: 3 targets expected"),
        ({"X": np.full((2, 2), np.nan), "y": np.arange(2)}, "feature 0 of sample 0 is not finite"),
        ({"X": np.eye(2), "y": np.array([0.5, np.inf])}, "target 1 is not finite"),
        ({"X": np.eye(1), "y": np.arange(1)}, "has 1 sample of 1 feature: 2 samples"),
        ({"X": np.eye(2), "y": np.array([{}, []], object)}, "archive of plain arrays"),
    ],
)
def test_npz_errors(tmp_path, arrays, message):
    with pytest.raises(ConfigError, match=message):
        npz(tmp_path, **arrays)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_pickles_are_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ConfigError, match="archive of plain arrays"):
        load(str(tmp_path / "a.npz"))
    content = io.BytesIO()
    np.lib.format.write_array(content, np.array([Trap(), Trap()], object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        for name in ("X.npy", "y.npy"):
            archive.writestr(name, content.getvalue())
    with pytest.raises(ConfigError, match="archive of plain arrays"):
        load(str(tmp_path / "b.npz"))


def test_files_that_are_or_unpack_too_large_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 10_000)
    np.savez_compressed(tmp_path / "a.npz", X=np.zeros((100, 100)), y=np.arange(100))
    (tmp_path / "a.csv").write_bytes(b"1,2\n" * 5_000)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(20_000)))
    for name in ("a.npz", "a.csv", "train-images-idx3-ubyte.gz"):
        with pytest.raises(ConfigError, match="more than 10,000 bytes"):
            load(str(tmp_path / name))


def idx(array, code=0x08):
    header = bytes([0, 0, code, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


IMAGES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
LABELS = np.array([3, 1, 4, 1, 5], np.uint8)


@pytest.mark.parametrize("images_gz", [True, False])
@pytest.mark.parametrize("labels_gz", [True, False])
@pytest.mark.parametrize("separator", ["-", "."])
def test_idx(tmp_path, images_gz, labels_gz, separator):
    for stem, rank, content, packed in (("images", 3, IMAGES, images_gz), ("labels", 1, LABELS, labels_gz)):
        name = f"train-{stem}{separator}idx{rank}-ubyte"
        data = gzip.compress(idx(content)) if packed else idx(content)
        (tmp_path / (name + ".gz" * packed)).write_bytes(data)
    images = next(tmp_path.glob("train-images*"))
    for source in (images, tmp_path):
        data = load(str(source))
        assert data.features.shape == (5, 2, 3)
        assert (data.features == IMAGES / 255).all()
        assert data.targets.tolist() == LABELS.tolist()


@pytest.mark.parametrize("name", ["", "train-images-idx3-ubyte"])
def test_labels_that_change_are_read_again(tmp_path, name):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(IMAGES))
    labels = tmp_path / "train-labels-idx1-ubyte"
    before = None
    for content in (LABELS, LABELS[::-1]):
        labels.write_bytes(idx(content))
        os.utime(labels, ns=(len(content), int(content[0])))
        data = load(f"{tmp_path}/{name}")
        assert (data.targets == content).all()
        assert data.fingerprint != before
        before = data.fingerprint


def test_a_note_says_that_the_test_images_of_a_folder_are_not_used(tmp_path):
    labels = np.array([0, 1, 0, 1, 1], np.uint8)
    for stem in ("train", "t10k"):
        (tmp_path / f"{stem}-images-idx3-ubyte").write_bytes(idx(IMAGES))
        (tmp_path / f"{stem}-labels-idx1-ubyte").write_bytes(idx(labels))
    note = f"the test images of {tmp_path.name} are not used: split: {{test: …/t10k-images-idx3-ubyte}} takes them"
    test = {"test": str(tmp_path / "t10k-images-idx3-ubyte")}
    for split, expected in ((None, [note]), (test, [])):
        made = SoftmaxRegression(Arrays(), data=str(tmp_path), split=split)
        assert made.notes == expected


@pytest.mark.parametrize("name", [*SHIPPED, "blobs(samples=20)", "spirals"])
def test_data_that_a_name_tells_have_no_fingerprint(name):
    """The last bits of what is computed, such as a sine, depend on the machine."""
    assert load(name).fingerprint == ""


def test_idx_of_other_types_is_big_endian_and_not_scaled(tmp_path):
    (tmp_path / "images-idx2").write_bytes(idx(np.array([[1, 300], [2, -5]], ">i2"), 0x0B))
    (tmp_path / "labels-idx2").write_bytes(idx(np.array([0.5, 2.5], ">f8"), 0x0E))
    data = load(str(tmp_path / "images-idx2"))
    assert data.features.tolist() == [[1, 300], [2, -5]]
    assert data.values().tolist() == [0.5, 2.5]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (idx(IMAGES)[:-1], idx(LABELS), "45 bytes, where its header promises 46"),
        (idx(IMAGES) + b"x", idx(LABELS), "47 bytes, where its header promises 46"),
        (b"\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", idx(LABELS), "promises"),
        (b"\0\0\x08", idx(LABELS), "not an IDX file"),
        (b"\0\0\x07\x01\0\0\0\0", idx(LABELS), "not an IDX file"),
        (idx(LABELS), idx(LABELS), "images expected"),
        (idx(IMAGES), idx(LABELS[:-1]), "labels.*5 labels expected"),
        (idx(IMAGES[:0]), idx(LABELS[:0]), "has 0 samples"),
        (idx(IMAGES), None, "no labels in the same directory"),
    ],
)
def test_idx_errors(tmp_path, images, labels, message):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(images)
    if labels is not None:
        (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(ConfigError, match=message):
        load(str(tmp_path / "train-images-idx3-ubyte"))


def test_other_files_and_directories(tmp_path):
    (tmp_path / "a.xlsx").write_bytes(b"")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"not gzip")
    for name, message in (
        ("a.xlsx", "a spreadsheet is not read: save the sheet as CSV"),
        ("train-labels-idx1-ubyte", "not an images file"),
        ("train-images-idx3-ubyte.gz", "not a readable gzip file"),
    ):
        with pytest.raises(ConfigError, match=message):
            load(str(tmp_path / name))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="directory without an IDX file"):
        load(str(tmp_path / "empty"))


def seeds_of_fuzz():
    content = io.BytesIO()
    np.savez_compressed(content, X=np.eye(4), y=np.arange(4))
    return {
        "a.npz": content.getvalue(),
        "a.csv": b"a,b,y\n1,2,u\n3,4,v\n",
        "train-images-idx3-ubyte": idx(IMAGES),
        "train-images-idx3-ubyte.gz": gzip.compress(idx(IMAGES)),
    }


@pytest.mark.full
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(seeds_of_fuzz())),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.none() | st.integers(0, 10_000),
)
def test_a_damaged_file_is_read_or_is_a_config_error(tmp_path_factory, name, edits, cut):
    data = bytearray(seeds_of_fuzz()[name])
    for place, value in edits:
        data[place % len(data)] = value
    directory = tmp_path_factory.mktemp("fuzz")
    (directory / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
    (directory / name).write_bytes(data if cut is None else data[: cut % len(data)])
    with suppress(ConfigError):
        load(str(directory / name))
