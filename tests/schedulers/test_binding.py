"""A schedule sets any float hyperparameter of any group, and the momentum beside the rate."""

import numpy as np
import pytest

from optrun.arrays import Parameters
from optrun.errors import ConfigError
from optrun.optim import SGD, Adam, AdamW
from optrun.optim.optimizer import Optimizer
from optrun.registry import optimizers
from optrun.schedulers import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    SequentialLR,
    StepLR,
)


def adam(groups=None, rule=Adam, **options):
    return rule(Parameters({"x": (1,), "y": (2,)}), groups, **options)


TWO = [{"params": "x", "lr": 0.1}, {"params": "y", "lr": 0.2, "weight_decay": 0.5}]


def test_any_float_is_scheduled_from_its_own_initial_value():
    optimizer = adam(TWO, weight_decay=0.25)
    decay = StepLR(optimizer, step_size=1, gamma=0.5, hyperparameter="weight_decay")
    beta = LinearLR(optimizer, total_iters=4, hyperparameter="beta1", groups=[1])
    rate = ExponentialLR(optimizer, gamma=0.5)
    for scheduler in (decay, beta, rate):
        scheduler.step()
    first, second = optimizer.param_groups
    assert decay.get_last_lr() == [first["weight_decay"], second["weight_decay"]] == [0.125, 0.25]
    assert rate.get_last_lr() == [first["lr"], second["lr"]] == [0.05, 0.1]
    assert (first["beta1"], second["beta1"]) == (0.9, pytest.approx(0.9 * 0.5))
    assert (second["initial_weight_decay"], second["initial_beta1"], second["initial_lr"]) == (0.5, 0.9, 0.2)
    assert "initial_beta1" not in first
    copy = adam(TWO)
    copy.load_state_dict(optimizer.state_dict())
    assert copy.param_groups[1]["initial_weight_decay"] == 0.5


def test_groups_with_a_schedule_of_their_own_are_left_alone():
    optimizer = adam(TWO)
    own = StepLR(optimizer, step_size=1, gamma=0.5, groups=[1])
    rest = ConstantLR(optimizer, factor=0.25)
    optimizer.params.grad[:] = 1
    for _ in range(2):
        optimizer.step()
        own.step()
        rest.step()
    assert (own.get_last_lr(), rest.get_last_lr()) == ([0.05], [0.025])
    with pytest.raises(ConfigError, match="has a scheduler already"):
        StepLR(optimizer, step_size=1)
    with pytest.raises(ConfigError, match="has a scheduler already"):
        StepLR(optimizer, step_size=1, groups=[0])


@pytest.mark.parametrize(
    ("options", "message", "field"),
    [
        ({"hyperparameter": "weight_decy"}, "Did you mean 'weight_decay'", "hyperparameter"),
        ({"hyperparameter": "amsgrad"}, "is no float and cannot be scheduled", "hyperparameter"),
        ({"hyperparameter": "betas"}, "Did you mean 'beta", "hyperparameter"),
        ({"groups": []}, "the list of groups is empty", "groups"),
        ({"groups": [2]}, "there is no group 2; they are 0 … 1", "groups"),
        ({"interval": "epoch"}, "needs steps_per_epoch", "steps_per_epoch"),
        ({"interval": "epochs"}, "interval", "interval"),
    ],
)
def test_what_cannot_be_scheduled_is_named(options, message, field):
    with pytest.raises(ConfigError, match=message) as error:
        StepLR(adam(TWO), step_size=1, **options)
    assert error.value.field == field


def test_values_out_of_bounds_are_refused_with_their_step():
    scheduler = LambdaLR(adam(beta1=0.5), lr_lambda="1 + t / 4", hyperparameter="beta1")
    said = r"beta1 must be ≥ 0 and < 1 and finite \(got 1.0 at step 4\)"
    with pytest.raises(ConfigError, match=said):
        scheduler.values_at(np.arange(9))
    for _ in range(3):
        scheduler.step()  # nobody may ever come to step 4
    with pytest.raises(ConfigError, match=said):
        scheduler.step()


@pytest.mark.parametrize(("most", "refused"), [(0.48, False), (0.61, True)])
def test_one_lane_of_many_out_of_bounds_is_refused_with_its_step(most, refused):
    optimizer = Adam(Parameters({"x": (1,)}, lanes=1000), beta1=np.linspace(0.1, most, 1000))
    scheduler = LambdaLR(optimizer, lr_lambda="1 + t / 4800", hyperparameter="beta1")
    if not refused:
        scheduler.check(np.arange(5000))
        return
    with pytest.raises(ConfigError, match="at step 3069"):  # where 0.61 · (1 + t / 4800) has come to 1
        scheduler.check(np.arange(5000))


@pytest.mark.parametrize("name", list(optimizers))
def test_every_float_of_every_optimizer_can_be_scheduled(name):
    rule: type[Optimizer] = optimizers.find(name)
    for option in rule.options().values():
        if option.is_float:
            optimizer = rule(Parameters.of({"x": np.ones((3, 2))}))
            base = optimizer.param_groups[0][option.name]
            factor = 0.9 if all(bound.holds(base * 0.9) for bound in option.bounds) else 1.1
            scheduler = LambdaLR(optimizer, f"{factor} if t < 2 else 1", hyperparameter=option.name)
            for step in range(4):
                assert optimizer.param_groups[0][option.name] == base * (factor if step < 2 else 1)
                optimizer.params.grad[:] = 1
                optimizer.step((lambda: np.zeros(1)) if optimizer.needs_closure else None, loss=1.0)
                scheduler.step()


@pytest.mark.parametrize("options", [{}, {"anneal_strategy": "linear"}, {"three_phase": True}], ids=str)
def test_beta1_is_cycled_as_torch_does(options):
    torch = pytest.importorskip("torch")
    theirs = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    theirs_scheduler = torch.optim.lr_scheduler.OneCycleLR(theirs, max_lr=0.1, total_steps=100, **options)
    ours = adam()
    scheduler = OneCycleLR(ours, max_lr=0.1, total_steps=100, **options)
    for _ in range(99):
        assert ours.param_groups[0]["beta1"] == pytest.approx(theirs.param_groups[0]["betas"][0], rel=1e-13)
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-11)
        theirs.step()
        theirs_scheduler.step()
        scheduler.step()


def test_momentum_is_cycled_from_within_composites():
    cycle = CyclicLR(base_lr=0.1, max_lr=0.2, step_size_up=2, base_momentum=0.5, max_momentum=0.75)
    inner = ChainedScheduler(schedulers=[ConstantLR(factor=0.5, total_iters=1), cycle])
    optimizer = SGD(Parameters({"x": (1,)}), lr=1.0, momentum=0.9)
    scheduler = SequentialLR(optimizer, schedulers=[LinearLR(), inner, ConstantLR()], milestones=[3, 8])
    found = []
    for _ in range(10):
        found.append(optimizer.param_groups[0]["momentum"])
        scheduler.step()
    assert found == [0.9, 0.9, 0.9, 0.75, 0.625, 0.5, 0.625, 0.75, 0.9, 0.9]


def bare():
    class Bare(Optimizer):
        @staticmethod
        def update(p, g, t, /, *, lr: float = 1e-3):
            p -= lr * g

    del optimizers._classes["bare"], optimizers._names["bare"]
    return Bare(Parameters({"x": (1,)}))


def test_an_optimizer_with_nothing_to_cycle_is_named():
    cycle = {"max_lr": 0.1, "total_steps": 9}
    with pytest.raises(ConfigError, match="neither momentum nor beta1") as error:
        OneCycleLR(bare(), **cycle)
    assert error.value.field == "cycle_momentum"
    with pytest.raises(ConfigError, match="neither momentum nor beta1") as error:
        SequentialLR(
            bare(),
            schedulers=[LinearLR(), ChainedScheduler(schedulers=[LinearLR(), OneCycleLR(**cycle)])],
            milestones=[4],
        )
    assert error.value.field == "schedulers.1.schedulers.1.cycle_momentum"
    OneCycleLR(bare(), **cycle, cycle_momentum=False)


def test_momentum_is_cycled_beside_the_rate_alone_and_by_one_schedule():
    cycle = {"base_lr": 0.0, "max_lr": 0.1, "step_size_up": 9}
    with pytest.raises(ConfigError, match="with the schedule of lr") as error:
        CyclicLR(adam(), **cycle, hyperparameter="weight_decay")
    assert error.value.field == "cycle_momentum"
    CyclicLR(adam(), **cycle, hyperparameter="weight_decay", cycle_momentum=False)
    optimizer = adam()
    StepLR(optimizer, step_size=3, hyperparameter="beta1")
    with pytest.raises(ConfigError, match="beta1 has a schedule already") as error:
        CyclicLR(optimizer, **cycle)
    assert error.value.field == "cycle_momentum"


def test_epochs_are_counted_in_steps():
    optimizer = adam(lr=1.0)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.5, interval="epoch", steps_per_epoch=3)
    found = []
    for _ in range(9):
        found += scheduler.get_last_lr()
        scheduler.step()
    assert found == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_members_count_as_the_composite_does_unless_it_counts_steps():
    by_epoch = SequentialLR(
        schedulers=[LinearLR(start_factor=0.5, total_iters=2), StepLR(step_size=1, gamma=0.5)],
        milestones=[2],
        interval="epoch",
        steps_per_epoch=2,
    )
    assert by_epoch.at(range(8), 1.0)[:, 0].tolist() == [0.5, 0.5, 0.75, 0.75, 1, 1, 0.5, 0.5]
    mixed = SequentialLR(
        schedulers=[
            LinearLR(start_factor=0.5, total_iters=2),
            StepLR(step_size=1, gamma=0.5, interval="epoch"),
        ],
        milestones=[3],
        steps_per_epoch=2,
    )
    assert mixed.at(range(8), 1.0)[:, 0].tolist() == [0.5, 0.75, 1, 1, 1, 0.5, 0.5, 0.25]
    with pytest.raises(
        ConfigError, match="interval must be 'epoch', as the schedule around it counts"
    ) as error:
        SequentialLR(
            schedulers=[LinearLR(), CosineAnnealingLR(T_max=3, interval="step")],
            milestones=[2],
            interval="epoch",
        )
    assert error.value.field == "schedulers.1.interval"
    with pytest.raises(ConfigError, match="needs steps_per_epoch"):
        StepLR(step_size=1, interval="epoch").at([0], 1.0)


def test_weight_decay_follows_its_schedule_in_the_update():
    optimizer = adam(rule=AdamW, lr=0.5, weight_decay=0.5)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.5, hyperparameter="weight_decay")
    optimizer.params.data[:] = 1.0
    for decay in (0.5, 0.25, 0.125):
        before = optimizer.params.data.copy()
        optimizer.params.grad[:] = 0
        optimizer.step()
        assert optimizer.params.data == pytest.approx(before * (1 - 0.5 * decay))
        scheduler.step()
