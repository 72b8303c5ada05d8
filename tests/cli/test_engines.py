"""Engines of a config: the same curves from each, and the way to a missing one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import optrun
from optrun import diagnostics
from optrun.cli.app import main
from tests.kernels.engines import NEEDS_NUMBA

CONFIG = {"problem": "rosenbrock", "optimizer": {"name": "Adam", "lr": 0.01}, "steps": 60}


@NEEDS_NUMBA
def test_the_engine_changes_no_result():
    by = {name: optrun.run({**CONFIG, "engine": name}, save=False) for name in ("numpy", "numba", "auto")}
    for run in by.values():
        assert run.curves["loss"].tobytes() == by["numpy"].curves["loss"].tobytes()
        assert run.summary == by["numpy"].summary


@pytest.mark.parametrize("command", [["run", "engine=numba"], ["sweep", "engine=numba", "-j", "2"]])
def test_a_missing_engine_is_exit_3_and_the_command_that_installs_it(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    config = "problem: rosenbrock\noptimizer: Adam\nsteps: 20\n"
    if command[0] == "sweep":
        config += "sweep:\n  parameters:\n    optimizer.lr: [0.1, 0.01]\n"
    (tmp_path / "a.yaml").write_text(config)
    name, *others = command
    monkeypatch.setattr(sys, "argv", ["optrun", name, "a.yaml", *others])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    assert "python -m pip install 'numba>=0.61'" in capsys.readouterr().err


AT_ONCE = """
from optrun.kernels import auto_engine

auto_engine.THRESHOLD = 0
"""
WRONG = "Numba does not work here: ImportError: Numba needs another NumPy"
SWEEP = """
problem: rosenbrock
optimizer: Adam
steps: 20
sweep:
  parameters:
    optimizer.lr: [0.1, 0.01]
    optimizer.amsgrad: [true, false]
"""


@pytest.fixture
def broken(tmp_path):
    """Run the command where Numba is installed and its import raises, and loops are compiled at once."""
    (tmp_path / "broken" / "numba").mkdir(parents=True)
    (tmp_path / "broken" / "numba" / "__init__.py").write_text(
        "raise ImportError('Numba needs another NumPy')"
    )
    (tmp_path / "at_once.py").write_text(AT_ONCE)
    (tmp_path / "run.yaml").write_text(SWEEP.partition("sweep:")[0])
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    cache, paths = str(tmp_path / "cache"), [str(tmp_path / "broken"), str(Path(optrun.__file__).parents[1])]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "XDG_CACHE_HOME": cache, "LOCALAPPDATA": cache}

    def call(*arguments):
        command = [sys.executable, "-m", "optrun", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True)

    return call


@NEEDS_NUMBA
@pytest.mark.parametrize("command", [["run", "run.yaml"], ["sweep", "sweep.yaml", "-j", "2"]])
def test_a_broken_engine_is_exit_3_before_anything_runs(command, broken, tmp_path):
    done = broken(*command, "engine=numba")
    assert (done.returncode, done.stdout, done.stderr.strip()) == (3, "", WRONG)
    assert not (tmp_path / "runs").exists()


@NEEDS_NUMBA
@pytest.mark.parametrize("command", [["run", "run.yaml"], *(["sweep", "sweep.yaml", "-j", n] for n in "12")])
def test_an_engine_that_breaks_later_is_exit_3_and_no_run_has_failed_for_it(command, broken, tmp_path):
    proven = "from optrun.kernels.numba.engine import NumbaEngine; NumbaEngine().proven()"
    cache = str(tmp_path / "cache")
    env = os.environ | {"XDG_CACHE_HOME": cache, "LOCALAPPDATA": cache, "HOME": cache}
    subprocess.run([sys.executable, "-c", proven], env=env, check=True)
    done = broken(*command, "engine=numba", "-o", "out")
    assert done.returncode == 3
    assert WRONG in done.stderr.splitlines()
    assert "failed" not in done.stderr + done.stdout


@NEEDS_NUMBA
@pytest.mark.parametrize("command", [["run", "run.yaml"], *(["sweep", "sweep.yaml", "-j", n] for n in "12")])
def test_auto_goes_on_without_a_broken_engine_and_says_so_once(command, broken):
    done = broken(*command, "--plugin", "at_once.py")
    assert done.returncode == 0
    assert done.stderr.count("does not work here") == 1
    assert f"note: {WRONG}; NumPy goes on" in done.stderr.splitlines()


@NEEDS_NUMBA
def test_doctor_tells_a_broken_engine_from_one_that_works(broken, tmp_path, capsys, monkeypatch):
    engines = json.loads(broken("doctor", "--json").stdout)["engines"]
    assert engines["numba"] == WRONG
    assert engines["compiled loops"] == f"0, 0.0 MB in {tmp_path / 'cache' / 'optrun' / 'kernels'}"
    assert engines["are kept"] == "yes"
    monkeypatch.setattr(sys, "argv", ["optrun", "doctor", "--json"])
    with pytest.raises(SystemExit):
        main()
    assert json.loads(capsys.readouterr().out)["engines"]["numba"].startswith("works, version")


@pytest.mark.skipif(sys.platform == "win32", reason="no modes here")
def test_doctor_says_why_no_loop_is_kept(tmp_path):
    place = tmp_path / "kernels"
    place.mkdir()
    (place / "loop").write_bytes(bytes(2_000_000))
    assert diagnostics._loops(place) == {"compiled loops": f"1, 2.0 MB in {place}", "are kept": "yes"}
    place.chmod(0o777)
    assert diagnostics._loops(place)["are kept"].endswith("others can write there")
    (tmp_path / "file").touch()
    assert diagnostics._loops(tmp_path / "file" / "kernels")["are kept"].startswith(
        "no, every process compiles"
    )
