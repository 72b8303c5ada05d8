"""The rates of a config, before anything runs."""

import numpy as np
import pytest

import optrun
from optrun.analysis.schedule import rates
from optrun.config import from_mapping
from optrun.problems.functions import Rosenbrock

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
    table = rates(from_mapping(CONFIG))
    np.testing.assert_array_equal(table["lr"], trained)
    closed_form = 1e-3 * (1 + np.cos(np.pi * table["step"] / 300)) / 2
    np.testing.assert_allclose(table["lr"], closed_form, rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("override", ["scheduler=null", "optimizer.lr=0.5"])
def test_overrides_count(override):
    assert rates(from_mapping(CONFIG, [override]))["lr"].shape == (300,)
