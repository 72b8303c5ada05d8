"""Tables as Parquet, read back with PyArrow and compared with the CSV."""

import csv
import io
import struct

import pytest

import optrun
from optrun.analysis.chosen_runs import stored_table
from optrun.errors import MissingExtraError
from optrun.store import Store, parquet, write_table
from tests.missing import without

SWEEP = {
    "problem": "rosenbrock",
    "optimizer": {"name": "SGD", "lr": 1e-4},
    "steps": 30,
    "sweep": {
        "parameters": {"optimizer.lr": [1e-4, 1], "optimizer.nesterov": [False, True]},
        "include": [
            {"optimizer": {"name": "Adam", "lr": 0.01}, "record.metrics": ["grad_norm"], "steps": 7},
        ],
        "exclude": [{"optimizer.nesterov": True}],
        "repeats": 2,
    },
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep whose settings have other parameters, metrics and lengths, and of which some diverge."""
    return optrun.sweep(SWEEP, directory=tmp_path_factory.mktemp("sweeps") / "mixed")


def bits(value):
    return None if value is None else struct.pack("d", value)


def both(sweep, what="curves"):
    pq = pytest.importorskip("pyarrow.parquet")
    text, binary = io.BytesIO(), io.BytesIO()
    with Store.open(sweep.path) as store:
        table = stored_table(store, what)
        write_table(table, "csv", text)
        write_table(table, "parquet", binary)
    return list(csv.reader(io.StringIO(text.getvalue().decode()))), pq.ParquetFile(binary)


HEADS = {
    "run": "int32",
    "optimizer.lr": "double",
    "optimizer.nesterov": "bool",
    "optimizer": "string",
    "record.metrics": "string",
    "steps": "int64",
    "seed": "int64",
    "status": "string",
}


@pytest.mark.parametrize("group_rows", [1 << 17, 7])
def test_all_runs_are_the_csv_to_the_bit_in_groups_of_rows(sweep, group_rows, monkeypatch):
    monkeypatch.setattr(parquet, "GROUP_ROWS", group_rows)
    (names, *rows), file = both(sweep)
    found = file.read()
    assert found.column_names == names == [*HEADS, "step", "loss", "lr", "grad_norm"]
    kinds = [str(kind) for kind in found.schema.types]
    assert kinds == [*HEADS.values(), "int64", "double", "double", "double"]
    for index, name in enumerate(names):
        read = found[name].to_pylist()
        cells = [row[index] for row in rows]
        if HEADS.get(name, name) in ("int32", "int64", "step"):
            assert read == [int(cell) if cell else None for cell in cells]
        elif HEADS.get(name, "double") == "double":
            assert list(map(bits, read)) == [bits(float(cell)) if cell else None for cell in cells]
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    assert len(sizes) == 1 if group_rows > len(rows) else all(7 <= size < 14 for size in sizes[:-1])


@pytest.mark.parametrize("what", ["runs", "curves"])
def test_the_swept_parameters_are_columns_of_their_types(sweep, what):
    plan = {each["first"]: each["setting"] for each in sweep.table()}
    settings = [plan[run - run % 2] for run in range(len(sweep.runs))]
    _, file = both(sweep, what)
    found = file.read()
    assert {name: str(found.schema.field(name).type) for name in HEADS} == HEADS
    for row in found.to_pylist():
        setting = settings[row["run"]]
        for name in ("optimizer.lr", "optimizer.nesterov", "steps"):
            assert row[name] == setting.get(name)
        assert row["record.metrics"] == ('["grad_norm"]' if "steps" in setting else None)
        assert row["seed"] == sweep.runs[row["run"]].config["seed"]
        assert row["status"] == sweep.states[row["run"]].status


def test_without_pyarrow_the_error_is_the_command_that_installs_it(sweep, monkeypatch):
    without(monkeypatch, "pyarrow")
    with Store.open(sweep.path) as store, pytest.raises(MissingExtraError, match="pip install pyarrow"):
        write_table(stored_table(store, "runs"), "parquet", io.BytesIO())
