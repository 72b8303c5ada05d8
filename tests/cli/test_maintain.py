"""Cleaning up, and looking at the machine."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun import diagnostics
from optrun.analysis.summaries import Summary
from optrun.cli.views.clean import _is_removable, age_of
from optrun.store import RunState, Status, Store
from optrun.store.directory import is_being_written, lock, remove_directory
from tests.cli.looking import call, run

__all__ = ["call", "run"]

DIVERGING = ("problem=rosenbrock", "optimizer=SGD", "optimizer.lr=1", "scheduler=null")


def test_clean_removes_what_was_chosen_and_nothing_else(call, run):
    good, bad = run(), run(*DIVERGING)
    listed = call("clean", "--failed", "--dry-run")
    assert bad.name in listed.out
    assert good.name not in listed.out
    assert "would be removed" in listed.out
    assert bad.is_dir()
    done = call("clean", "--failed", "-y")
    assert done.code == 0
    assert "removed 1 run" in done.out
    assert not bad.exists()
    assert good.is_dir()
    assert [path.name for path in Path("runs").iterdir() if path.name != ".gitignore"] == [good.name]


def test_clean_removes_samples_with_the_last_run_that_they_are_of(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.arange(12.0).reshape(6, 2)
    for name, rate in (("good", 0.01), ("bad", 1e30)):
        optimizer = {"name": "SGD", "lr": rate}
        config = {"name": name, "problem": "linear_regression", "optimizer": optimizer, "steps": 20}
        optrun.run(config, data=(x, x.sum(axis=1)))
    (file,) = (tmp_path / "runs/data").iterdir()
    own = file.with_name("own.npz")
    own.touch()
    assert "removed 1 run, " in (said := call("clean", "--failed", "-y").out)
    assert "of samples" not in said
    assert file.exists()
    assert ", and 1 file of samples, 0.0 MB would be" in call("clean", "-s", "completed", "-n").out
    assert ", and 1 file of samples, 0.0 MB\n" in call("clean", "-s", "completed", "-y").out
    assert [*own.parent.iterdir()] == [own]


def test_clean_asks_and_takes_nothing_without_an_answer(call, run, monkeypatch):
    bad = run(*DIVERGING)
    assert call("clean").code == 2
    refused = call("clean", "--failed")
    assert refused.code == 2
    assert "add -y" in refused.err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: (_ for _ in ()).throw(SystemExit(1)))
    assert call("clean", "--failed").code == 1
    assert bad.is_dir()


def test_clean_leaves_links_broken_directories_and_strangers(call, run, tmp_path):
    bad = run(*DIVERGING)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(bad, elsewhere)
    Path("runs/link").symlink_to(elsewhere)
    (bad / "precious").symlink_to(tmp_path)
    Path("runs/broken").mkdir()
    Path("runs/broken/config.yaml").touch()
    Path("runs/broken/results.sqlite").write_bytes(b"mine")
    Path("runs/notes").mkdir()
    assert call("clean", "--failed", "--status", "completed", "-y").code == 0
    assert not bad.exists()
    for left in (elsewhere, Path("runs/link"), Path("runs/broken"), Path("runs/notes"), tmp_path):
        assert left.exists()
    assert (elsewhere / "results.sqlite").exists()


def test_a_run_that_is_written_is_not_removed(call):
    with Store.create(Path("runs"), "busy", config_yaml="", runs=[({"name": "busy"}, 0)]) as store:
        assert is_being_written(store.path)
        assert call("clean", "--status", "running", "-y").out == "no such runs in runs\n"
        with pytest.raises(OSError, match="being written"):
            remove_directory(store.path)
        assert store.path.is_dir()
    assert not is_being_written(store.path)


def test_age_chooses_by_when_a_run_was_made():
    assert age_of("30d") == timedelta(days=30)
    assert age_of("90m") == timedelta(minutes=90)
    path = Path("run")
    path.mkdir()
    for name in ("results.sqlite", "config.yaml"):
        (path / name).touch()
    now = datetime.now(UTC)
    old = Summary(path, "completed", created=now - timedelta(days=31))
    new = Summary(path, "completed", created=now - timedelta(days=29))
    before = now - age_of("30d")
    assert (_is_removable(old, before), _is_removable(new, before)) == (True, False)
    assert not _is_removable(Summary(path, "completed"), before)


@pytest.mark.parametrize("age", ["30", "d", "-1d", "1e3d", "30 d", "1y"])
def test_an_age_is_a_number_with_a_unit(call, age):
    done = call("clean", "--older-than", age)
    assert done.code == 2
    assert "30d" in done.err


def test_doctor_tells_versions_extras_and_what_to_install(call):
    done = call("doctor")
    assert done.code == 0
    for word in ("numpy", "blas", "caches", "extras", "encoding"):
        assert word in done.out
    assert "\x1b" not in done.out
    found = json.loads(call("doctor", "--json").out)
    assert found["problems"] == {}
    assert found["versions"]["numpy"] == __import__("numpy").__version__
    assert "matplotlib" in found["extras"]["plots"]
    assert "dev" not in found["extras"]
    for distributions in found["extras"].values():
        if None in distributions.values():
            missing = [name for name, version in distributions.items() if version is None]
            assert f"pip install {' '.join(missing)}" in done.out


def test_doctor_ends_with_1_where_runs_cannot_be_written(call, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(diagnostics.tempfile, "TemporaryFile", refuse)
    done = call("doctor")
    assert done.code == 1
    assert "Permission denied" in done.out


def test_doctor_reads_every_row_of_a_run(call, run):
    path = run()
    done = call("doctor", path.name)
    assert (done.code, done.out) == (
        0,
        f"{path}: 1 run, every page and row is undamaged and consistent\n",
    )
    found = json.loads(call("doctor", path.name, "--json").out)
    assert found == {"path": str(path), "runs": 1, "damage": []}
    with closing(sqlite3.connect(path / "results.sqlite")) as db, db:
        db.execute("UPDATE events SET time = ''")
        db.execute("DELETE FROM curves WHERE kind = 'curve'")
    damage = [
        "a row of the table events is damaged: its checksum does not match",
        "curve of run 0 is damaged: it has made 30 steps, and what is stored ends before the first",
    ]
    done = call("doctor", "latest")
    kept = f"{path / 'metrics.csv'} has the curves as they were written before\n"
    assert (done.code, done.out) == (1, "".join(f"{path}: {each}\n" for each in damage) + kept)
    assert done.err == f"next: optrun run {path}/config.yaml -o {path}-again\n"
    assert call(*done.err.split()[2:], "-q").code == 0
    done = call("doctor", path.name, "--json")
    assert (done.code, json.loads(done.out)["damage"]) == (1, damage)


def damage_a_curve(path, run):
    with closing(sqlite3.connect(path / "results.sqlite")) as db, db:
        db.execute('UPDATE curves SET "values" = zeroblob(10) WHERE run = ?', [run])


def test_doctor_says_which_runs_of_a_damaged_sweep_can_be_read_and_how_to_repeat_it(call, run):
    run()
    path = optrun.sweep("small.yaml", overrides=["optimizer.lr=1e-3,1e-2,1e-1"], jobs=1).path
    damage_a_curve(path, 0)
    done = call("doctor", path)
    assert done.code == 1
    assert done.out.endswith("\n2 runs of 3 can still be read: 1, 2\n")
    export, sweep = (line.split("optrun ")[1].split() for line in done.err.splitlines())
    assert call(*export).code == 0
    assert Path("run-1.csv").read_text().startswith("run,optimizer.lr,seed,status,step,loss,lr")
    assert call(*sweep, "-q", "-j", "1").out == f"{path}-again\n"


def test_doctor_says_that_a_run_with_a_damaged_event_can_be_read(call, run):
    path = run()
    with closing(sqlite3.connect(path / "results.sqlite")) as db, db:
        db.execute("UPDATE events SET time = ''")
    done = call("doctor", path)
    assert "the curves of the run can still be read" in done.out
    assert call(*done.err.splitlines()[0].split()[2:]).code == 0
    assert Path("curves.csv").exists()


def test_doctor_of_a_file_that_is_no_database_says_how_to_repeat_the_run(call, run):
    path = run()
    (path / "results.sqlite").write_bytes(b"\xff" * 4096)
    done = call("doctor", path)
    assert done.code == 2
    assert done.err.splitlines() == [
        f"{path}: results.sqlite: file is not a database",
        f"next: optrun run {path}/config.yaml -o {path}-again",
    ]


@pytest.fixture
def confirm(monkeypatch):
    """Let something happen while the user is asked, who then agrees."""

    def during(act):
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("typer.confirm", lambda *_, **__: act())

    return during


def test_a_run_that_changed_since_it_was_listed_stays(call, run, confirm):
    bad, changed = run(*DIVERGING), run(*DIVERGING)

    def resume():
        with Store.open(changed, write=True) as store:
            store.commit(states={0: RunState(status=Status.COMPLETED, steps=7)})

    confirm(resume)
    done = call("clean", "--failed")
    assert done.code == 1
    assert f"removed {bad}\nremoved 1 run," in done.out
    assert f"not removed: {changed}: it has changed since it was listed, and is completed" in done.err
    assert [bad.exists(), changed.exists()] == [False, True]


def test_a_killed_run_is_removed(call):
    with Store.create(Path("runs"), "gone", config_yaml="", runs=[({"name": "gone"}, 0)]) as store:
        path = store.path
    assert call("clean", "--status", "killed", "-y").code == 0
    assert not path.exists()


def test_a_sweep_of_which_runs_wait_is_removed(call):
    sweep = {"problem": "quadratic", "optimizer": "SGD", "steps": 2, "sweep": {"repeats": 3}}
    path = optrun.sweep(sweep, limit=1).path
    assert call("clean", "--status", "waiting", "-y").code == 0
    assert not path.exists()


def test_a_run_that_cannot_be_removed_does_not_keep_the_others(call, run, confirm):
    bad, vanished, written = (run(*DIVERGING) for _ in range(3))
    held = []

    def meddle():
        shutil.rmtree(vanished)
        held.append(lock(written))

    confirm(meddle)
    done = call("clean", "--failed")
    os.close(held[0])
    assert done.code == 1
    assert "removed 1 run," in done.out
    assert f"not removed: {vanished}: No such file" in done.err
    assert f"not removed: {written}: the run is being written" in done.err
    assert [bad.exists(), written.exists()] == [False, True]


def test_clean_names_a_directory_that_is_not_there(call):
    done = call("clean", "nothere", "--failed")
    assert (done.code, done.err) == (2, "nothere: there is no such directory\n")
