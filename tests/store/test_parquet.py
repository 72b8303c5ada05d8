"""Curves as Parquet, read back with PyArrow and compared with the CSV."""

import builtins
import csv
import io
import struct
from pathlib import Path

import pytest

import optrun
from optrun.errors import MissingExtraError
from optrun.store import Status, Store, export, export_all, parquet

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


def both(sweep, settings=()):
    pq = pytest.importorskip("pyarrow.parquet")
    text, binary = io.BytesIO(), io.BytesIO()
    with Store.open(sweep.path) as store:
        export_all(store, "csv", text)
        export_all(store, "parquet", binary, settings)
    return list(csv.reader(io.StringIO(text.getvalue().decode()))), pq.ParquetFile(binary)


@pytest.mark.parametrize("group_rows", [1 << 17, 7])
def test_all_runs_are_the_csv_to_the_bit_in_groups_of_rows(sweep, group_rows, monkeypatch):
    monkeypatch.setattr(parquet, "GROUP_ROWS", group_rows)
    (names, *rows), file = both(sweep)
    found = file.read()
    assert found.column_names == names
    assert [str(kind) for kind in found.schema.types] == ["int32", "int64", *["double"] * (len(names) - 2)]
    for index, name in enumerate(names):
        read = found[name].to_pylist()
        cells = [row[index] for row in rows]
        if name in ("run", "step"):
            assert read == list(map(int, cells))
        else:
            assert list(map(bits, read)) == [bits(float(cell)) if cell else None for cell in cells]
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    assert len(sizes) == 1 if group_rows > len(rows) else all(7 <= size < 14 for size in sizes[:-1])


def test_the_swept_parameters_are_columns_of_their_types(sweep):
    plan = {each["first"]: each["setting"] for each in sweep.table()}
    settings = [plan[run - run % 2] for run in range(len(sweep.runs))]
    (names, *rows), file = both(sweep, settings)
    found = file.read()
    assert found.column_names[len(names) :] == list(dict.fromkeys(path for each in settings for path in each))
    kinds = {name: str(found.schema.field(name).type) for name in found.column_names[len(names) :]}
    assert kinds == {
        "optimizer.lr": "double",
        "optimizer.nesterov": "bool",
        "optimizer": "string",
        "record.metrics": "string",
        "steps": "int64",
    }
    for row, run in zip(found.to_pylist(), [int(row[0]) for row in rows], strict=True):
        assert row["optimizer.lr"] == settings[run].get("optimizer.lr")
        assert row["optimizer.nesterov"] == settings[run].get("optimizer.nesterov")
        assert row["record.metrics"] == ('["grad_norm"]' if "steps" in settings[run] else None)


def test_one_run_has_the_columns_of_its_csv_and_its_number(sweep):
    pq = pytest.importorskip("pyarrow.parquet")
    stream = io.BytesIO()
    with Store.open(sweep.path) as store:
        export(store, 4, "parquet", stream)
        found = pq.read_table(stream)
        curves = store.curves(4)
    assert found.column_names == ["run", "step", "loss", "lr", "grad_norm"]
    assert set(found["run"].to_pylist()) == {4}
    for name in found.column_names[1:]:
        assert found[name].to_numpy().tobytes() == curves[name].tobytes()


def test_without_pyarrow_the_error_is_the_command_that_installs_it(sweep, monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with Store.open(sweep.path) as store, pytest.raises(MissingExtraError, match="pip install pyarrow"):
        export(store, 0, "parquet", io.BytesIO())


def test_csv_of_a_sweep_has_its_parameters_and_of_one_that_waits_its_heading():
    swept = optrun.sweep(
        {
            "problem": "rosenbrock",
            "optimizer": "SGD",
            "steps": 1,
            "sweep": {"parameters": {"optimizer.lr": [1e-3, 2e-3], "scheduler": [None, "ConstantLR"]}},
        },
        limit=0 or None,
    )
    text = io.BytesIO()
    with Store.open(swept.path) as store:
        settings = [swept.plan.settings[run] for run in range(4)]
        export_all(store, "csv", text, settings)
    rows = list(csv.DictReader(io.StringIO(text.getvalue().decode())))
    assert [(float(row["optimizer.lr"]), row["scheduler"]) for row in rows] == [
        (1e-3, ""),
        (1e-3, "ConstantLR"),
        (2e-3, ""),
        (2e-3, "ConstantLR"),
    ]
    pairs = [({}, 0), ({}, 1)]
    with Store.create(Path("w"), "w", config_yaml="", runs=pairs, status=Status.WAITING) as store:
        for write in (lambda out: export(store, 0, "csv", out), lambda out: export_all(store, "csv", out)):
            text = io.BytesIO()
            write(text)
            assert text.getvalue().decode().endswith("step,loss,lr\n")
