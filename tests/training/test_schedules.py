"""Schedules in a run: what they are told, what they set, lanes, checkpoints."""

import numpy as np
import pytest

import optrun
from optrun.config import from_mapping
from optrun.errors import ConfigError, StateError
from optrun.store import Status
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer
from tests.pairs import few_in_short
from tests.training.test_resume import create, digest

STEPS = 60
PROBLEM = {"name": "mlp", "data": "iris", "hidden": [4], "batch_size": 32}  # 4 steps per epoch


def config(**more):
    plateau = {"name": "ReduceLROnPlateau", "patience": 1, "factor": 0.7, "threshold": 0.05}
    return from_mapping(
        {
            "name": "scheduled",
            "problem": PROBLEM,
            "optimizer": {
                "name": "AdamW",
                "lr": 0.05,
                "param_groups": [
                    {
                        "params": "*bias",
                        "schedules": {"lr": {"name": "LambdaLR", "lr_lambda": "1 / sqrt(1 + t)"}},
                    }
                ],
            },
            "scheduler": {
                "name": "SequentialLR",
                "schedulers": [
                    {
                        "name": "ChainedScheduler",
                        "schedulers": [{"name": "LinearLR", "total_iters": 10}, plateau],
                    },
                    {**plateau, "interval": "epoch", "patience": 0},
                ],
                "milestones": [23],
            },
            "schedules": {
                "weight_decay": {
                    "name": "MultiplicativeLR",
                    "lr_lambda": "1 - 1 / (t + 1)",
                    "interval": "epoch",
                },
                "beta1": {"name": "CosineAnnealingLR", "T_max": STEPS},
            },
            "steps": STEPS,
            "record": {"metrics": ["weight_decay", "beta1"]},
            **more,
        }
    )


def test_every_curve_is_what_its_schedule_says():
    curves = optrun.run(config(), save=False).curves
    t = np.arange(STEPS)
    assert list(curves) == [
        "step",
        "loss",
        "lr",
        "lr.1",
        "weight_decay",
        "weight_decay.1",
        "beta1",
        "beta1.1",
    ]
    assert curves["lr.1"] == pytest.approx(0.05 / np.sqrt(1 + t), rel=1e-14)
    assert curves["beta1"] == pytest.approx(0.9 * (1 + np.cos(np.pi * t / STEPS)) / 2, rel=1e-14)
    assert curves["weight_decay"] == pytest.approx(0.01 / (1 + t // 4), rel=1e-13)
    assert curves["weight_decay.1"].tolist() == curves["weight_decay"].tolist()


def test_a_plateau_hears_the_loss_of_each_batch_or_the_mean_of_each_epoch():
    def rates(interval):
        plateau = {
            "name": "ReduceLROnPlateau",
            "patience": 0,
            "factor": 0.9,
            "threshold": 0.2,
            "interval": interval,
        }
        return optrun.run(config(scheduler=plateau, schedules={}), save=False).curves

    def reduced(losses):
        count, best, rows = 0, np.inf, []
        for loss in losses:
            rows.append(count)
            better = loss < best * (1 - 0.2)
            best, count = (loss, count) if better else (best, count + 1)
        return 0.05 * 0.9 ** np.array(rows)

    by_step, by_epoch = rates("step"), rates("epoch")
    assert by_step["lr"] == pytest.approx(reduced(by_step["loss"]), rel=1e-13)
    means = by_epoch["loss"].reshape(-1, 4).mean(axis=1)
    assert by_epoch["lr"] == pytest.approx(np.repeat(reduced(means), 4), rel=1e-13)
    assert len(set(by_step["lr"])) > len(set(by_epoch["lr"])) > 1


@pytest.mark.parametrize("stop", few_in_short(zip([0, 1, 9, 13, 22, 23, 24, 25, 26, 27, 41, STEPS - 1]), 4))
def test_interrupted_at_any_step_and_resumed_is_uninterrupted(stop, tmp_path):
    chosen = config()
    whole = optrun.run(chosen, directory=tmp_path / "whole")
    assert len(set(whole.curves["lr"][24:])) > 2
    calls = iter(range(STEPS))
    with create(chosen, tmp_path / "run") as store:
        Trainer(Pack([chosen]), store, interrupted=lambda: next(calls) == stop).run()
    assert optrun.load_run(tmp_path / "run").status is Status.INTERRUPTED
    optrun.resume(tmp_path / "run")
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")


def curves_of(configs):
    memory = MemoryStore(configs)
    Trainer(Pack(configs), memory).run()
    return [memory.curves(run) for run in range(len(configs))]


def test_lanes_that_differ_in_floats_of_schedules_are_their_solo_runs():
    def lane(i):
        base = config().to_dict()
        base["seed"] = i
        base["scheduler"]["schedulers"][1]["factor"] = 0.5 + i / 10
        base["schedules"]["beta1"]["eta_min"] = i / 10
        base["schedules"]["weight_decay"] = {"name": "ExponentialLR", "gamma": 0.9 + i / 100}
        base["optimizer"]["param_groups"][0]["schedules"]["lr"] = {
            "name": "StepLR",
            "step_size": 7,
            "gamma": i / 4,
        }
        return from_mapping(base)

    together = curves_of([lane(i) for i in range(4)])
    for i in range(4):
        (solo,) = curves_of([lane(i)])
        assert {name: column.tobytes() for name, column in together[i].items()} == {
            name: column.tobytes() for name, column in solo.items()
        }
    assert len({together[i]["lr"].tobytes() for i in range(4)}) == 4


def test_what_is_no_float_of_a_schedule_is_one_for_the_pack():
    def lane(steps):
        return config(schedules={"beta1": {"name": "StepLR", "step_size": steps}})

    with pytest.raises(ConfigError, match="may differ in numbers alone"):
        Pack([lane(3), lane(4)])


def test_a_scheduler_with_no_group_left_to_set_is_refused():
    group = {"params": "*", "schedules": {"lr": "LinearLR"}}
    chosen = config(optimizer={"name": "SGD", "param_groups": [group]}, schedules={}, record={})
    with pytest.raises(ConfigError, match="lr has a scheduler already") as error:
        Pack([chosen])
    assert error.value.field == "scheduler.lr"


def test_momentum_that_nothing_can_cycle_has_its_place():
    class Plain(optrun.optim.Optimizer):
        @staticmethod
        def update(p, g, t, /, *, lr: float = 1e-3):
            p -= lr * g

    from optrun.registry import optimizers

    cycle = {"name": "OneCycleLR", "max_lr": 0.1, "total_steps": 9}
    warm = {"name": "SequentialLR", "schedulers": ["LinearLR", cycle], "milestones": [5]}
    try:
        chosen = from_mapping({"problem": "beale", "optimizer": "Plain", "steps": 9, "scheduler": warm})
        with pytest.raises(ConfigError, match="neither momentum nor beta1") as error:
            Pack([chosen])
    finally:
        del optimizers._classes["plain"], optimizers._names["plain"]
    assert error.value.field == "scheduler.schedulers.1.cycle_momentum"


def test_a_checkpoint_of_other_schedules_is_refused():
    arrays, state = Pack([config()]).state()
    with pytest.raises(StateError, match="other schedulers"):
        Pack([config(schedules={})]).load_state(arrays, state)


@pytest.mark.parametrize("change", [{"last_epoch": -1}, {"heard": {}}, {"scheduler": "StepLR"}], ids=str)
def test_a_checkpoint_with_a_damaged_schedule_is_refused(change):
    arrays, state = Pack([config()]).state()
    state.schedulers[-3 if "heard" in change else 0].update(change)
    with pytest.raises(StateError):
        Pack([config()]).load_state(arrays, state)


def test_the_rates_of_a_config_are_those_of_its_run():
    from optrun.training.schedule_preview import scheduled

    warm = {
        "name": "SequentialLR",
        "schedulers": ["LinearLR", {"name": "StepLR", "step_size": 9}],
        "milestones": [30],
    }
    chosen = config(scheduler=warm)
    run = optrun.run(chosen, save=False)
    for name, column in scheduled(chosen).items():
        assert column.tolist() == run.curves[name].tolist()


def test_a_one_cycle_of_epochs_is_one_of_as_many_steps_held():
    problem = {"name": "mlp", "data": "iris", "hidden": [4], "batch_size": 30}
    cycle = {"name": "OneCycleLR", "max_lr": 0.1, "total_steps": 6}
    common = {"problem": problem, "optimizer": "Adam", "epochs": 6}
    epochs = optrun.run({**common, "scheduler": {**cycle, "interval": "epoch"}}, save=False).curves["lr"]
    steps = optrun.run({**common, "scheduler": cycle, "epochs": None, "steps": 6}, save=False).curves["lr"]
    assert epochs.tolist() == np.repeat(steps, len(epochs) // 6).tolist()
