"""Tables of runs, read back by readers of others and compared with what SQLite has."""

import builtins
import csv
import io
import json
import math
import os
import sqlite3
import struct
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.store import FORMATS, excel
from tests.cli.looking import call  # noqa: F401

SWEEP = {
    "name": "mixed",
    "problem": "rosenbrock",
    "optimizer": {"name": "SGD", "lr": 1e-4},
    "steps": 30,
    "dtype": "float64",
    "evaluate": {"every": 10},
    "sweep": {
        "parameters": {"optimizer.lr": [1e-4, 10], "optimizer.nesterov": [False, True]},
        "include": [{"optimizer": {"name": "Adam", "lr": 0.01}, "record.metrics": ["grad_norm"], "steps": 7}],
        "exclude": [{"optimizer.nesterov": True}],
        "repeats": 2,
    },
}
SWEPT = ["optimizer.lr", "optimizer.nesterov", "optimizer", "record.metrics", "steps"]
SETTINGS = [
    {"optimizer.lr": 1e-4, "optimizer.nesterov": False},
    {"optimizer.lr": 10, "optimizer.nesterov": False},
    {"optimizer": {"name": "Adam", "lr": 0.01}, "record.metrics": ["grad_norm"], "steps": 7},
]
WHAT = ("runs", "curves", "evaluations")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A sweep whose settings have other parameters, metrics and lengths, and of which some diverge."""
    return optrun.sweep(SWEEP, directory=tmp_path_factory.mktemp("sweeps") / "mixed").path


def rows_of(path, what):
    """Return the rows that a table must have, each a mapping, as SQLite and NumPy read the file."""
    rows = []
    with closing(sqlite3.connect(f"file:{path}/results.sqlite?mode=ro", uri=True)) as db:
        query = "SELECT run, seed, status, steps, summary FROM runs JOIN states USING (run) ORDER BY run"
        for run, seed, status, steps, summary in db.execute(query).fetchall():
            heads = {"run": run, **dict.fromkeys(SWEPT), **SETTINGS[run // 2], "seed": seed, "status": status}
            if what == "runs":
                rows.append({**heads, "steps_made": steps, **json.loads(summary)})
                continue
            query = 'SELECT name, "values" FROM curves WHERE run = ? AND kind = ? ORDER BY first_step'
            columns = {}
            for name, blob in db.execute(query, (run, what[:-1])):
                columns.setdefault(name, []).extend(np.load(io.BytesIO(blob)).tolist())
            figures = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            rows += [heads | figure for figure in figures]
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def plain(value):
    """Return a value as a table has it that knows numbers, truth and text: NaN is null."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return None if value == "" or (isinstance(value, float) and math.isnan(value)) else value


def read_csv(file):
    def value(text):
        try:
            return {"true": True, "false": False}[text]
        except KeyError:
            pass
        try:
            return float(text)
        except ValueError:
            return text

    with open(file, newline="") as stream:
        return [{name: value(cell) for name, cell in row.items()} for row in csv.DictReader(stream)]


def read_parquet(file):
    return pytest.importorskip("pyarrow.parquet").read_table(file).to_pylist()


def read_json(file):
    return json.loads(Path(file).read_text())


def read_npz(file):
    with np.load(file, allow_pickle=False) as columns:
        arrays = {name: columns[name].tolist() for name in columns.files}
    rows = [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]
    # An array has one type: with a null among them, truth is text.
    truth = {"True": True, "False": False}
    return [{**row, "optimizer.nesterov": truth.get(row["optimizer.nesterov"], "")} for row in rows]


def read_xlsx(file):
    sheet = pytest.importorskip("openpyxl").load_workbook(file).active
    names, *rows = sheet.iter_rows(values_only=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


READERS = {
    "csv": read_csv,
    "parquet": read_parquet,
    "json": read_json,
    "npz": read_npz,
    "xlsx": read_xlsx,
}


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("ending", READERS)
def test_every_format_reads_back_as_the_store_has_it(path, call, ending, what):  # noqa: F811
    if ending == "xlsx":
        pytest.importorskip("openpyxl")
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    expected = rows_of(path, what)
    assert call("export", path, "--what", what, "-o", f"all.{ending}") == (0, f"all.{ending}\n", "")
    found = READERS[ending](f"all.{ending}")
    assert list(found[0]) == list(expected[0])
    assert len(found) == len(expected) == {"runs": 6, "curves": 78, "evaluations": 16}[what]
    for row, wanted in zip(found, expected, strict=True):
        for name, value in row.items():
            # openpyxl writes 16 digits.
            number = ending == "xlsx" and isinstance(wanted[name], float)
            same = pytest.approx(wanted[name], rel=1e-15) if number else plain(wanted[name])
            assert plain(value) == same, name


@pytest.mark.parametrize("what", WHAT)
def test_the_data_frames_have_the_columns_of_the_export(path, call, what):  # noqa: F811
    pd = pytest.importorskip("pandas")
    sweep = optrun.load_sweep(path)
    frame = sweep.to_pandas(what)
    expected = rows_of(path, what)
    assert list(frame.columns) == list(expected[0])
    assert [[plain(each) for each in row] for row in frame.itertuples(index=False)] == [
        [plain(each) for each in row.values()] for row in expected
    ]
    assert call("export", path, "--what", what, "-o", "all.csv").code == 0
    read = pd.read_csv("all.csv")
    for name in frame.columns:
        if pd.api.types.is_numeric_dtype(frame[name]):
            np.testing.assert_allclose(frame[name], read[name], rtol=1e-15)
    alone = pd.concat([run.to_pandas(what) for run in sweep.runs], ignore_index=True)
    # In a sweep over steps, the steps that a run has made are another column.
    for name in alone.columns.difference(["steps", "steps_made"]):
        assert list(map(plain, alone[name])) == list(map(plain, frame[name])), name
    loaded = optrun.load_run(path, 5).to_pandas(what)
    pd.testing.assert_frame_equal(loaded, sweep.runs[5].to_pandas(what))


@pytest.mark.parametrize("what", WHAT)
def test_results_in_memory_have_the_same_data_frame_as_stored_ones(path, what):
    pd = pytest.importorskip("pandas")
    stored = optrun.load_sweep(path).to_pandas(what)
    pd.testing.assert_frame_equal(optrun.sweep(SWEEP, save=False).to_pandas(what), stored)
    assert len(optrun.run({**SWEEP, "sweep": None}, save=False).to_pandas(what)) == {
        "runs": 1,
        "curves": 30,
        "evaluations": 4,
    }.get(what)


@pytest.mark.parametrize("of", [optrun.Run, optrun.Sweep])
def test_a_data_frame_of_something_else_is_refused(path, of):
    made = optrun.load_sweep(path) if of is optrun.Sweep else optrun.load_run(path, 0)
    with pytest.raises(optrun.errors.ConfigError, match="'curve', only of .* Did you mean 'curves'"):
        made.to_pandas("curve")


def test_a_page_has_a_row_for_each_run(path, call):  # noqa: F811
    expected = rows_of(path, "runs")
    lines = call("export", path, "--what", "runs", "--format", "md").out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert [name.replace("\\", "") for name in rows[0]] == list(expected[0])
    assert rows[1][:2] == ["---:", "---:"]
    assert rows[0].index("status") == rows[1].index("---", 6)
    assert [row[0] for row in rows[2:]] == ["0", "1", "2", "3", "4", "5"]
    assert [row[-1] for row in rows[2:]] == [f"{row['final_loss']:.6g}" for row in expected]
    table = call("export", path, "--what", "runs", "--format", "tex").out
    assert table.startswith("% needs \\usepackage{booktabs}\n\\begin{tabular}{rrlllrrlrr}\n\\toprule\n")
    assert r"final\_loss \\" in table
    assert r"\{" in table
    assert table.count(r" \\") == 7
    assert all(line.count(" & ") == 9 for line in table.splitlines() if line.endswith(r" \\"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["-o", "x.foo"],
            "x.foo: unknown ending .foo, not one of .csv, .parquet, .json, .npz, .xlsx, .md, .tex",
        ),
        (["-o", "x.txt"], "unknown ending .txt"),
        (
            ["--format", "xls"],
            "unknown format 'xls': csv, parquet, json, npz, xlsx, md, tex. Did you mean 'xlsx'?",
        ),
        (["-o", "x.md"], "md is for a page, and curves may have thousands of rows: --what runs, or"),
        (
            ["-f", "tex", "--what", "evaluations"],
            "tex is for a page, and evaluations may have thousands of rows",
        ),
        (
            ["--what", "run"],
            "'run' is not one of 'runs', 'curves', 'evaluations', 'params'. Did you mean 'runs'?",
        ),
        (["--what", "runs", "--where", "final_los < 1"], "column 1: unknown name 'final_los'"),
        (["--what", "runs", "--sort", "final_los"], "Did you mean 'final_loss'?"),
    ],
)
def test_what_no_table_can_be_is_refused_in_words(path, call, arguments, message):  # noqa: F811
    done = call("export", path, *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in " ".join(done.err.replace("│", " ").split())
    assert not any(Path().glob("x.*"))


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("openpyxl", ["-o", "x.xlsx"]),
        ("tensorboardX", ["-o", "x", "--to", "tensorboard"]),
        ("mlflow", ["-o", "x.db", "--to", "mlflow"]),
        ("pandas", None),
    ],
)
def test_without_its_package_the_error_is_the_command_that_installs_it(
    path,
    monkeypatch,
    call,  # noqa: F811
    package,
    arguments,
):
    real = builtins.__import__

    def missing(name, *rest):
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    if arguments is None:
        with pytest.raises(optrun.errors.MissingExtraError, match=f"pip install {package}"):
            optrun.load_sweep(path).to_pandas()
        return
    done = call("export", path, *arguments)
    assert (done.code, any(Path().glob("x*"))) == (3, False)
    assert f"pip install {package}" in done.err


def test_a_sheet_with_too_many_rows_is_refused(path, monkeypatch, call):  # noqa: F811
    pytest.importorskip("openpyxl")
    monkeypatch.setattr(excel, "MOST_ROWS", 78)
    done = call("export", path, "-o", "x.xlsx")
    assert (done.code, Path("x.xlsx").exists()) == (2, False)
    assert "a sheet of xlsx has 78 rows, and these curves are more: use parquet or csv" in done.err
    monkeypatch.setattr(excel, "MOST_ROWS", 79)
    assert call("export", path, "-o", "x.xlsx").code == 0


def events_of(folder):
    """Return the scalars of the only event file of a folder by tag: pairs of step and value."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    (file,) = folder.iterdir()
    data, found = file.read_bytes(), {}
    while data:
        # A record is its length, a checksum of that, the event, and a checksum of it.
        (length,) = struct.unpack("<Q", data[:8])
        event = event_pb2.Event.FromString(data[12 : 12 + length])
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
        data = data[16 + length :]
    return found


def test_tensorboard_shows_all_curves_and_evaluations(path, call):  # noqa: F811
    pytest.importorskip("tensorboardX")
    assert call("export", path, "--to", "tensorboard", "-o", "a/tb") == (0, "a/tb\n", "")
    folders = sorted(Path("a/tb").iterdir())
    assert [folder.name for folder in folders[1:3]] == [
        "1 lr=0.0001,nesterov=false",
        "2 lr=10,nesterov=false",
    ]
    for run, folder in enumerate(folders):
        expected = {}
        for what, before in (("curves", ""), ("evaluations", "eval/")):
            for row in rows_of(path, what):
                for name in ("loss", "lr", "grad_norm"):
                    if row["run"] == run and row.get(name) is not None:
                        pair = (row["step"], float(np.float32(row[name])))
                        expected.setdefault(f"{before}{name}", []).append(pair)
        assert events_of(folder) == expected
    again = call("export", path, "--to", "tensorboard", "-o", "a/tb")
    assert (again.code, "a/tb: not empty: give a new folder" in again.err) == (2, True)
    assert call("export", path, "--to", "tensorboard", "-o", "b", "--where", "steps == 7").code == 0
    assert [folder.name[0] for folder in sorted(Path("b").iterdir())] == ["4", "5"]
    assert call("export", f"{path}:3", "--to", "tensorboard", "-o", "c").code == 0
    assert [folder.name[0] for folder in Path("c").iterdir()] == ["3"]


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # of what MLflow stands on
def test_mlflow_has_the_config_curves_evaluations_and_figures_of_each_run(path, call):  # noqa: F811
    pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    from mlflow.tracking import MlflowClient

    done = call("export", path, "--to", "mlflow", "-o", "a/ml.db")
    assert (done.code, done.out) == (0, "a/ml.db\n"), done.err
    client = MlflowClient(tracking_uri="sqlite:///a/ml.db")
    name = optrun.load_sweep(path).runs[0].config["name"]
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    found = {run.data.tags["optrun.run"]: run for run in runs}
    for row in rows_of(path, "runs"):
        run = found[f"{Path(path).resolve()}:{row['run']}"]
        is_gone = row["status"] in ("diverged", "failed")
        assert (run.info.status, run.data.tags["optrun.status"]) == (
            "FAILED" if is_gone else "FINISHED",
            row["status"],
        )
        if row["optimizer.lr"] is not None:
            assert float(run.data.params["optimizer.lr"]) == row["optimizer.lr"]
        assert run.data.params["optimizer.maximize"] == "false"
        assert run.data.metrics.get("final_loss") == row.get("final_loss")
        for what, before in (("curves", ""), ("evaluations", "eval/")):
            of = [each for each in rows_of(path, what) if each["run"] == row["run"]]
            points = client.get_metric_history(run.info.run_id, f"{before}loss")
            assert sorted((point.step, point.value) for point in points) == [
                (each["step"], each["loss"]) for each in of if np.isfinite(each.get("loss") or 0.0)
            ]


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # of what MLflow stands on
def test_mlflow_has_each_run_once_whatever_was_interrupted(path, call, monkeypatch):  # noqa: F811
    pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    terminate, ended = MlflowClient.set_terminated, []

    def failing(self, run, *rest):
        ended.append(run)
        if len(ended) == 3:
            raise MlflowException("the server is gone")
        return terminate(self, run, *rest)

    monkeypatch.setattr(MlflowClient, "set_terminated", failing)
    assert "the server is gone" in call("export", path, "--to", "mlflow", "-o", "ml.db").err
    client = MlflowClient(tracking_uri="sqlite:///ml.db")
    (experiment,) = client.search_experiments(filter_string="name != 'Default'")

    def ids():
        return [run.info.run_id for run in client.search_runs([experiment.experiment_id])]

    assert len(ids()) == 3
    for same in (path, os.path.relpath(path)):
        assert call("export", same, "--to", "mlflow", "-o", "ml.db").code == 0
        assert len(ids()) == len(rows_of(path, "runs"))
        assert (set(ended[:2]) <= set(ids()), ended[2] in ids()) == (True, False)
    # A run that had not ended is replaced by how it ended.
    first, *_ = client.search_runs([experiment.experiment_id])
    client.set_tag(first.info.run_id, "optrun.status", "interrupted")
    assert call("export", path, "--to", "mlflow", "-o", "ml.db").code == 0
    assert (len(ids()), first.info.run_id in ids()) == (len(rows_of(path, "runs")), False)


def test_mlflow_is_given_no_file_that_is_another(path, call):  # noqa: F811
    Path("x.db").write_text("a text")
    for file, said in (
        ("x.db", "x.db: not a database"),
        (f"{path}/results.sqlite", "file of a run directory"),
    ):
        done = call("export", path, "--to", "mlflow", "-o", file)
        assert (done.code, said in done.err) == (2, True)
    assert Path("x.db").read_text() == "a text"
    assert "such as mlflow.db" in call("export", path, "--to", "mlflow").err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--to tensorboard writes a folder: give it with -o"),
        (["-o", "x", "--what", "runs"], "without --what, --format and --sort"),
        (["-o", "x", "--format", "csv"], "without --what, --format and --sort"),
    ],
)
def test_what_tensorboard_does_not_take_is_refused(path, call, arguments, message):  # noqa: F811
    done = call("export", path, "--to", "tensorboard", *arguments)
    assert (done.code, Path("x").exists()) == (2, False)
    assert message in done.err


@pytest.mark.parametrize("what", WHAT)
def test_the_runs_of_a_table_are_chosen_and_sorted(path, call, what):  # noqa: F811
    condition = "status != diverged and optimizer.lr < 0.1 or steps == 7"
    arguments = ("--what", what, "--where", condition, "--sort", "-run", "-f", "json")
    found = json.loads(call("export", path, *arguments).out)
    assert list(dict.fromkeys(row["run"] for row in found)) == [5, 4, 1, 0]
    # A column is there if a chosen run has it.
    assert ("grad_norm" in found[0]) == (what == "curves")


def test_a_table_of_no_run_is_empty(path, call):  # noqa: F811
    for form in ("csv", "json", "md", "npz"):
        assert call("export", path, "--what", "runs", "--where", "run > 99", "-o", f"x.{form}").code == 0
    assert Path("x.csv").read_text() == "run,seed,status,steps\n"
    assert json.loads(Path("x.json").read_text()) == []
    assert Path("x.md").read_text().splitlines()[0] == "| run | seed | status | steps |"
    with np.load("x.npz") as columns:
        assert all(columns[name].shape == (0,) for name in columns.files)
    pytest.importorskip("pandas")
    waiting = optrun.sweep(SWEEP, directory="w", limit=1)
    assert list(waiting.to_pandas("runs")["status"]).count("waiting") == 5


def test_ls_chooses_sorts_and_cuts_no_json(path, call):  # noqa: F811
    done = call("ls", path, "--where", "optimizer.lr > 1", "--sort", "-run", "--json")
    assert [each["run"] for each in json.loads(done.out)] == [f"{path}:3", f"{path}:2"]
    lines = call("ls", path, "--sort", "-final_loss", "-n", "3").out.splitlines()
    worst = sorted(rows_of(path, "runs"), key=lambda row: -row["final_loss"])[:3]
    assert [int(line.split()[0]) for line in lines[1:]] == [row["run"] for row in worst]
    many = {**SWEEP, "steps": 1, "sweep": {"parameters": {"optimizer.lr": {"logspace": [1e-5, 1e-4, 30]}}}}
    optrun.sweep(many, directory="many")
    assert len(json.loads(call("ls", "many", "--json").out)) == 30
    shown = call("ls", "many", "--sort", "lr")
    assert len(shown.out.splitlines()) == 21
    assert "ls many --sort lr --limit 0" in shown.err
    refused = call("ls", ".", "--sort", "lr")
    assert (refused.code, "are for the runs of a sweep" in refused.err) == (2, True)
    none = call("ls", path, "--where", "status == failed").out
    assert " ".join(none.split()).startswith("none of 6 runs in ")
    assert "nowhere: no such directory" in call("ls", "nowhere", "--sort", "lr").err


@pytest.mark.full
def test_no_format_imports_a_library_that_it_does_not_need(path, call):  # noqa: F811
    import subprocess

    code = (
        "import sys; from optrun.cli.app import app\n"
        f"try: app(['export', {str(path)!r}, '--what', 'runs'])\n"
        "except SystemExit: pass\n"
        "assert not {'pandas', 'openpyxl', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    assert set(READERS) | {"md", "tex"} == set(FORMATS)


def test_restored_parameters_are_exported_by_the_step_that_they_are_of(tmp_path, call):  # noqa: F811
    config = {"problem": "rosenbrock", "optimizer": {"name": "SGD", "lr": 0.01}, "steps": 3}
    stop = {"metric": "loss", "restore_best": True, "divergence": None}
    run = optrun.run({**config, "stop": stop, "evaluate": {"every": 1}}, directory=tmp_path / "run")
    assert "restored to step 0" in run.reason
    assert call("export", run.path, "--what", "params", "-o", tmp_path / "p.npz").code == 0
    with np.load(tmp_path / "p.npz") as read:
        assert read.files == ["step0/x", "card"]


def test_parameters_are_exported_by_step_and_name(tmp_path, call):  # noqa: F811
    swept = {**SWEEP, "record": {"params": [0, 5]}, "stop": {"divergence": None}}
    swept["sweep"] = {"parameters": {"optimizer.lr": [1e-4, 1e-3]}}
    sweep = optrun.sweep(swept, directory=tmp_path / "sweep")
    result = call("export", sweep.path, "--what", "params", "-o", tmp_path / "all.npz")
    assert (result.code, result.out.strip()) == (0, str(tmp_path / "all.npz"))
    with np.load(tmp_path / "all.npz", allow_pickle=False) as read:
        cards = ["run0/card", "run1/card"]
        assert read.files == [f"run{run}/step{step}/x" for run in (0, 1) for step in (0, 5, 30)] + cards
        for run, each in enumerate(sweep.runs):
            for step in (0, 5, 30):
                assert read[f"run{run}/step{step}/x"].tobytes() == each.params_at(step)["x"].tobytes()
    chosen = ["--where", "optimizer.lr > 5e-4", "-o", tmp_path / "some.npz"]
    assert call("export", sweep.path, "--what", "params", *chosen).code == 0
    with np.load(tmp_path / "some.npz") as read:
        assert read.files == ["run1/step0/x", "run1/step5/x", "run1/step30/x", "run1/card"]
    assert call("export", f"{sweep.path}:1", "--what", "params", "-o", tmp_path / "one.npz").code == 0
    assert call("export", f"{sweep.path}:1", "-o", tmp_path / "whole.npz").code == 0
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "whole.npz") as whole:
        assert one.files == ["step0/x", "step5/x", "step30/x", "card"]
        assert whole.files[-3:] == ["params/x", "step0/x", "step5/x"]
    table = call("export", sweep.path, "--what", "params", "-o", tmp_path / "x.csv")
    assert (table.code, table.err.strip()) == (
        2,
        "params are arrays, and no table for csv: a file.npz or file.safetensors, or --format npz",
    )
