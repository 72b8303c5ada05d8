"""What every schedule promises: a function of time, for any lane, chunk and history."""

import json

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.errors import ConfigError, StateError
from optrun.kernels.deferred import Deferred, NotDeferredError
from optrun.kernels.ranges import known_where, range_of
from optrun.optim import SGD
from optrun.registry import options_of, schedulers
from optrun.schedulers import ConstantLR, LinearLR, LRScheduler, SequentialLR, StepLR
from optrun.selftest import examples
from tests.oracles.schedules import EVERY, METRICS, built, label

SHIPPED = {name for name in schedulers if schedulers.find(name).__module__.startswith("optrun.")}
OF_PLUGINS = [
    (name, {key: value for key, value in examples.scheduler(name, 40, 0.1).items() if key != "name"})
    for name in schedulers
    if name not in SHIPPED
]
ALL = pytest.mark.parametrize("spec", [*EVERY, *OF_PLUGINS], ids=map(label, [*EVERY, *OF_PLUGINS]))

NEVER_DEFERRED = {"ChainedScheduler"}
"""Where members have tables of different lengths."""


def optimizer(lr=0.1, lanes=1):
    params = Parameters({"x": (1,)}, lanes=lanes, arrays=Arrays(dtype="float64"))
    return SGD(params, lr=lr)


def test_every_registered_schedule_is_tested():
    assert {name for name, _ in EVERY} >= SHIPPED


@pytest.mark.full
@ALL
def test_a_table_has_the_bits_of_its_single_steps(spec):
    schedule = built(spec)
    table = schedule.at(np.arange(700), 0.3)
    single = [schedule.at([t], 0.3)[0] for t in range(700)]
    assert table.tobytes() == np.array(single).tobytes()


@ALL
def test_a_lane_has_the_bits_of_its_solo_schedule(spec, rng):
    schedule, bases = built(spec), rng.uniform(0.01, 1, 37)
    together = np.broadcast_to(schedule.at(np.arange(300), bases), (300, 37))
    for lane in (0, 17, 36):
        assert together[:, lane].tobytes() == schedule.at(np.arange(300), bases[lane])[:, 0].tobytes()


@ALL
def test_a_deferred_schedule_has_the_bits_of_its_table(spec, rng):
    schedule, bases, t = built(spec), rng.uniform(1e-3, 1, 37), np.arange(300)
    try:
        deferred = schedule.at(t, Deferred.of_lanes(bases))
    except NotDeferredError:
        assert spec[0] in NEVER_DEFERRED
        return
    table = np.broadcast_to(schedule.at(t, bases), (300, 37))
    if not isinstance(deferred, Deferred):  # it does not depend on the initial value
        assert np.broadcast_to(deferred, (300, 37)).tobytes() == table.tobytes()
        return
    rows = 300 if len(deferred) == 1 else len(deferred)  # those of its first member
    assert np.broadcast_to(deferred.dense(), (rows, 37)).tobytes() == table[:rows].tobytes()
    for together in (1, 32):
        known, firsts = range_of(deferred, together), range(0, rows, together)
        assert (known.low.min(axis=1) <= np.minimum.reduceat(table[:rows].min(axis=1), firsts)).all()
        assert (known.high.max(axis=1) >= np.maximum.reduceat(table[:rows].max(axis=1), firsts)).all()
    is_not_zero = known_where(deferred, lambda known: known.is_not_zero("float64"), rows)
    assert (is_not_zero <= (table[:rows] != 0).all(axis=1)).all()


@pytest.mark.parametrize("lr", [0.1, np.geomspace(1e-4, 0.1, 5)], ids=["one rate", "rates of lanes"])
@ALL
def test_who_looks_far_sees_the_same(spec, lr):
    near, far = optimizer(lr, 5), optimizer(lr, 5)
    schedules = [built(spec, each) for each in (near, far)]
    for t in range(150):
        if t == 7:
            schedules[1].look_far(100)
        assert np.array_equal(*(each.param_groups[0]["lr"] for each in (near, far)))
        for schedule in schedules:
            schedule.step(**({"metrics": METRICS[t % len(METRICS)]} if schedule.needs_metrics else {}))


def applied(stepped):
    """Return the rate that the optimizer's next step really uses: SGD's step for a gradient of 1."""
    before = stepped.params.data.copy()
    stepped.params.grad[:] = 1
    stepped.step()
    return float((before - stepped.params.data)[0, 0])


def heard_by(scheduler, metrics):
    """Return what a step is given: metrics if it needs them."""
    return [metrics] if scheduler.needs_metrics else []


@ALL
def test_the_rate_of_the_formula_is_applied_at_every_step(spec):
    stepped, buffer = optimizer(), 0.0
    scheduler = built(spec, stepped)
    formula = built(spec).at(np.arange(len(METRICS)), 0.1)[:, 0]
    for rate, metrics in zip(formula, METRICS, strict=True):
        group = stepped.param_groups[0]
        if not scheduler.needs_metrics:
            assert group["lr"] == rate
        if group["momentum"]:
            buffer = group["momentum"] * buffer + 1
        step = group["lr"] * (buffer if group["momentum"] else 1)
        assert applied(stepped) == pytest.approx(step, rel=1e-9, abs=1e-13)
        scheduler.step(*heard_by(scheduler, metrics))


@pytest.mark.full
@ALL
def test_a_loaded_state_goes_on_with_the_same_rates(spec):
    first, second = optimizer(), optimizer()
    one, other = built(spec, first), built(spec, second)
    for metrics in METRICS[:75]:
        applied(first)
        one.step(*heard_by(one, metrics))
    other.load_state_dict(json.loads(json.dumps(one.state_dict(), allow_nan=False)))
    second.load_state_dict(first.state_dict())
    other.load_state_dict(one.state_dict())
    second.params.data[:] = first.params.data
    for metrics in METRICS:
        assert one.get_last_lr() == other.get_last_lr()
        assert applied(first) == applied(second)
        one.step(*heard_by(one, metrics))
        other.step(*heard_by(other, metrics))


def test_a_rate_set_by_hand_counts_until_the_scheduler_steps():
    stepped = optimizer(lr=1.0)
    scheduler = StepLR(stepped, step_size=1, gamma=0.5)
    assert applied(stepped) == 1.0
    scheduler.step()
    stepped.param_groups[0]["lr"] = 0.375
    assert applied(stepped) == 0.375
    scheduler.step()
    assert applied(stepped) == 0.25
    scheduler.step()
    assert applied(stepped) == 0.125


@pytest.mark.parametrize("pace", [2, 3, 7])
def test_a_scheduler_stepped_now_and_then_keeps_its_rate_in_between(pace):
    stepped = optimizer(lr=1.0)
    scheduler = StepLR(stepped, step_size=1, gamma=0.5)
    for epoch in range(12):
        for _ in range(pace):
            assert applied(stepped) == pytest.approx(0.5**epoch, rel=1e-9, abs=1e-12)
        scheduler.step()


def test_options_for_another_number_of_lanes_are_refused():
    with pytest.raises(ConfigError, match="for 3 lanes, not 2"):
        StepLR(optimizer(lanes=2), step_size=2, gamma=np.array([0.1, 0.2, 0.3]))


def test_a_schedule_below_zero_is_refused_with_its_step():
    class Falling(LRScheduler):
        @staticmethod
        def value(t, base, /):
            return base * (1 - t / 4)

    try:
        scheduler = Falling(optimizer())
        for _ in range(4):
            scheduler.step()
        with pytest.raises(ConfigError, match=r"lr must be ≥ 0 and finite \(got -0.025 at step 5\)"):
            scheduler.step()
    finally:
        del schedulers._classes["falling"], schedulers._names["falling"]


def test_an_unbound_schedule_says_so():
    with pytest.raises(ConfigError, match="not bound to an optimizer"):
        StepLR(step_size=3).step()


@pytest.mark.parametrize("name", list(schedulers))
def test_options_out_of_bounds_are_refused_by_name(name):
    cls = schedulers.find(name)
    valid = next((options for each, options in EVERY if each == name), None)
    if valid is None:
        pytest.skip(f"{name} has no entry in EVERY")
    for option in options_of(cls.value).values():
        for bound in option.bounds:
            beyond = {"≥": bound.limit - 1, ">": bound.limit, "≤": bound.limit + 1, "<": bound.limit}[
                bound.sign
            ]
            with pytest.raises(ConfigError, match=option.name) as error:
                cls(**{**valid, option.name: option.type(beyond)})
            assert error.value.field == option.name


def test_unknown_and_missing_options_are_named():
    with pytest.raises(ConfigError, match="unknown option 'gama'. Did you mean 'gamma'"):
        StepLR(step_size=3, gama=0.1)
    with pytest.raises(ConfigError, match="step_size is required"):
        StepLR()


def test_warm_up_may_start_at_zero_and_take_no_time():
    assert LinearLR(start_factor=0.0, total_iters=4).at(range(6), 1.0)[:, 0].tolist() == [
        0,
        0.25,
        0.5,
        0.75,
        1,
        1,
    ]
    assert LinearLR(start_factor=0.5, total_iters=0).at([0, 1], 1.0)[:, 0].tolist() == [1, 1]
    assert ConstantLR(factor=0.5, total_iters=0).at([0, 1], 1.0)[:, 0].tolist() == [1, 1]


def test_a_sequence_within_a_sequence_counts_from_its_own_start():
    inner = SequentialLR(
        schedulers=[ConstantLR(factor=0.5, total_iters=9), StepLR(step_size=2)], milestones=[3]
    )
    outer = SequentialLR(schedulers=[ConstantLR(factor=0.25, total_iters=9), inner], milestones=[2])
    assert outer.at(range(9), 1.0)[:, 0] == pytest.approx([0.25, 0.25, 0.5, 0.5, 0.5, 1, 1, 0.1, 0.1])


@pytest.mark.parametrize("milestones", [[], [5], [5, 5], [6, 5], [0, 5]])
def test_milestones_must_separate_the_schedulers(milestones):
    with pytest.raises(ConfigError) as error:
        SequentialLR(schedulers=[ConstantLR(), ConstantLR(), ConstantLR()], milestones=milestones)
    assert error.value.field == ("milestones.0" if milestones[:1] == [0] else "milestones")


def test_a_second_scheduler_is_refused():
    stepped = optimizer()
    ConstantLR(stepped)
    stepped.param_groups[0]["lr"] = 0.2
    with pytest.raises(ConfigError, match="has a scheduler already"):
        StepLR(stepped, step_size=3)


def test_the_state_of_another_scheduler_is_refused():
    with pytest.raises(StateError, match="StepLR, not of ConstantLR"):
        ConstantLR(optimizer()).load_state_dict(StepLR(optimizer(), step_size=3).state_dict())


@pytest.mark.parametrize("last_epoch", [None, -1, 0.5, "3", True, 2**60])
def test_a_state_without_a_count_of_steps_is_refused(last_epoch):
    scheduler = ConstantLR(optimizer())
    with pytest.raises(StateError, match="last_epoch"):
        scheduler.load_state_dict({"scheduler": "ConstantLR", "last_epoch": last_epoch})


def test_a_group_added_later_follows_from_its_own_rate():
    params = Parameters({"x": (1,), "y": (2,)})
    stepped = SGD(params, [{"params": "x"}], lr=0.1)
    scheduler = StepLR(stepped, step_size=2, gamma=0.5)
    stepped.step()
    scheduler.step()
    stepped.add_param_group({"params": "y", "lr": 8.0})
    stepped.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [0.05, 4.0]


def test_options_may_be_given_by_position_as_in_torch():
    assert StepLR(optimizer(), 2, 0.5).at(range(5), 1.0)[:, 0].tolist() == [1, 1, 0.5, 0.5, 0.25]
    with pytest.raises(ConfigError, match="at most 2 options"):
        StepLR(None, 2, 0.5, 7)
