"""Tables of values that are easily lost, and of names that readers would take for something else."""

import csv
import io
import json
import math
import struct

import numpy as np
import pytest

from optrun.errors import UnknownNameError
from optrun.store import RunRecord, Status, write_table
from optrun.store.frame import data_frame
from optrun.store.run_table import run_table
from optrun.store.text import lines
from tests.store.test_store_formats import AWKWARD

SETTINGS = [
    {"name": "=1+1", "lr": math.inf, "text": 'a,"b"\n|', "on": None, "count": 1},
    {"name": "x_y & z\\", "lr": 5e-324, "list": [1, None], "on": True, "count": None},
]
SEED = 2**62 + 1


def table(what="curves"):
    columns = {
        "loss": np.array(AWKWARD),
        "step": np.arange(9),
        "status": np.ones(9),
        "a|b": np.array(AWKWARD),
    }
    records = [
        RunRecord(run=run, seed=SEED, config={}, status=Status.DIVERGED, summary={"figure": None, "run": 1.0})
        for run in (3, 0)
    ]
    found = {3: columns, 0: {}}
    return run_table(what, records, SETTINGS, ["diverged", "killed"], found.__getitem__)


def written(form, what="curves"):
    stream = io.BytesIO()
    write_table(table(what), form, stream)
    return stream.getvalue()


def bits(values):
    return [struct.pack("d", value) for value in values]


HEADS = ["run", "name", "lr", "text", "on", "count", "list", "seed", "status"]


def test_a_name_is_one_column():
    # The metrics status and run of a plugin yield to the columns of all tables.
    assert table().columns == [*HEADS, "step", "loss", "a|b"]
    assert table("runs").columns == [*HEADS, "steps", "figure"]


def test_csv_has_every_bit_and_no_formula():
    rows = list(csv.DictReader(io.StringIO(written("csv").decode(), newline="")))
    assert len(rows) == 9
    assert bits(float(row["loss"]) for row in rows) == bits(AWKWARD)
    assert {(row["run"], row["seed"], row["name"], row["lr"]) for row in rows} == {
        ("3", str(SEED), "'=1+1", "inf")
    }
    assert {(row["text"], row["on"], row["list"]) for row in rows} == {('a,"b"?|', "", "")}


def test_words_of_a_csv_read_back_as_they_were():
    words = ["a,b", 'c"', "", "plain", "a,b", " d"]
    text = lines({"word": np.array(words), "step": np.arange(6)}, ["word", "step"], 6).decode()
    assert list(csv.reader(io.StringIO(text))) == [[word, str(i)] for i, word in enumerate(words)]
    assert lines({"word": np.array(["=1+1"])}, ["word"], 1) == b"'=1+1\n"


def test_npz_has_every_bit_and_pickles_nothing():
    with np.load(io.BytesIO(written("npz")), allow_pickle=False) as columns:
        assert columns.files == table().columns
        assert columns["loss"].tobytes() == np.array(AWKWARD).tobytes()
        assert (columns["seed"] == SEED).all()
        assert columns["status"].tolist() == ["diverged"] * 9


def test_json_has_null_for_what_is_not_finite():
    def refuse(constant):
        raise AssertionError(constant)

    rows = json.loads(written("json"), parse_constant=refuse)
    assert [row["loss"] for row in rows] == [value if math.isfinite(value) else None for value in AWKWARD]
    assert {(row["seed"], row["lr"], row["count"]) for row in rows} == {(SEED, None, 1)}


def test_a_workbook_has_errors_for_what_is_not_finite_and_no_formula():
    openpyxl = pytest.importorskip("openpyxl")
    heading, *rows = openpyxl.load_workbook(io.BytesIO(written("xlsx"))).active.iter_rows()
    names = [cell.value for cell in heading]
    cells = [row[names.index("loss")] for row in rows]
    for cell, value in zip(cells, AWKWARD, strict=True):
        finite = math.isfinite(value)
        assert (cell.data_type, cell.value) == (("n", pytest.approx(value)) if finite else ("e", "#NUM!"))
    assert {cell.data_type for row in rows for cell in row} == {"n", "s", "e"}
    assert rows[0][names.index("name")].value == "'=1+1"
    assert rows[0][names.index("seed")].value == str(SEED)


def test_parquet_and_data_frames_have_every_bit():
    pq = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("pandas")
    found = pq.read_table(io.BytesIO(written("parquet")))
    assert found["loss"].to_numpy().tobytes() == np.array(AWKWARD).tobytes()
    assert set(found["seed"].to_pylist()) == {SEED}
    frame = data_frame(table())
    assert list(frame.columns) == found.column_names
    assert frame["a|b"].to_numpy().tobytes() == np.array(AWKWARD).tobytes()
    assert set(frame["seed"]) == {SEED}


def test_a_page_has_no_broken_row():
    heading, rule, *rows = written("md", "runs").decode().splitlines()
    assert heading.startswith("| run | name | lr | text |")
    cells = [line.replace("\\|", "").count("|") for line in (heading, rule, *rows)]
    assert set(cells) == {11}  # without the figure, which no run has
    assert r"\[1, null\]" in rows[1]
    latex = written("tex", "runs").decode()
    assert r"x\_y \& z\textbackslash{} & 4.94066e-324" in latex
    assert latex.count("\\\\\n") == 3


def test_an_unknown_format_is_refused():
    with pytest.raises(UnknownNameError, match=r"'xls': csv, .* Did you mean 'xlsx'"):
        write_table(table(), "xls", io.BytesIO())
