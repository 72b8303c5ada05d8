"""`SWEEP:best`: the run that is meant, wherever a run of a sweep may be named."""

import numpy as np
import pytest

import optrun
from optrun.analysis.best_run import find_numbered
from optrun.config import load
from optrun.errors import StoreError
from tests.cli.looking import call

__all__ = ["call"]

NOISY = {"problem": {"name": "quadratic", "noise": 3.0}, "optimizer": "SGD", "steps": 20, "dtype": "float64"}


@pytest.fixture
def sweep():
    block = {"parameters": {"optimizer.lr": [1e-3, 0.1, 1e3]}, "repeats": 2}
    return optrun.sweep({**NOISY, "sweep": block}, directory="rates")


def test_the_best_run_is_the_first_of_the_best_setting(sweep, call):
    medians = [
        np.median([each.summary["final_loss"] or np.inf for each in sweep.runs[i : i + 2]]) for i in (0, 2, 4)
    ]
    first = 2 * int(np.argmin(medians))
    assert find_numbered("rates:best") == (sweep.path, first)
    assert optrun.load_run("rates:best").setting == sweep.runs[first].setting
    for command in (["show"], ["ls"], ["export", "--what", "runs"], ["curves"], ["diff", f"rates:{first}"]):
        assert call(*command, "rates:best").code == 0
    table = [call("export", "--what", "runs", f"rates:{which}").out for which in ("best", first)]
    assert table[0] == table[1]
    code, _, err = call("resume", "rates:best")
    assert (code, "optrun resume rates" in err) == (2, True)


def test_a_run_of_a_sweep_is_a_config(sweep, call, tmp_path):
    code, out, _ = call("config", "rates:3")
    (tmp_path / "three.yaml").write_text(out)
    assert load(tmp_path / "three.yaml").to_dict() == sweep.runs[3].config
    again = optrun.run("rates:3", save=False)
    assert again.curves["loss"].tobytes() == sweep.runs[3].curves["loss"].tobytes()
    assert call("run", "rates:best", "steps=5", "-o", "again", "-q").code == 0
    assert optrun.load_run("again").steps == 5
    code, _, err = call("run", "rates:best", "optimizer.l=1", "--no-save")
    assert (code, "optimizer.l: unknown key" in err) == (2, True)
    code, _, err = call("run", "rates:17")
    assert (code, "there is no run 17" in err) == (2, True)


def test_a_confirmation_decides():
    rates = [round(0.01 + 0.001 * i, 3) for i in range(9)]
    block = {"parameters": {"optimizer.lr": rates}, "confirm": {"top": 5, "seeds": 5}}
    sweep = optrun.sweep({**NOISY, "sweep": block}, directory="confirmed")
    chosen = sweep.confirmed.standings()[0].setting
    assert chosen != sweep.standings()[0].setting
    assert optrun.load_run("confirmed:best").setting == chosen


def test_several_problems_have_a_best_run_each_and_single_runs_none(small):
    problems = ["rosenbrock", "beale"]
    block = {"parameters": {"problem": problems, "optimizer.lr": [1e-5, 1e-3]}}
    sweep = optrun.sweep({**NOISY, "problem": "rosenbrock", "sweep": block}, directory="two")
    first = [min(range(i, i + 2), key=lambda run: sweep.runs[run].summary["final_loss"]) for i in (0, 2)]
    with pytest.raises(StoreError, match=f"two:{first[0]} for .*; two:{first[1]} for "):
        find_numbered("two:best")
    small(directory="alone")
    with pytest.raises(StoreError, match="a single run"):
        find_numbered("alone:best")
