"""A run that is given more steps ends with the bytes of one that had them from its start."""

from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.config import from_mapping
from optrun.errors import ConfigError, OptrunError, StoreError
from optrun.store import Status, Store
from optrun.training import prolong
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer
from tests.oracles.rules import takes_vectors
from tests.pairs import few_in_short

LESS, MORE = 21, 34


def config(optimizer="Adam", **more):
    bias = takes_vectors(optimizer)
    return {
        "name": "longer",
        "problem": {"name": "mlp", "data": "iris", "hidden": [4], "batch_size": 32, "bias": bias},
        "optimizer": {"name": optimizer, "lr": 0.01},
        "steps": LESS,
        "record": {"every": 2, "metrics": ["grad_norm", "update_norm"]},
        "evaluate": {"every": 7},
        "stop": {"patience": 1000, "divergence": None},
        **more,
    }


def digest(directory):
    with Store.open(Path(directory)) as store:
        return store.results_digest()


def files_of(directory):
    return [Path(directory, name).read_bytes() for name in ("config.yaml", "metrics.csv")]


def check_grows(data, **length):
    length = length or {"steps": MORE}
    short = optrun.run(data, directory="short")
    assert short.status is Status.COMPLETED
    whole = optrun.run(data | {"steps": None} | length, directory="whole")
    again = optrun.resume("short", **length)
    assert (again.status, again.steps) == (whole.status, whole.steps)
    assert digest("short") == digest("whole")
    assert files_of("short") == files_of("whole")


PLATEAU = {"name": "ReduceLROnPlateau", "patience": 1, "threshold": 0.5, "factor": 0.5}
SCHEDULES = [
    None,
    {"name": "CosineAnnealingLR", "T_max": LESS},
    {"name": "OneCycleLR", "max_lr": 0.1, "total_steps": LESS, "cycle_momentum": False},
    PLATEAU,
    PLATEAU | {"interval": "epoch"},
    {"name": "SequentialLR", "schedulers": [{"name": "LinearLR"}, PLATEAU], "milestones": [LESS - 2]},
    {"name": "ChainedScheduler", "schedulers": [PLATEAU, {"name": "StepLR", "step_size": LESS}]},
]


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    # No rule knows how long a run is; a schedule does.
    [("LBFGS", None), ("ASGD", PLATEAU), *few_in_short((("Adam", each) for each in SCHEDULES), 3)],
)
def test_a_run_that_is_given_more_steps_is_the_longer_run(optimizer, schedule):
    check_grows(config(optimizer, scheduler=schedule))


@pytest.mark.full
@pytest.mark.parametrize(
    "more",
    [
        {"average": {"name": "ema", "decay": 0.9}},
        {"average": {"name": "swa", "start": LESS - 1}},
        {"evaluate": {"every": 5}},
        {"evaluate": None},
        {"checkpoint": {"every": 4}},
        {"schedules": {"beta1": {"name": "LambdaLR", "lr_lambda": "1 - t / 100"}}},
    ],
    ids=str,
)
def test_whatever_it_keeps_beside(more):
    check_grows(config(**more))


def test_more_epochs_are_more_steps():
    check_grows(config(steps=None, epochs=4), epochs=6)


def test_it_grows_more_than_once_and_where_it_was_interrupted():
    data = config()
    optrun.run(data, directory="d")
    optrun.resume("d", steps=25)
    chosen = from_mapping(data | {"steps": 25})
    with Store.create(
        Path(), "x", directory=Path("e"), config_yaml=chosen.to_yaml(), runs=[(chosen.to_dict(), 0)]
    ) as store:
        calls = iter(range(MORE))
        Trainer(Pack([chosen]), store, interrupted=lambda: next(calls) == 14).run()
    optrun.run(data | {"steps": MORE}, directory="whole")
    for path in ("d", "e"):
        optrun.resume(path, steps=MORE)
        assert digest(path) == digest("whole")
        assert files_of(path) == files_of("whole")


def test_a_lane_of_a_sweep_is_what_its_solo_run_is_that_grew():
    data = config()
    sweep = optrun.sweep(data | {"steps": MORE, "sweep": {"parameters": {"optimizer.lr": [0.01, 0.1]}}})
    optrun.run(data, directory="d")
    grown = optrun.resume("d", steps=MORE)
    for name, values in sweep.runs[0].params.items():
        np.testing.assert_array_equal(grown.params[name], values)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", ["replace_file", "prolong", "run"])
def test_a_kill_within_leaves_the_one_or_the_other(at, monkeypatch):
    def kill(*_, **__):
        raise Killed

    data = config()
    optrun.run(data, directory="d")
    short = digest("d")
    optrun.run(data | {"steps": MORE}, directory="whole")
    place = {"replace_file": prolong, "prolong": Store, "run": Trainer}[at]
    with monkeypatch.context() as patch:
        patch.setattr(place, at, kill)
        with pytest.raises(Killed):
            optrun.resume("d", steps=MORE)
    if at == "prolong":
        assert digest("d") == short
        optrun.resume("d", steps=MORE)
    else:
        assert not optrun.load_run("d").status.final
        optrun.resume("d")
    assert digest("d") == digest("whole")
    assert files_of("d") == files_of("whole")


@pytest.mark.parametrize(
    ("more", "length", "error", "said"),
    [
        ({}, {"steps": LESS}, ConfigError, "21 steps are not more than the run's 21"),
        ({}, {"steps": 3}, ConfigError, "3 steps are not more than the run's 21"),
        ({}, {"steps": 30, "epochs": 30}, ConfigError, "both given"),
        ({"checkpoint": None}, {"steps": MORE}, StoreError, "has no final checkpoint"),
        (
            {"stop": {"target": 100.0}},
            {"steps": MORE},
            StoreError,
            "target_reached: only a completed run",
        ),
        (
            {"schedules": {"beta1": {"name": "LambdaLR", "lr_lambda": "1 - t / 22"}}},
            {"steps": MORE},
            ConfigError,
            "beta1",
        ),
    ],
)
def test_what_cannot_be_longer_is_refused_and_stays(more, length, error, said):
    optrun.run(config(**more), directory="d")
    before = digest("d"), files_of("d")
    with pytest.raises(error, match=said):
        optrun.resume("d", **length)
    assert (digest("d"), files_of("d")) == before


def test_other_data_are_refused_before_anything_changes(rng):
    rows = [f"{a},{b},{a + b}" for a, b in rng.normal(size=(20, 2))]
    Path("own.csv").write_text("\n".join(["x,y,z", *rows]))
    optrun.run(config(problem={"name": "linear_regression", "data": "own.csv"}), directory="d")
    before = digest("d"), files_of("d")
    Path("own.csv").write_text("\n".join(["x,y,z", *rows[:-1]]))
    with pytest.raises(OptrunError, match="have changed since the run began"):
        optrun.resume("d", steps=MORE)
    assert (digest("d"), files_of("d")) == before


def test_a_schedule_that_has_other_values_in_the_longer_run_is_named():
    one, other = (
        Pack([from_mapping(config(scheduler={"name": "CosineAnnealingLR", "T_max": steps}))])
        for steps in (30, 31)
    )
    assert prolong.differing_schedule(one, other, LESS) == "CosineAnnealingLR"
    assert prolong.differing_schedule(one, one, LESS) is None


def test_what_a_sweep_is_has_no_more_steps():
    path = optrun.sweep(config() | {"sweep": {"repeats": 2}}).path
    with pytest.raises(StoreError, match="a sweep"):
        optrun.resume(path, steps=MORE)
