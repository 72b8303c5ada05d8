"""The rates of a config, before anything runs."""

import numpy as np
import pytest

import optrun
from optrun.config import from_mapping
from optrun.problems import Rosenbrock
from optrun.training.build import scheduled_steps
from optrun.training.schedule_preview import scheduled

CONFIG = {
    "problem": {"name": "rosenbrock"},
    "optimizer": {"name": "SGD", "lr": 1e-3},
    "scheduler": {"name": "CosineAnnealingLR", "T_max": 300},
    "steps": 300,
}


def test_the_rates_are_those_of_the_run_and_nothing_is_trained(monkeypatch):
    trained = optrun.run(CONFIG, save=False).curves["lr"]

    def refuse(*_):
        raise AssertionError("a gradient was computed")

    monkeypatch.setattr(Rosenbrock, "loss_and_grad", refuse)
    table = scheduled(from_mapping(CONFIG))
    np.testing.assert_array_equal(table["lr"], trained)
    closed_form = 1e-3 * (1 + np.cos(np.pi * table["step"] / 300)) / 2
    np.testing.assert_allclose(table["lr"], closed_form, rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("override", ["scheduler=null", "optimizer.lr=0.5"])
def test_overrides_count(override):
    assert scheduled(from_mapping(CONFIG, [override]))["lr"].shape == (300,)


def test_everything_that_is_scheduled_is_there():
    groups = {"params": "*.bias", "schedules": {"lr": {"name": "StepLR", "step_size": 10}}}
    config = {
        "problem": {"name": "mlp", "data": "iris", "batch_size": 20},
        "optimizer": {"name": "AdamW", "lr": 0.1, "param_groups": [groups]},
        "scheduler": {"name": "OneCycleLR", "max_lr": 0.2, "total_steps": 40},
        "schedules": {"weight_decay": {"name": "ExponentialLR", "gamma": 0.9}},
        "steps": 40,
        "record": {"metrics": ["weight_decay", "beta1"]},
    }
    trained, table = optrun.run(config, save=False).curves, scheduled(from_mapping(config))
    names = [f"{name}{suffix}" for name in ("lr", "beta1", "weight_decay") for suffix in ("", ".1")]
    assert list(table) == ["step", *names]
    for name in names:
        np.testing.assert_array_equal(table[name], trained[name], err_msg=name)


def test_a_group_of_another_rule_has_what_this_rule_has():
    config = {
        "problem": {"name": "mlp", "data": "iris"},
        "optimizer": {"name": "SGD", "param_groups": [{"params": "*.bias", "name": "AdamW"}]},
        "scheduler": {"name": "OneCycleLR", "max_lr": 0.2, "total_steps": 40},
        "steps": 40,
    }
    assert list(scheduled(from_mapping(config))) == ["step", "lr", "lr.1", "momentum", "beta1.1"]


@pytest.mark.parametrize("steps", [7, 2**62])
def test_a_choice_of_steps_is_even_and_has_the_first_and_the_last(steps):
    assert scheduled_steps(steps, 4).tolist() == [0, (steps - 1) // 3, 2 * (steps - 1) // 3, steps - 1]
