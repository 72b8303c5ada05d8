"""Diagnostics: which optimizers pass them, and the figure that says so."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import optrun
from optrun.cli.app import app
from optrun.config.sweep.resolve import load_sweep
from optrun.registry import problems
from tests.problems.cases import FUNCTIONS

CONFIG = Path(__file__).parents[2] / "configs" / "diagnostics.yaml"
DIAGNOSTICS = [name for name in FUNCTIONS if problems.find(name).passes is not None]
PASSED = {
    "saddle": {"SGD", "momentum", "Adam", "Adagrad"},
    "plateau": {"Adam", "Adagrad"},
    "scale_varying_valley": {"momentum", "Adam"},
    "layered_scales": {"Adam"},
    "flip": {"SGD", "momentum", "Adam"},
    "minimax": {"SGD", "Adagrad"},
}


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_a_diagnostic_tells_optimizers_apart(name):
    sweep = optrun.sweep(CONFIG, overrides=[f"sweep.parameters.problem=[{name}]"], save=False)
    passed = set()
    for run in sweep.runs:
        loss = run.summary["final_loss"]
        assert run.summary["passed"] == (loss is not None and loss <= problems.find(name).passes)
        optimizer = run.config["optimizer"]
        if run.summary["passed"]:
            passed.add("momentum" if optimizer.get("momentum") else optimizer["name"])
    assert passed == PASSED[name]


def test_the_shipped_sweep_has_every_diagnostic():
    assert (
        sorted(load_sweep(CONFIG).sweep.parameters["problem"].arguments)
        == sorted(DIAGNOSTICS)
        == sorted(PASSED)
    )


def test_players_go_around_the_saddle_as_their_matrix_says():
    rate, steps = 0.1, 200
    config = {
        "problem": "minimax",
        "optimizer": {"name": "SGD", "lr": rate},
        "steps": steps,
        "dtype": "float64",
    }
    run = optrun.run(config, save=False)
    step = np.eye(2) - rate * np.array([[0.2, 1.0], [-1.0, 0.2]])
    expected = np.linalg.matrix_power(step, steps) @ [1.0, 1.0]
    np.testing.assert_allclose(run.params["x"], expected, rtol=1e-12)
    assert run.summary["final_loss"] == pytest.approx(0.1 * expected @ expected, rel=1e-12)


def test_what_it_takes_to_pass_is_shown():
    shown = CliRunner().invoke(app, ["show", "plateau"]).output
    assert "A run has passed, and the figure passed is 1, if its final_loss is at most 1e-06." in shown
    assert json.loads(CliRunner().invoke(app, ["show", "plateau", "--json"]).output)["passes"] == 1e-6
    assert "passes" not in json.loads(CliRunner().invoke(app, ["show", "beale", "--json"]).output)
