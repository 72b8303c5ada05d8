"""To which step a schedule goes, and from which rate it comes to a group that is added on the way; torch's answers."""

import math

import numpy as np
import pytest

from optrun.arrays import Parameters
from optrun.errors import ConfigError
from optrun.optim import SGD
from optrun.registry import schedulers
from optrun.schedulers import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

CLOSED = {
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [2, 5]},
    "ConstantLR": {"factor": 0.5, "total_iters": 4},
    "LinearLR": {"start_factor": 0.25, "total_iters": 6},
    "ExponentialLR": {"gamma": 0.9},
    "PolynomialLR": {"total_iters": 9, "power": 2.0},
    "CosineAnnealingLR": {"T_max": 9, "eta_min": 0.01},
}
"""What torch has a closed form of."""


def sgd(shapes=("a",), lr=1.0, **options):
    return SGD(Parameters(dict.fromkeys(shapes, (1,))), [{"params": "a", "lr": lr}], **options)


def torchs(name, options, lr=1.0):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    return optimizer, getattr(torch.optim.lr_scheduler, name)(optimizer, **options)


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.filterwarnings("ignore")
def test_an_epoch_is_gone_to_as_torch_goes_to_it(name):
    theirs, scheduler = torchs(name, CLOSED[name])
    ours = schedulers.find(name)(sgd(), **CLOSED[name])
    for epoch in (2, 7, 3, 0):
        ours.step(epoch)
        scheduler.step(epoch)
        assert ours.get_last_lr()[0] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-13)
        assert ours.last_epoch == scheduler.last_epoch
    ours.step()
    assert ours.last_epoch == 1


def test_warm_restarts_go_to_fractions_of_an_epoch_as_torchs_do():
    options = {"T_0": 10, "T_mult": 2}
    theirs, scheduler = torchs("CosineAnnealingWarmRestarts", options)
    ours, again = (CosineAnnealingWarmRestarts(sgd(), **options) for _ in range(2))
    for epoch in (0.1, 9.9, 10.25, None, 37.5, 3):
        ours.step(epoch)
        scheduler.step(epoch)
        again.load_state_dict(ours.state_dict())
        assert ours.get_last_lr()[0] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-13)
        assert again.get_last_lr() == ours.get_last_lr()


@pytest.mark.parametrize("given", ["nonsense", True, -1, 0.5, math.nan, math.inf, [1], 2**60])
def test_what_is_no_step_is_refused_and_nothing_changed(given):
    scheduler = StepLR(sgd(), step_size=1)
    scheduler.step()
    with pytest.raises(ConfigError, match="StepLR: epoch must be an integer"):
        scheduler.step(given)
    with pytest.raises(ConfigError, match="step takes no metrics"):
        scheduler.step(metrics=1.0)
    with pytest.raises(ConfigError, match="the same argument twice"):
        scheduler.step(1, epoch=2)
    assert (scheduler.last_epoch, scheduler.get_last_lr()) == (1, [0.1])
    for composite in (
        ChainedScheduler(sgd(), schedulers=[StepLR(step_size=1)]),
        SequentialLR(sgd(), schedulers=[StepLR(step_size=1)], milestones=[]),
    ):
        with pytest.raises(ConfigError, match="takes no epoch"):  # nor does torch's
            composite.step(2)


def test_a_member_is_asked_for_the_steps_of_its_turn_alone():
    asked = {"first": [], "second": []}

    def member(name, values):
        return LambdaLR(lr_lambda=lambda t: asked[name].append(t) or values[t])

    members = [member("first", [1.0, 0.5]), member("second", [0.25, 0.125]), ConstantLR(factor=0.1)]
    scheduler = SequentialLR(sgd(), schedulers=members, milestones=[2, 4])
    found = []
    for _ in range(5):
        found += scheduler.get_last_lr()
        scheduler.step()
    assert found == [1.0, 0.5, 0.25, 0.125, 0.1]
    assert asked == {"first": [0, 1], "second": [0, 1]}


PLATEAU = "ReduceLROnPlateau", {"patience": 0}
JOINED = [*CLOSED.items(), PLATEAU]


@pytest.mark.parametrize(("name", "options"), JOINED, ids=[name for name, _ in JOINED])
@pytest.mark.parametrize("joins", [1, 4])
def test_a_group_that_is_added_goes_on_from_its_own_rate_as_in_torch(name, options, joins):
    torch = pytest.importorskip("torch")
    theirs, scheduler = torchs(name, options)
    optimizer = sgd("ab")
    ours = schedulers.find(name)(optimizer, **options)
    for t in range(9):
        if t == joins:
            optimizer.add_param_group({"params": "b", "lr": 0.5})
            theirs.add_param_group({"params": [torch.zeros(1)], "lr": 0.5})
        rates = [[group["lr"] for group in each.param_groups] for each in (optimizer, theirs)]
        assert rates[0] == pytest.approx(rates[1], rel=1e-12), t
        optimizer.step()
        theirs.step()
        metrics = [1.0] if name == "ReduceLROnPlateau" else []
        ours.step(*metrics)
        scheduler.step(*metrics)


def test_a_group_joins_what_torchs_cannot_be_joined_to():
    """A factor goes on by ratios through composites; a schedule with rates of its own takes over at its next step."""
    linear, step = LinearLR(start_factor=0.5, total_iters=4), StepLR(step_size=2, gamma=0.5)
    chained = ChainedScheduler(schedulers=[linear, ReduceLROnPlateau(patience=0, factor=0.5)])
    optimizer = sgd("ab")
    scheduler = SequentialLR(optimizer, schedulers=[chained, step], milestones=[6])
    scheduler.step(1.0)
    scheduler.step(1.0)
    optimizer.add_param_group({"params": "b", "lr": 3.0})
    ratios = []
    for _ in range(8):
        first, second = (group["lr"] for group in optimizer.param_groups)
        ratios.append(second / first)
        scheduler.step(1.0)
    assert ratios == pytest.approx([3.0 / (0.75 / 2)] * 4 + [3.0 / (0.75 / 2)] * 4)

    optimizer = sgd("ab", momentum=0.9)
    scheduler = CyclicLR(optimizer, base_lr=0.1, max_lr=0.2, step_size_up=2, base_momentum=0.5)
    optimizer.add_param_group({"params": "b", "lr": 3.0, "momentum": 0.75})
    assert [optimizer.param_groups[1][name] for name in ("lr", "momentum")] == [3.0, 0.75]
    scheduler.step()
    first, second = optimizer.param_groups
    assert (second["lr"], second["momentum"]) == (first["lr"], first["momentum"])


@pytest.mark.parametrize(
    ("scheduler", "joins"),
    [
        (LambdaLR(lr_lambda="abs(cos(pi * t / 20))"), 10),
        (CosineAnnealingLR(T_max=10), 10),
        (CosineAnnealingLR(T_max=40, eta_min=0.05), 20),
    ],
)
def test_a_group_that_joins_where_nothing_leads_to_its_rate_starts_from_it(scheduler, joins):
    """At a zero of the schedule, and below its least value, no initial rate would have come to the group's."""
    optimizer = sgd("ab")
    bound = SequentialLR(optimizer, schedulers=[scheduler], milestones=[])
    for _ in range(joins):
        bound.step()
    optimizer.add_param_group({"params": "b", "lr": 0.01})
    bound.step()
    assert optimizer.param_groups[1]["initial_lr"] == 0.01
    assert 0 < optimizer.param_groups[1]["lr"] < 0.1


@pytest.mark.parametrize(("T_max", "t"), [(100, 1_000_050), (100, 10**8 + 33), (7, 10**9 + 77)])
def test_a_cosine_is_exact_after_any_number_of_waves(T_max, t):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(50):
        expected = float((1 + mpmath.cos(mpmath.pi * t / T_max)) / 2)
    assert CosineAnnealingLR(T_max=T_max).at([t], 1.0).item() == pytest.approx(expected, rel=1e-13, abs=1e-13)


def test_anneals_are_at_their_ends_exactly():
    tiny, ends = 1e-12, [0, 10]
    assert LinearLR(start_factor=1.0, end_factor=tiny, total_iters=10).at(ends, 3.0)[:, 0].tolist() == [
        3.0,
        3.0 * tiny,
    ]
    for strategy in ("linear", "cos"):
        cycle = OneCycleLR(
            max_lr=0.7, total_steps=11, pct_start=0.5, anneal_strategy=strategy, final_div_factor=1e10
        )
        assert cycle.at(ends, 1.0)[:, 0].tolist() == [0.7 / 25, 0.7 / 25 / 1e10]
        swa = schedulers.find("SWALR")(swa_lr=tiny, anneal_strategy=strategy)
        assert swa.at(ends, 0.3)[:, 0].tolist() == [0.3, tiny]
    for strategy in (CosineAnnealingLR(T_max=10, eta_min=tiny), CosineAnnealingLR(T_max=10, eta_min=0.3)):
        assert strategy.at(ends, tiny)[:, 0].tolist() == [tiny, strategy._options["eta_min"]]
    up = CyclicLR(base_lr=1.0, max_lr=tiny, step_size_up=10, cycle_momentum=False)
    assert up.at(ends, 1.0)[:, 0].tolist() == [1.0, tiny]


def test_a_plateau_has_to_reduce():
    with pytest.raises(ConfigError, match="factor must be < 1"):
        ReduceLROnPlateau(factor=1.0)
    with pytest.raises(ConfigError, match="factor must be < 1"):
        ReduceLROnPlateau(factor=np.array([0.5, 1.0]))


def test_averaging_follows_an_anneal_as_in_the_loop_of_torchs_manual():
    """Where after a step it is the one scheduler that goes on, and later the other one."""
    torch = pytest.importorskip("torch")
    theirs, cosine = torchs("CosineAnnealingLR", {"T_max": 20})
    averaging = torch.optim.swa_utils.SWALR(theirs, swa_lr=0.05, anneal_epochs=5)
    optimizer, last = sgd(), 9
    members = [CosineAnnealingLR(T_max=20), schedulers.find("SWALR")(swa_lr=0.05, anneal_epochs=5)]
    ours = SequentialLR(optimizer, schedulers=members, milestones=[last + 1])
    for t in range(20):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12), t
        theirs.step()
        (averaging if t > last else cosine).step()
        ours.step()
