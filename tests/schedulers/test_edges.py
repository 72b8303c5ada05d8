"""Where torch is wrong or has no answer: closed forms are the oracle."""

import threading

import numpy as np
import pytest

from optrun.errors import ConfigError
from optrun.schedulers import (
    SWALR,
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    SequentialLR,
    StepLR,
)
from optrun.schedulers.function_of_time import FunctionOfTime

T = np.arange(60)


def values(schedule, base=1.0, t=T):
    return schedule.at(t, base)[:, 0]


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
def test_one_cycle_stays_at_its_last_rate(strategy, three_phase):
    schedule = OneCycleLR(max_lr=1.0, total_steps=10, anneal_strategy=strategy, three_phase=three_phase)
    rates = values(schedule)
    assert (rates[9:] == rates[9]).all()
    assert rates[9] == pytest.approx(1 / 25e4)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_one_cycle_passes_over_a_phase_of_no_length(strategy):
    rates = values(OneCycleLR(max_lr=1.0, total_steps=10, pct_start=0.1, anneal_strategy=strategy))
    assert rates[0] == 1.0
    assert (np.diff(rates[:10]) < 0).all()
    assert np.isfinite(rates).all()


def test_one_cycle_of_one_step_is_at_its_end():
    assert values(OneCycleLR(max_lr=1.0, total_steps=1)) == pytest.approx(1 / 25e4)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "total_steps"),
        ({"epochs": 3}, "total_steps"),
        ({"steps_per_epoch": 3}, "total_steps"),
        ({"total_steps": 9, "epochs": 3}, "epochs"),
        ({"epochs": 3, "steps_per_epoch": 3, "interval": "epoch"}, "total_steps"),
    ],
)
def test_one_cycle_has_one_length(options, field):
    with pytest.raises(ConfigError) as error:
        OneCycleLR(max_lr=1.0, **options)
    assert error.value.field == field


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (LinearLR(start_factor=0.5, total_iters=0), 1.0),
        (ConstantLR(factor=0.5, total_iters=0), 1.0),
        (PolynomialLR(total_iters=0), 0.0),
        (SWALR(swa_lr=0.3, anneal_epochs=0), 0.3),
    ],
    ids=str,
)
def test_what_takes_no_time_is_done(schedule, expected):
    assert (values(schedule) == expected).all()


def test_a_rate_may_be_held_at_zero_and_come_back():
    assert values(ConstantLR(factor=0.0, total_iters=3), t=range(5)).tolist() == [0, 0, 0, 1, 1]


def test_the_cosine_rises_after_its_end():
    assert values(CosineAnnealingLR(T_max=10), t=[0, 10, 20]) == pytest.approx([1, 0, 1])


@pytest.mark.parametrize("factor", [2, 3, 10])
def test_restarts_are_at_the_borders_of_their_cycles_to_the_step(factor):
    schedule = CosineAnnealingWarmRestarts(T_0=3, T_mult=factor)
    start, length = 0, 3
    while start < 2**52:
        assert values(schedule, t=[start]).tolist() == [1.0]
        if start:
            assert values(schedule, t=[start - 1])[0] < 1.0
        start, length = start + length, length * factor


def test_milestones_compound_and_do_not_decrease():
    schedule = MultiStepLR(milestones=[2, 2, 5], gamma=0.5)
    assert values(schedule, t=range(7)).tolist() == [1, 1, 0.25, 0.25, 0.25, 0.125, 0.125]
    with pytest.raises(ConfigError, match="must not decrease") as error:
        MultiStepLR(milestones=[5, 2])
    assert error.value.field == "milestones"


def test_a_multiplicative_schedule_counts_from_its_own_start():
    halving = MultiplicativeLR(lr_lambda="0.5")
    schedule = SequentialLR(schedulers=[ConstantLR(factor=0.25, total_iters=9), halving], milestones=[2])
    assert values(schedule, t=range(6)).tolist() == [0.25, 0.25, 1, 0.5, 0.25, 0.125]


def test_a_running_product_has_the_same_bits_from_any_start():
    text = "1 - 1 / (t + 3) ** 2"
    whole = values(MultiplicativeLR(lr_lambda=text), t=np.arange(3000))
    assert (
        values(MultiplicativeLR(lr_lambda=text), t=np.arange(2000, 3000)).tobytes() == whole[2000:].tobytes()
    )
    calls = []

    def counted(t):
        calls.append(t)
        return 0.5

    schedule = MultiplicativeLR(lr_lambda=counted)
    for t in range(100):
        values(schedule, t=[t])
    assert calls == list(range(1, 100))


def test_a_chain_of_chains_and_sequences_is_what_the_formulas_say():
    inner = ChainedScheduler(schedulers=[LinearLR(start_factor=0.0, total_iters=4), ExponentialLR(gamma=0.9)])
    later = SequentialLR(schedulers=[StepLR(step_size=3), CosineAnnealingLR(T_max=10)], milestones=[7])
    outer = SequentialLR(schedulers=[inner, ChainedScheduler(schedulers=[later, inner])], milestones=[5])

    def warm(t, base):
        return base * np.minimum(t / 4, 1) * 0.9**t

    def stepped(t, base):
        return base * (0.1 ** (t // 3) if t < 7 else (1 + np.cos(np.pi * (t - 7) / 10)) / 2)

    expected = [warm(t, 0.3) if t < 5 else warm(t - 5, stepped(t - 5, 0.3)) for t in range(60)]
    assert values(outer, 0.3) == pytest.approx(expected, rel=1e-13, abs=1e-300)


def test_one_composite_around_another_changes_nothing():
    one = SequentialLR(schedulers=[LinearLR(), StepLR(step_size=3)], milestones=[4])
    assert values(SequentialLR(schedulers=[one], milestones=[])).tobytes() == values(one).tobytes()
    assert values(ChainedScheduler(schedulers=[one])).tobytes() == values(one).tobytes()


def test_averaging_starts_from_the_rate_before_it():
    before = SequentialLR(schedulers=[LinearLR(total_iters=3), ExponentialLR(gamma=0.9)], milestones=[4])
    swa = SWALR(swa_lr=0.05, anneal_epochs=5, anneal_strategy="linear")
    schedule = SequentialLR(
        schedulers=[before, swa, SWALR(swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear")],
        milestones=[10, 13],
    )
    start = 0.9**6
    third = start + (0.05 - start) * 3 / 5
    expected = [start, start + (0.05 - start) / 5, start + (0.05 - start) * 2 / 5]
    expected += [third, third + (0.5 - third) / 2, 0.5, 0.5]
    assert values(schedule, t=range(10, 17)) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
def test_a_lane_of_a_cycle_is_its_solo(mode, rng):
    base, top, gamma = rng.uniform(0, 0.1, 9), rng.uniform(0.2, 1, 9), rng.uniform(0.9, 1, 9)

    def cycle(*options):
        names = ("base_lr", "max_lr", "gamma")
        return CyclicLR(**dict(zip(names, options, strict=True)), step_size_up=7, step_size_down=5, mode=mode)

    together = cycle(base, top, gamma).at(T, 1.0)
    for lane in range(9):
        solo = cycle(base[lane], top[lane], gamma[lane]).at(T, 1.0)
        assert together[:, lane].tobytes() == solo[:, 0].tobytes()


@pytest.mark.parametrize("three_phase", [False, True])
def test_a_lane_of_one_cycle_is_its_solo(three_phase, rng):
    names = ("max_lr", "pct_start", "div_factor", "base_momentum")
    lanes = [rng.uniform(0.1, 1, 9), rng.uniform(0, 0.5, 9), rng.uniform(2, 30, 9), rng.uniform(0.5, 0.8, 9)]

    def tables(values):
        options = dict(zip(names, values, strict=True))
        cycle = OneCycleLR(**options, total_steps=40, three_phase=three_phase)
        return [schedule.at(T, 1.0) for schedule in (cycle, cycle.momentum()[1])]

    together = tables(lanes)
    for lane in range(9):
        for whole, solo in zip(together, tables([each[lane] for each in lanes]), strict=True):
            assert whole[:, lane].tobytes() == solo[:, 0].tobytes()


def test_a_python_function_is_called_with_one_step_at_a_time_and_none_that_has_not_come():
    table, asked = [1.0, 0.5, 0.25], []

    def looked_up(t):
        asked.append(t)
        return table[t]

    from tests.schedulers.test_contract import optimizer

    stepped = optimizer(lr=2.0)
    scheduler = LambdaLR(stepped, lr_lambda=looked_up)
    rates = []
    for _ in range(2):
        rates += scheduler.get_last_lr()
        stepped.step()
        scheduler.step()
    assert [*rates, *scheduler.get_last_lr()] == [2.0, 1.0, 0.5]
    assert asked == [0, 1, 2]


def test_threads_share_a_running_product():
    others, threads = [], []

    def halving(t):
        if not threads:
            threads.append(threading.Thread(target=lambda: others.append(shared.product(steps))))
            threads[0].start()
            threads[0].join(0.1)
        return 0.5

    steps, shared = np.arange(8.0), FunctionOfTime(halving)
    found = shared.product(steps)
    threads[0].join()
    assert found.tolist() == others[0].tolist() == (0.5**steps).tolist()
