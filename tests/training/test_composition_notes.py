"""Parts of an optimizer and options of schedules without effect are pointed out, and others are not."""

from typing import Literal

import numpy as np
import pytest

import optrun
from optrun.config import from_mapping
from optrun.optim.optimizer import Optimizer
from optrun.registry import optimizers
from optrun.training.config_notes import ineffective_options
from optrun.training.pack import Pack
from tests.registries import restore_after

BASE = {"problem": {"name": "mlp", "data": "iris", "hidden": [4]}, "steps": 5}
WSD = {"name": "WSD", "stable_steps": 2, "decay_steps": 3}

CYCLE = {"name": "CyclicLR", "base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2, "cycle_momentum": False}


def notes(optimizer, scheduler=None, varied=()):
    config = {**BASE, "optimizer": {"name": "SGD", "lr": 0.01, **optimizer}, "scheduler": scheduler}
    return [each.removeprefix("note: ") for each in ineffective_options(Pack([from_mapping(config)]), varied)]


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ({"wrap": [{"name": "Accumulate", "n": 6}]}, "wrap.0.n: 6 is never reached in the run's 5 steps"),
        ({"wrap": [{"name": "Lookahead", "k": 6}]}, "wrap.0.k: 6 is never reached in the run's 5 steps"),
        ({"wrap": ["Lookahead"]}, None),
        (
            {"wrap": [{"name": "Lookahead", "alpha": 0}]},
            "wrap.0.alpha is 0: Lookahead goes all the way back every k steps",
        ),
        (
            {"wrap": ["Lookahead", {"name": "SAM", "rho": 0}]},
            "wrap.1.rho is 0: SAM takes the gradient where it is, twice",
        ),
        ({"decay": "decoupled"}, "decay has no effect: weight_decay is 0"),
        ({"decay": "decoupled", "weight_decay": 0.1}, None),
        ({"decay": "decoupled", "param_groups": [{"params": "*.bias", "weight_decay": 0.1}]}, None),
        (
            {"param_groups": [{"params": "*.bias", "decay": "independent"}]},
            "param_groups.0.decay has no effect: weight_decay is 0",
        ),
        (
            {"param_groups": [{"params": "*", "lr": 0.02}]},
            "lr has no effect: each of the param_groups, which have all parameters, has its own",
        ),
        ({"param_groups": [{"params": "*", "momentum": 0.9}]}, None),
        ({"wrap": ["ScheduleFree"]}, None),
        (
            {"momentum": 0.9, "wrap": ["ScheduleFree"]},
            "momentum: ScheduleFree has a momentum of its own, beside which momentum is 0, not 0.9",
        ),
    ],
)
def test_parts_of_an_optimizer(optimizer, expected):
    assert notes(optimizer) == ([] if expected is None else [f"optimizer.{expected}"])


def test_a_momentum_that_is_a_word(monkeypatch):
    restore_after(monkeypatch, optimizers)

    class Worded(Optimizer):
        """θ ← θ - lr g"""

        @staticmethod
        def update(p, g, t, /, *, lr: float = 0.1, momentum: Literal["heavy", "none"] = "heavy"):
            p -= lr * g

    assert notes({"name": "Worded", "wrap": ["ScheduleFree"]}) == []


@pytest.mark.parametrize(
    ("optimizer", "schedules"),
    [
        ({"wrap": [{"name": "SAM", "rho": 0}]}, {"schedules": {"wrap.0.rho": CYCLE}}),
        ({"wrap": [{"name": "Lookahead", "alpha": 0}]}, {"schedules": {"wrap.0.alpha": CYCLE}}),
        ({"momentum": 0.9, "wrap": ["ScheduleFree"]}, {"schedules": {"momentum": CYCLE}}),
        ({"momentum": 0.9, "wrap": ["ScheduleFree"]}, {"scheduler": {**CYCLE, "cycle_momentum": True}}),
    ],
)
def test_a_value_that_a_schedule_replaces_is_not_spoken_of(optimizer, schedules):
    config = {**BASE, "optimizer": {"name": "SGD", **optimizer}, **schedules}
    said = ineffective_options(Pack([from_mapping(config)]))
    assert not [each for each in said if " is 0" in each]


def test_a_rule_that_updates_nothing():
    said = "SGD has no effect: param_groups give all parameters rules of their own"
    groups = [{"params": "*.bias", "name": "Adam"}, {"params": "*.weight", "name": "AdamW"}]
    assert notes({"param_groups": groups}) == [f"optimizer: the rule, with its options, of {said}"]
    assert notes({"param_groups": groups[:1]}) == []
    groups[1]["name"] = "SGD"
    assert notes({"param_groups": groups}) == [f"optimizer: the options of {said}"]


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ({"decay_power": 2.0}, ["decay_power"]),
        ({"decay_power": 2.0, "decay": "power"}, []),
        ({"timescale": 4}, ["timescale"]),
        ({"timescale": 4, "stable": "rsqrt"}, []),
        ({"warmup_start": 0.5}, ["warmup_start"]),
        ({"warmup_start": 0.5, "warmup": 2}, []),
        ({"interval": "step"}, []),
    ],
)
def test_options_of_a_schedule(options, idle):
    schedule = {**WSD, **options}
    said = [f"scheduler.{name} has no effect on WSD with its other options" for name in idle]
    assert [each for each in notes({}, schedule) if "has no effect" in each] == said
    assert not any("has no effect" in each for each in notes({}, schedule, {"scheduler.decay"}))
    # The oracle: the rates.
    rates = [
        optrun.run({**BASE, "optimizer": "SGD", "scheduler": each}, save=False).curves["lr"]
        for each in (WSD, schedule)
    ]
    assert np.array_equal(*rates) == (bool(idle) or options == {"interval": "step"})


@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "LinearLR", "start_factor": 0.25, "total_iters": 4},
        {"name": "ConstantLR", "total_iters": 4},
        {"name": "PolynomialLR", "total_iters": 4, "power": 2},
    ],
)
def test_options_of_a_schedule_that_count_in_a_few_steps_of_many_only(schedule):
    config = {**BASE, "steps": 100_000, "optimizer": "SGD", "scheduler": schedule}
    assert not [each for each in ineffective_options(Pack([from_mapping(config)])) if "no effect" in each]


def test_a_rate_that_decays_beside_an_average_that_replaces_it():
    said = "WSD lets the learning rate decay: ScheduleFree averages instead, beside a warm-up at most"
    assert said in notes({"wrap": ["ScheduleFree"]}, WSD)
    warmup = {"name": "LinearLR", "total_iters": 3}
    assert notes({"wrap": ["ScheduleFree"]}, warmup) == []
