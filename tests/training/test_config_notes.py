"""Settings without effect are pointed out, and settings with one are not."""

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays
from optrun.config import from_mapping
from optrun.registry import problems
from optrun.training.config_notes import draws_batches, draws_start, ineffective_options
from optrun.training.pack import Pack

BASE = {"problem": "rosenbrock", "optimizer": {"name": "SGD", "lr": 0.01}, "steps": 40}
WARM = {"name": "LinearLR", "total_iters": 10}


def notes(scheduler=None, varied=(), **changes):
    config = BASE | changes | ({"scheduler": scheduler} if scheduler else {})
    return [each.removeprefix("note: ") for each in ineffective_options(Pack([from_mapping(config)]), varied)]


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ({"name": "StepLR", "step_size": 100}, "scheduler: StepLR changes nothing within the run's 40 steps"),
        ({"name": "MultiStepLR", "milestones": [40]}, "scheduler: MultiStepLR changes nothing"),
        (
            {"name": "MultiStepLR", "milestones": [20, 40]},
            "scheduler.milestones.1: 40 is beyond the 40 steps that the run has for it",
        ),
        ({"name": "CosineAnnealingLR", "T_max": 400}, "scheduler.T_max: 400 is beyond the 40 steps"),
        (
            {"name": "CosineAnnealingLR", "T_max": 41, "interval": "epoch"},
            "scheduler.T_max: 41 is beyond the 40 epochs",
        ),
        (
            {"name": "OneCycleLR", "max_lr": 0.1, "total_steps": 400, "cycle_momentum": False},
            "scheduler.total_steps: 400 is beyond the 40 steps",
        ),
        (
            {"name": "OneCycleLR", "max_lr": 0.1, "total_steps": 10, "cycle_momentum": False},
            "OneCycleLR: from step 9 of 40 on the learning rate stays at 4e-07",
        ),
        (
            {"name": "LambdaLR", "lr_lambda": "0"},
            "LambdaLR: from step 0 of 40 on the learning rate stays at 0",
        ),
        (
            {
                "name": "SequentialLR",
                "milestones": [10],
                "schedulers": [WARM, {"name": "CosineAnnealingLR", "T_max": 31}],
            },
            "scheduler.schedulers.1.T_max: 31 is beyond the 30 steps",
        ),
        (
            {"name": "CosineAnnealingLR", "T_max": 2, "warmup": 39},
            "scheduler.T_max: 2 is beyond the 1 step that the run has for it",
        ),
        (
            {"name": "CosineAnnealingLR", "T_max": 31, "warmup": 10},
            "scheduler.T_max: 31 is beyond the 30 steps",
        ),
        ({"name": "StepLR", "step_size": 1, "warmup": 41}, "scheduler.warmup: 41 is beyond the 40 steps"),
    ],
)
def test_schedules_without_effect_and_beyond_the_end(scheduler, expected):
    assert any(each.startswith(expected) for each in notes(scheduler)), notes(scheduler)


@pytest.mark.parametrize(
    "scheduler",
    [
        None,
        {"name": "CosineAnnealingLR", "T_max": 40},
        {"name": "CosineAnnealingLR", "T_max": 30, "warmup": 10},
        {"name": "StepLR", "step_size": 39},
        {"name": "ReduceLROnPlateau"},
        {"name": "ExponentialLR", "gamma": 0.9},
        {
            "name": "SequentialLR",
            "milestones": [10],
            "schedulers": [WARM, {"name": "CosineAnnealingLR", "T_max": 30}],
        },
    ],
)
def test_settings_with_an_effect_have_no_note(scheduler):
    assert notes(scheduler, varied={"optimizer.lr"}) == []


@pytest.mark.parametrize(
    "scheduler",
    [
        {"name": "OneCycleLR", "max_lr": 0.002, "total_steps": 40},
        {"name": "CyclicLR", "base_lr": 0.001, "max_lr": 0.002, "step_size_up": 20},
    ],
)
def test_what_a_schedule_sets_by_itself_has_no_effect(scheduler):
    optimizer = {"name": "SGD", "lr": 0.01, "momentum": 0.5}
    found = notes(scheduler, optimizer=optimizer)
    kind = scheduler["name"]
    assert found == [
        f"optimizer.{name} has no effect: {kind} sets {name} itself" for name in ("lr", "momentum")
    ]
    assert notes(scheduler, optimizer="SGD") == []  # nobody asked for a rate
    assert len(notes(scheduler, optimizer="SGD", varied={"optimizer.lr"})) == 1
    # The oracle: the results.
    curves = [
        optrun.run(BASE | {"scheduler": scheduler, "optimizer": optimizer | {"lr": lr}}, save=False).curves[
            "loss"
        ]
        for lr in (0.01, 0.02)
    ]
    np.testing.assert_array_equal(*curves)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        # Muon cycles momentum, AdamW beta1: each group its own.
        ({"name": "AdamW", "lr": 3e-3}, ["lr", "param_groups.0.lr"]),
        ({"name": "AdamW", "beta1": 0.8}, ["lr", "param_groups.0.beta1"]),
        ({"name": "SGD", "momentum": 0.5}, ["lr", "param_groups.0.momentum"]),
        ({"momentum": 0.5}, ["lr", "param_groups.0.momentum"]),
        # A group's own schedule starts from the rate that it reads.
        ({"lr": 3e-3, "schedules": {"lr": {"name": "StepLR", "step_size": 30}}}, ["lr"]),
        ({"schedules": {"lr": {"name": "StepLR", "step_size": 30}}}, []),
    ],
)
def test_what_a_schedule_sets_by_itself_has_no_effect_in_any_group(group, expected):
    config = {
        "problem": {"name": "mlp", "data": "iris"},
        "optimizer": {"name": "SGD", "lr": 0.3, "param_groups": [{"params": "*.bias", **group}]},
        "scheduler": {"name": "OneCycleLR", "max_lr": 0.002, "total_steps": 40},
    }
    found = [each.partition(" has no effect: OneCycleLR sets")[0] for each in notes(**config)]
    assert found == [f"optimizer.{path}" for path in expected]


@pytest.mark.parametrize(
    ("changes", "varied", "expected"),
    [
        ({"dampening": 0.5}, (), ["dampening"]),
        ({}, (), []),
        ({}, {"optimizer.dampening"}, ["dampening"]),
        ({"dampening": 0.5}, {"optimizer.momentum"}, []),
        ({"dampening": 0.5}, {"optimizer.nesterov"}, []),
        ({"dampening": 0.5, "momentum": 0.9, "weight_decay": 0.1}, (), []),
        ({"dampening": 0.5, "param_groups": [{"params": "x", "momentum": 0.9}]}, (), []),
        ({"name": "Muon", "ns_steps": 0, "ns_coefficients": [3, -4, 2]}, (), ["ns_a", "ns_b", "ns_c"]),
        ({"wrap": ["Lookahead", {"name": "SAM", "rho": 0.1}]}, {"optimizer.wrap.0.alpha"}, []),
    ],
)
def test_what_the_optimizer_does_not_read_has_no_effect(changes, varied, expected):
    optimizer = {"name": "SGD", "lr": 0.01} | changes
    problem = (
        {"name": "mlp", "data": "iris", "bias": False} if "ns_steps" in changes else {"name": "quadratic"}
    )
    name = optimizer["name"]
    assert notes(varied=varied, optimizer=optimizer, problem=problem) == [
        f"optimizer.{each} has no effect: with the other options {name} does not read it" for each in expected
    ]


def test_a_schedule_may_make_the_optimizer_read_a_hyperparameter():
    momentum = {"name": "ReduceLROnPlateau"}
    optimizer = {"name": "SGD", "lr": 0.01, "dampening": 0.5}
    assert not [
        each for each in notes(optimizer=optimizer, schedules={"momentum": momentum}) if "read" in each
    ]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"name": "CosineAnnealingLR", "T_max": 20}, 1),
        ({"name": "CosineAnnealingLR", "T_max": 20, "eta_min": 0.1}, 0),
        ({"name": "SWALR", "swa_lr": 0.01}, 0),
    ],
)
def test_a_schedule_that_makes_nothing_of_zero_is_told(schedule, expected):
    found = notes(schedules={"weight_decay": schedule})
    assert sum("which is 0, and leaves it 0" in each for each in found) == expected
    optimizer = {"name": "SGD", "lr": 0.01, "weight_decay": 0.1}
    assert not any(
        "leaves it 0" in each for each in notes(optimizer=optimizer, schedules={"weight_decay": schedule})
    )


@pytest.mark.parametrize(
    ("section", "key", "first"),
    [
        ("stop", "patience", 40),
        ("record", "every", 40),
        ("evaluate", "every", 41),
        ("checkpoint", "every", 41),
    ],
)
def test_what_is_never_reached_is_told(section, key, first):
    assert notes(**{section: {key: first - 1}}) == []
    said = f"{section}.{key}: {first} is never reached in the run's 40 steps"
    assert notes(**{section: {key: first}}) == [said]


def test_a_run_of_one_step_records_it():
    assert notes(steps=1) == []
    assert notes(steps=1, checkpoint={"every": "30s"}, evaluate={"every": 1}) == []


@pytest.mark.parametrize(
    ("growth", "varied", "expected"),
    [
        ({"batch_milestones": [1, 2], "batch_gamma": 3}, (), []),
        ({"batch_milestones": [1, 11], "batch_gamma": 3}, (), []),
        ({"batch_milestones": [1, 12], "batch_gamma": 3}, (), [".1: epoch 12 is never reached in the run's 40 steps"]),
        ({"batch_milestones": [1, 2]}, (), []),
        ({"batch_milestones": [1, 2, 3, 4]}, (), [".3 has no effect: a batch has all training samples already"]),
        ({"batch_milestones": [1, 2], "batch_gamma": 1}, (), [" has no effect: problem.batch_gamma is 1"]),
        ({"batch_milestones": [1, 2], "batch_gamma": 1}, {"problem.batch_gamma"}, []),
    ],
)  # fmt: skip
def test_batches_that_do_not_grow_are_told(growth, varied, expected):
    """Of 50 samples an epoch has 7 batches of 8, 4 of 16, 2 of 32, and 1 of 50; 7 of 8, then 3 of 24, and 1 of 50."""
    problem = {
        "name": "softmax_regression",
        "data": "blobs(samples=50)",
        "test_fraction": 0.0,
        "batch_size": 8,
    }
    found = notes(problem=problem | growth, varied=varied)
    assert found == [f"problem.batch_milestones{each}" for each in expected]


def test_a_factor_of_batches_that_do_not_grow_has_no_effect():
    problem = {"name": "softmax_regression", "data": "iris", "batch_size": 8}
    said = "problem.batch_gamma has no effect without problem.batch_milestones"
    for gamma, expected in ((1, [said]), (2, []), (3, [said])):
        assert notes(problem=problem | {"batch_gamma": gamma}) == expected


def test_a_schedule_that_has_an_effect_in_a_few_steps_of_a_long_run_has_no_note():
    def found(step):
        brief = {"name": "LambdaLR", "lr_lambda": f"1 + exp(-1e3 * (t - {step})**2)"}
        return notes(brief, steps=100_000)

    assert found(50_001) == []
    assert found(100_000) == ["scheduler: LambdaLR changes nothing within the run's 100,000 steps"]


EPOCHS = {"name": "CosineAnnealingLR", "T_max": 3, "interval": "epoch"}


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"steps": None, "epochs": 40}, "epochs"),
        ({"steps": 3, "scheduler": EPOCHS}, "scheduler.interval"),
        ({"steps": None, "epochs": 3, "scheduler": EPOCHS}, "epochs and scheduler.interval"),
        ({"steps": 3, "schedules": {"weight_decay": EPOCHS}}, "schedules.weight_decay.interval"),
        ({"steps": 3}, None),
    ],
)
@pytest.mark.parametrize(
    "data", [None, {"name": "softmax_regression", "data": "iris"}, {"name": "mlp", "data": "iris", "batch_size": 10}]
)  # fmt: skip
def test_an_epoch_without_data_is_one_step(changes, paths, data):
    changes = changes | ({"optimizer": {"name": "SGD", "lr": 0.01, "weight_decay": 0.1}})
    said = f"{paths}: rosenbrock has no batches of data, so an epoch is one step"
    found = [each for each in notes(**changes, **({"problem": data} if data else {})) if "epoch is" in each]
    assert found == ([] if data or paths is None else [said])


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("quadratic", {}, False),
        ("quadratic", {"noise": 0.1}, True),
        ("linear_regression", {}, False),
        ("linear_regression", {"batch_size": 32}, True),
        ("mlp", {"data": "iris", "hidden": [3]}, True),
    ],
)
def test_problems_without_chance_are_known(name, options, expected):
    problem = problems.find(name)(Arrays(), **options)
    assert (draws_start(problem) or draws_batches(problem)) is expected
    losses = [
        optrun.run(
            {
                "problem": {"name": name, **options},
                "optimizer": {"name": "SGD", "lr": 1e-3},
                "steps": 3,
                "seed": seed,
            },
            save=False,
        ).curves["loss"]
        for seed in (0, 1)
    ]
    assert np.array_equal(*losses) is not expected


@pytest.mark.parametrize("repeats", [1, 2])
def test_settings_with_equal_results_are_found(repeats):
    config = BASE | {
        "scheduler": {"name": "OneCycleLR", "max_lr": 0.002, "total_steps": 40, "cycle_momentum": False},
        "sweep": {
            "parameters": {"optimizer.lr": [0.1, 0.2], "scheduler.max_lr": [0.001, 0.002]},
            "repeats": repeats,
        },
    }
    sweep = optrun.sweep(config, save=False)
    rates = [[sweep.plan.settings[i]["scheduler.max_lr"] for i in each] for each in sweep.equal_settings()]
    assert sorted(rates) == [[0.001, 0.001], [0.002, 0.002]]


def test_a_run_of_any_length_is_looked_at_in_no_time_and_memory():
    long = BASE | {"steps": 9 * 10**18, "scheduler": {"name": "CosineAnnealingLR", "T_max": 10**18}}
    pack = Pack([from_mapping(long)])
    assert ineffective_options(pack) == []
    assert pack.steps == 9 * 10**18
