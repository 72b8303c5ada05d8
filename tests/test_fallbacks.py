"""What optrun goes on without says so: a debug line for each kind, which --verbose shows."""

import logging
import os
import sys
from pathlib import Path

import pytest

import optrun
from optrun import sources
from optrun.cli.app import main
from optrun.cli.exits import reported
from optrun.fallbacks import Fallback
from optrun.kernels import user_cache
from optrun.regular_files import files_digest
from optrun.store import directory, fingerprint
from optrun.store.locate import run_directories
from optrun.sweeps import estimate
from optrun.sweeps.plan import width
from optrun.training import memory

SMALL = {"problem": "rosenbrock", "optimizer": "SGD", "steps": 3}


def _no_git(monkeypatch, tmp_path):
    monkeypatch.chdir(Path(tmp_path.anchor))
    fingerprint._git()


def _git_is_broken(monkeypatch, tmp_path):
    def refuse(path):
        raise ValueError("no path")

    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(fingerprint, "_revision", refuse)
    fingerprint._git()


def _no_device(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cupy", None)
    fingerprint._device("cupy")


def _no_container(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_LIMITS", (tmp_path / "none",))
    memory.memory_bytes.__wrapped__()


def _no_cache_size(monkeypatch, tmp_path):
    monkeypatch.setattr(width, "_L2", tmp_path / "none")
    monkeypatch.setattr(os, "sysconf", lambda name: 0, raising=False)
    width.l2_bytes()


def _cache_is_a_file(monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("")
    user_cache.write(tmp_path / "cache" / "optrun" / "loop", b"")


def _cache_of_others(monkeypatch, tmp_path):
    folder = tmp_path / "cache" / "optrun"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    user_cache.write(folder / "loop", b"")


def _cached_by_others(monkeypatch, tmp_path):
    (tmp_path / "loop").write_bytes(b"code")
    (tmp_path / "loop").chmod(0o666)
    user_cache.read(tmp_path / "loop")


def _no_home(monkeypatch, tmp_path):
    def unknown():
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", unknown)
    user_cache.directory("loops")


def _no_locks(monkeypatch, tmp_path):
    import fcntl

    def refused(*_):
        raise OSError("not supported")

    monkeypatch.setattr(fcntl, "flock", refused)
    directory._hold(0)


def _not_a_directory(monkeypatch, tmp_path):
    (tmp_path / "runs").write_text("")
    run_directories(tmp_path / "runs")


def _not_a_store(monkeypatch, tmp_path):
    (tmp_path / "runs" / "x").mkdir(parents=True)
    (tmp_path / "runs" / "x" / "results.sqlite").write_bytes(b"x" * 4096)
    run_directories(tmp_path / "runs")


def _no_source(monkeypatch, tmp_path):
    sources.source_of(type("Elsewhere", (), {"__module__": "nowhere"}))


def _no_data(monkeypatch, tmp_path):
    files_digest([str(tmp_path / "none.csv")])


def _not_estimated(monkeypatch, tmp_path):
    def failing(configs):
        raise MemoryError("too large")

    monkeypatch.setattr(estimate, "estimate", failing)
    estimate._estimated([])


def _no_blas(monkeypatch, tmp_path):
    import threadpoolctl

    monkeypatch.setattr(threadpoolctl.ThreadpoolController, "_load_libraries", lambda self: None)
    with optrun.arrays._OneBlasThread():  # that of all others remembers what it has found
        pass


KINDS = {
    "no revision of git is noted: there is no repository here": _no_git,
    "no revision of git is noted (ValueError: no path)": _git_is_broken,
    "nothing is noted of the device (MissingExtraError: ": _no_device,
    "no memory limit of a container is known: that of the machine counts": _no_container,
    "the system does not tell the size of the L2 cache: packs are made for ": _no_cache_size,
    "loop is not kept for later processes (": _cache_is_a_file,
    "loop is not kept for later processes (PermissionError: others can write there)": _cache_of_others,
    "loop is not read (PermissionError: others can write there)": _cached_by_others,
    "no home directory: nothing is kept for later processes (RuntimeError: no home)": _no_home,
    "this file system has no locks (OSError: not supported)": _no_locks,
    "runs is not looked into (NotADirectoryError: ": _not_a_directory,
    "x does not tell when it was made: the time of its file counts (DatabaseError: ": _not_a_store,
    "the source of Elsewhere is not known: no change of it is noticed (TypeError: ": _no_source,
    "none.csv is not read: no change of it is noticed (FileNotFoundError: ": _no_data,
    "a pack is not estimated (MemoryError: too large)": _not_estimated,
    "no BLAS is known here": _no_blas,
}


@pytest.mark.skipif(sys.platform == "win32", reason="has no owners of files, and no fcntl")
@pytest.mark.parametrize(("said", "without"), KINDS.items())
def test_each_kind_has_a_line(said, without, monkeypatch, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "optrun")
    without(monkeypatch, tmp_path)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "optrun"]
    assert said in line


def test_other_errors_go_on_as_they_are_and_none_is_no_line(caplog):
    caplog.set_level(logging.DEBUG, "optrun")
    with pytest.raises(KeyError), Fallback("nothing", ValueError):
        raise KeyError("x")
    with Fallback("nothing", ValueError):
        pass
    assert caplog.records == []


def lines(capsys, monkeypatch, *arguments):
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["optrun", *arguments])
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    with pytest.raises(SystemExit):
        main()
    reported.show(debug=False, verbose=False)
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("debug: ")]


@pytest.mark.parametrize("arguments", ["-v run f.yaml", "run f.yaml -v", "run f.yaml --verbose"])
def test_verbose_shows_a_few_lines_each_once_and_only_where_it_is_given(arguments, capsys, monkeypatch):
    Path("f.yaml").write_text("problem: rosenbrock\noptimizer: SGD\nsteps: 30\n")
    shown = lines(capsys, monkeypatch, *arguments.split())
    assert "debug: no revision of git is noted: there is no repository here" in shown
    assert len(shown) == len(set(shown)) <= 4
    assert lines(capsys, monkeypatch, *(each for each in arguments.split() if not each.startswith("-"))) == []
