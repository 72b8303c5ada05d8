"""What is exported reads back exactly, in the readers that people have."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optrun.errors import StoreError, UnknownNameError
from optrun.store import WHOLE, RunState, Status, Store, export, formats, write_csv
from tests.store.samples import columns, new_store

AWKWARD = [0.1, 1e-300, 5e-324, 1e22, 123456789.123456789, -0.0, np.nan, np.inf, -np.inf]


@pytest.fixture
def awkward(store: Store) -> Store:
    """A run whose metrics come in an unusual order, with values that are easily lost."""
    steps = np.arange(len(AWKWARD))
    curves = {"grad_norm": AWKWARD, "lr": AWKWARD[::-1], "step": steps, "accuracy": AWKWARD, "loss": AWKWARD}
    store.commit(
        curves={1: curves},
        evaluations={1: {"step": [0, 9], "loss": [np.nan, 0.5]}},
        states={1: RunState(status=Status.DIVERGED, reason="größe", steps=9, summary={"final_loss": np.nan})},
        params={1: {"weight": np.ones((2, 3), np.float32), "file": np.zeros(2)}},
    )
    return store


def exported(store: Store, run: int, format: str) -> bytes:
    stream = io.BytesIO()
    export(store, run, format, stream)
    return stream.getvalue()


def assert_same(read: Any, expected: Any) -> None:
    assert np.asarray(read, np.float64).tobytes() == np.asarray(expected, np.float64).tobytes()


def test_csv(awkward: Store) -> None:
    text = exported(awkward, 1, "csv").decode()
    assert text.splitlines()[:2] == ["step,loss,lr,grad_norm,accuracy", "0,0.1,-inf,0.1,0.1"]
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == len(AWKWARD)
    for name, values in awkward.curves(1).items():
        assert_same([float(row[name]) for row in rows], values)
    assert [int(row["step"]) for row in rows] == list(range(len(AWKWARD)))


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 7])
def test_csv_in_chunks(store: Store, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    store.commit(curves={0: columns(0, rows)})
    whole = exported(store, 0, "csv")
    monkeypatch.setattr(formats, "ROWS", 3)
    assert exported(store, 0, "csv") == whole
    assert whole.count(b"\n") == rows + 1


@pytest.mark.parametrize(
    ("name", "heading"),
    [("=1+1", "'=1+1"), ("+x", "'+x"), ("-x", "'-x"), ("@x", "'@x"), ("\tx", "?x"), ("a\r\nb\x1b", "a??b?")],
)
def test_csv_headings_are_no_formulas(store: Store, name: str, heading: str) -> None:
    store.commit(curves={0: {"step": [0], "loss": [0.5], "lr": [0.1], name: [-1.0], "a,b": [2.0]}})
    header, row = csv.reader(io.StringIO(exported(store, 0, "csv").decode(), newline=""))
    assert header == ["step", "loss", "lr", heading, "a,b"]
    assert row == ["0", "0.5", "0.1", "-1.0", "2.0"]


def test_npz(awkward: Store) -> None:
    with np.load(io.BytesIO(exported(awkward, 1, "npz")), allow_pickle=False) as archive:
        read = dict(archive)
    assert list(read) == [
        *["grad_norm", "lr", "step", "accuracy", "loss"],
        *["eval/step", "eval/loss", "params/weight", "params/file"],
    ]
    for name, values in awkward.curves(1).items():
        assert read[name].dtype == values.dtype
        assert_same(read[name], values)
    assert_same(read["eval/loss"], [np.nan, 0.5])
    assert read["params/weight"].dtype == np.float32
    assert read["params/weight"].shape == (2, 3)


def test_json(awkward: Store) -> None:
    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    read = json.loads(exported(awkward, 1, "json"), parse_constant=refuse)
    assert read.pop("config") == awkward.run(1).config
    curves, evaluations = read.pop("curves"), read.pop("evaluations")
    assert read == {
        "run": 1,
        "seed": 1,
        "status": "diverged",
        "reason": "größe",
        "steps": 9,
        "summary": {"final_loss": None},
    }
    assert evaluations == {"step": [0, 9], "loss": [None, 0.5]}
    assert curves["step"] == list(range(len(AWKWARD)))
    for value, expected in zip(curves["loss"], AWKWARD, strict=True):
        assert value == expected if math.isfinite(expected) else value is None


@pytest.mark.parametrize("format", WHOLE)
def test_a_run_without_records(store: Store, format: str) -> None:
    assert exported(store, 0, format)
    with pytest.raises(StoreError, match="no run 3"):
        exported(store, 3, format)


def test_an_unknown_format(store: Store) -> None:
    with pytest.raises(UnknownNameError, match=r"'jsn'\. Did you mean 'json'"):
        exported(store, 0, "jsn")


def test_metrics_csv_is_replaced_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for last in (3, 5):
        store.commit(curves={0: columns(0, 3) if last == 3 else columns(3, 5)})
        write_csv(store)
        assert (store.path / "metrics.csv").read_bytes() == exported(store, 0, "csv")

    def fail(_: Any) -> Any:
        yield b"step"
        raise OSError(28, "No space left on device")

    before = (store.path / "metrics.csv").read_bytes()
    monkeypatch.setattr(formats, "_csv", fail)
    with pytest.raises(StoreError, match="No space left on device"):
        write_csv(store)
    assert (store.path / "metrics.csv").read_bytes() == before
    names = ["config.yaml", "metrics.csv", "results.sqlite"]
    assert sorted(path.name for path in store.path.iterdir()) == names


def test_metrics_csv_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    with new_store(tmp_path) as store:
        (store.path / "metrics.csv").symlink_to(tmp_path / "precious")
        write_csv(store)
    assert (tmp_path / "precious").read_text() == "precious"
