"""The warm-up that every schedule may have: a linear rise to its first value, after which it counts from 0."""

import numpy as np
import pytest

from optrun.arrays import Parameters
from optrun.config import ConfigErrors, from_mapping
from optrun.errors import ConfigError
from optrun.kernels.deferred import Deferred, NotDeferredError
from optrun.optim import SGD
from optrun.schedulers import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CyclicLR,
    ExponentialLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from tests.oracles.schedules import EVERY, built, label

ALL = pytest.mark.parametrize("spec", EVERY, ids=map(label, EVERY))
W, START = 12, 0.25


def with_warmup(spec, optimizer=None, length=W, start=START):
    name, options = spec
    return built((name, {**options, "warmup": length, "warmup_start": start}), optimizer)


def sgd(lr=1.0, **options):
    return SGD(Parameters({"a": (1,), "b": (1,)}), [{"params": "a", "lr": lr}], **options)


@ALL
def test_it_rises_to_the_first_value_and_leaves_every_later_one_as_it_is(spec, rng):
    bases = rng.uniform(0.1, 1.0, 5)
    plain = np.broadcast_to(built(spec).at(np.arange(80), bases), (80, 5))
    warmed = np.broadcast_to(with_warmup(spec).at(np.arange(80 + W), bases), (80 + W, 5))
    assert warmed[W:].tobytes() == plain.tobytes()
    rise = START + (1 - START) * np.arange(W) / W
    assert warmed[:W] == pytest.approx(rise[:, None] * plain[0], rel=1e-14)


@ALL
def test_a_deferred_table_has_the_same_bits(spec, rng):
    starts, bases = rng.uniform(0, 1, 5), rng.uniform(0.1, 1.0, 5)
    schedule, t = with_warmup(spec, start=starts), np.arange(80)
    table = np.broadcast_to(schedule.at(t, bases), (80, 5))
    try:
        values = schedule.at(t, Deferred.of_lanes(bases))
    except NotDeferredError:
        return
    rows = 80 if len(values) == 1 else len(values)
    dense = values.dense() if isinstance(values, Deferred) else values
    assert np.broadcast_to(dense, (rows, 5)).tobytes() == table[:rows].tobytes()


def test_it_is_a_linear_schedule_followed_by_the_other_as_in_torch():
    torch = pytest.importorskip("torch")
    schedulers = torch.optim.lr_scheduler
    theirs = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    parts = [schedulers.LinearLR(theirs, 0.1, total_iters=10), schedulers.CosineAnnealingLR(theirs, 40)]
    joined = schedulers.SequentialLR(theirs, parts, milestones=[10])
    ours = CosineAnnealingLR(T_max=40, warmup=10, warmup_start=0.1).at(np.arange(50), 0.3)[:, 0]
    for rate in ours:
        assert rate == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
        theirs.step()
        joined.step()


def test_it_is_optax_warm_up_and_cosine():
    optax = pytest.importorskip("optax")
    theirs = optax.warmup_cosine_decay_schedule(0.03, 0.3, warmup_steps=10, decay_steps=50, end_value=0.01)
    ours = CosineAnnealingLR(T_max=40, eta_min=0.01, warmup=10, warmup_start=0.1).at(np.arange(51), 0.3)[:, 0]
    assert ours == pytest.approx([float(theirs(t)) for t in range(51)], rel=1e-5)


def test_members_have_warm_ups_of_their_own_turns():
    members = [ConstantLR(factor=1.0, warmup=2), StepLR(step_size=2, warmup=4, warmup_start=0.5)]
    rates = SequentialLR(schedulers=members, milestones=[3], warmup=1, warmup_start=0.5).at(range(11), 1.0)
    assert rates[:, 0] == pytest.approx([0, 0, 0.5, 1, 0.5, 0.625, 0.75, 0.875, 1, 1, 0.1])


def test_it_counts_epochs_where_the_schedule_does():
    optimizer = sgd()
    StepLR(optimizer, step_size=1, gamma=0.5, interval="epoch", steps_per_epoch=3, warmup=2)
    scheduler = optimizer.param_groups[0].schedules["lr"]._schedule
    assert scheduler.at(range(12), 1.0)[:, 0].tolist() == [0] * 3 + [0.5] * 3 + [1] * 3 + [0.5] * 3


@pytest.mark.parametrize(
    "cycle",
    [
        lambda optimizer: OneCycleLR(optimizer, max_lr=1.0, total_steps=20, warmup=5),
        lambda optimizer: CyclicLR(optimizer, base_lr=0.1, max_lr=1.0, max_momentum=0.95, warmup=5),
        lambda optimizer: SequentialLR(
            optimizer, schedulers=[OneCycleLR(max_lr=1.0, total_steps=20)], milestones=[], warmup=5
        ),
    ],
    ids=["one cycle", "cycles", "within a sequence"],
)
def test_the_momentum_of_a_cycle_keeps_its_first_value(cycle):
    optimizer = sgd(momentum=0.9)
    scheduler = cycle(optimizer)
    for _ in range(6):
        assert optimizer.param_groups[0]["momentum"] == 0.95
        scheduler.step()
    assert optimizer.param_groups[0]["momentum"] < 0.95


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_plateau_observes_what_comes_after_it(epoch):
    interval = {"interval": "epoch", "steps_per_epoch": epoch} if epoch > 1 else {}
    scheduler = ReduceLROnPlateau(sgd(), factor=0.5, patience=0, warmup=2, warmup_start=0.5, **interval)
    rates = []
    for _ in range(6 * epoch):
        rates += scheduler.get_last_lr()
        scheduler.step(1.0)
    # The first metric after the warm-up is the best one so far.
    assert rates[::epoch] == [0.5, 0.75, 1.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    "schedule",
    [
        ExponentialLR(gamma=0.9, warmup=8, warmup_start=0.1),
        SequentialLR(schedulers=[ExponentialLR(gamma=0.9)], milestones=[], warmup=8, warmup_start=0.1),
        ChainedScheduler(
            schedulers=[ExponentialLR(gamma=0.9, warmup=3, warmup_start=0.5)], warmup=8, warmup_start=0.1
        ),
        SequentialLR(schedulers=[ExponentialLR(gamma=0.8), ExponentialLR(gamma=0.9)], milestones=[7]),
        ReduceLROnPlateau(warmup=8, warmup_start=0.1),
    ],
)
@pytest.mark.parametrize("t", [2, 11])
def test_an_initial_value_is_found_back_from_any_step(schedule, t):
    assert schedule.base_for(t, schedule.at([t], 0.7)[0]) == pytest.approx([0.7])


def test_without_one_a_config_and_its_identity_are_as_before():
    config = {
        "problem": {"name": "rosenbrock"},
        "optimizer": {"name": "SGD", "lr": 1e-3},
        "scheduler": {"name": "StepLR", "step_size": 3},
        "steps": 9,
    }
    plain = {"name": "StepLR", "step_size": 3, "gamma": 0.1, "interval": "step"}
    assert from_mapping(config).scheduler.model_dump() == plain
    assert from_mapping(config, ["scheduler.warmup=4"]).scheduler.model_dump() == {**plain, "warmup": 4}
    with pytest.raises(ConfigErrors, match=r"scheduler\.warmup.*≥ 0"):
        from_mapping(config, ["scheduler.warmup=-1"])


@pytest.mark.parametrize(
    ("options", "place"),
    [({"warmup": -1}, "warmup"), ({"warmup": 1.5}, "warmup"), ({"warmup_start": 1.5}, "warmup_start")],
)
def test_what_is_no_warm_up_is_refused(options, place):
    with pytest.raises(ConfigError) as error:
        StepLR(step_size=3, **options)
    assert error.value.field == place


def test_it_is_shown_where_it_is():
    assert repr(StepLR(step_size=3)) == "StepLR(gamma=0.1, step_size=3)"
    assert "warmup=4" in repr(StepLR(step_size=3, warmup=4))
