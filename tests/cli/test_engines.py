"""Engines of a config: the same curves from each, and the way to a missing one."""

import sys

import pytest

import optrun
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
