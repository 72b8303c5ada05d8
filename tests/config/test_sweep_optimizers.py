"""`sweep.optimizers`: a space for each, with the search space that its class declares."""

from typing import ClassVar

import pytest

from optrun.config import ConfigErrors
from optrun.config.sweep.optimizers import searched
from optrun.config.sweep.resolve import load_sweep, sweep_from_mapping
from optrun.optim.optimizer import Optimizer
from optrun.registry import optimizers
from optrun.sweeps.plan.expand import expand
from tests.registries import restore_after

BASE = {"problem": "rosenbrock", "steps": 5}


def swept(**block):
    return sweep_from_mapping({**BASE, "sweep": {"method": "random", **block}})


@pytest.mark.parametrize("name", searched())
def test_a_declared_search_space_can_be_drawn_from(name):
    plan = expand(swept(optimizers=[name], trials=8))
    space = optimizers.find(name).search_space
    assert len(plan.settings) == 8
    for setting in plan.settings:
        assert {*setting} == {"optimizer.name", *(f"optimizer.{option}" for option in space)}
        for option, axis in space.items():
            (low, high), value = next(iter(axis.values())), setting[f"optimizer.{option}"]
            assert low <= value <= high


def test_all_are_those_that_declare_one_and_a_plugin_s_too(monkeypatch):
    restore_after(monkeypatch, optimizers)

    class Mine(Optimizer):
        """θ ← θ - lr g"""

        search_space: ClassVar = {"lr": {"loguniform": [1e-3, 1.0]}}

        @staticmethod
        def update(p, g, t, /, *, lr: float = 1e-3):
            p -= lr * g

    plan = expand(swept(optimizers="all", trials=100))
    assert (
        {setting["optimizer.name"] for setting in plan.settings} == {*searched()} >= {"Mine", "SGD", "AdamW"}
    )


def test_they_stand_beside_other_parameters_and_spaces():
    block = {
        "parameters": {"steps": [5, 6]},
        "spaces": [{"parameters": {"optimizer.name": ["Rprop"], "optimizer.lr": {"uniform": [0, 1]}}}],
    }
    plan = expand(swept(optimizers=["sgd", "Adam"], trials=30, **block))
    names = [setting["optimizer.name"] for setting in plan.settings]
    assert [names.count(name) for name in ("Rprop", "SGD", "Adam")] == [10, 10, 10]
    assert {setting["steps"] for setting in plan.settings} == {5, 6}


def test_what_is_stored_are_the_spaces_themselves():
    block = swept(optimizers=["SGD"], trials=2).to_dict()["sweep"]
    assert "optimizers" not in block
    assert block["spaces"][0]["parameters"]["optimizer.name"] == ["SGD"]


def test_mistakes_have_their_places(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(
        "problem: rosenbrock\nsteps: 5\nsweep:\n  method: random\n  trials: 4\n  optimizers: [SGD, Adamx, LBFGS]\n"
    )
    with pytest.raises(ConfigErrors) as caught:
        load_sweep(file)
    assert [(issue.line, issue.column, issue.path) for issue in caught.value.issues] == [
        (6, 21, "sweep.optimizers.1"),
        (6, 28, "sweep.optimizers.2"),
    ]
    assert "Did you mean 'Adamax'?" in str(caught.value)
    assert "LBFGS declares no search space" in str(caught.value)


@pytest.mark.parametrize("given", [[], 3, [1], {"SGD": 1}, "every"])
def test_what_is_no_list_of_names_is_refused(given):
    with pytest.raises(ConfigErrors, match="optimizers"):
        swept(optimizers=given, trials=4)
