"""Widths that are measured: what is chosen, what is remembered, and that it changes no result."""

import sys
from dataclasses import replace

import pytest

import optrun
from optrun.api import sweeps
from optrun.kernels import user_cache
from optrun.problems.regression import SoftmaxRegression
from optrun.registry import load_plugin, optimizers
from optrun.store import RunState, Status
from optrun.sweeps.plan import width, width_trial
from optrun.sweeps.plan.packs import divided
from optrun.sweeps.plan.width import Measured, remember, remembered
from optrun.sweeps.plan.width_trial import Widths, fastest
from tests.sweeps.support import digest_of, prepared

SWEEP = {
    "name": "s",
    "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 16},
    "optimizer": "Adam",
    "steps": 60,
    "record": {"every": 10},
    "evaluate": {"every": 20},
    "sweep": {"parameters": {"optimizer.lr": {"logspace": [1e-4, 1e-2, 16]}}, "repeats": 3},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    path = tmp_path / "cache"
    monkeypatch.setattr(user_cache, "directory", lambda name: path / name)
    return path


@pytest.fixture
def eager(monkeypatch):
    """Measure whatever it costs."""
    monkeypatch.setattr(width_trial, "WORTH_WORK", 0)
    monkeypatch.setattr(width_trial, "WORTH_STEPS", 0)
    monkeypatch.setattr(width_trial, "SHARE", 1e6)
    monkeypatch.setattr(width_trial, "SHORTEST", 0.0)


@pytest.fixture
def trials(monkeypatch):
    """Trials that take the time that is said of a lane's step in packs of so many lanes, without steps."""

    class Trials:
        def __init__(self):
            self.lane_step = lambda lanes: 1e-3
            self.lanes = []
            self.seconds = 0.0

    def timed(bench, trial, first, steps):
        lanes = trial.pack.lanes
        step = made.lane_step(lanes) * lanes
        made.lanes.append(lanes)
        made.seconds += (first + steps) * step
        return step

    made = Trials()
    monkeypatch.setattr(width_trial._Bench, "_timed", timed)
    return made


def chosen(plan, groups, jobs=1, limit=None, interrupted=lambda: False, **options):
    states = options.pop("states", [RunState(status=Status.WAITING)] * len(plan.configs))
    runs = options.pop("runs", range(len(plan.configs)))
    return Widths(jobs, limit, interrupted).chosen(plan, groups, runs, states, **options)


def table(times):
    """Return costs that are looked up, and the list of what was asked for."""
    asked = []

    def costs(widths):
        asked.append(list(widths))
        return [times[each] for each in widths]

    return costs, asked


@pytest.mark.parametrize(
    ("times", "most", "found", "asked"),
    [
        ({16: 1.0, 8: 1.2, 32: 0.96}, 99, (16, 32), [[16, 8, 32]]),  # less than the gain that counts
        ({16: 1.0, 8: 1.2, 32: 0.9, 64: 0.89}, 99, (32, 64), [[16, 8, 32], [32, 64]]),
        ({16: 1.0, 8: 1.2, 32: 0.9, 64: 0.7}, 99, (64, 64), [[16, 8, 32], [32, 64]]),  # 128 is too many
        (
            {16: 1.0, 8: 0.9, 4: 0.8, 2: 0.7, 1: 0.6, 32: 2.0},
            99,
            (1, 32),
            [[16, 8, 32], [8, 4], [4, 2], [2, 1]],
        ),
        ({16: 1.0, 8: 0.8, 4: 0.9, 32: 0.9}, 99, (8, 32), [[16, 8, 32], [8, 4]]),
        ({16: 1.0, 8: 2.0}, 16, (16, 16), [[16, 8]]),
        ({1: 1.0, 2: 0.9, 4: 1.0}, 99, (2, 4), [[1, 2], [2, 4]]),
        ({1: 1.0}, 1, (1, 1), [[1]]),
    ],
)
def test_a_width_moves_while_that_gains_enough_and_no_further_than_it_may(times, most, found, asked):
    costs, seen = table(times)
    assert fastest(next(iter(times)), most, costs) == Measured(*found)
    assert seen == asked


def test_a_measurement_that_becomes_too_dear_ends_with_what_it_has():
    answers = iter([[1.0, 1.2, 0.8], None])
    assert fastest(16, 99, lambda widths: next(answers)) == Measured(32, 32)
    assert fastest(16, 99, lambda widths: None) is None


@pytest.mark.parametrize(
    ("found", "most", "holds", "over_64"),
    [(Measured(16, 32), 4096, True, 16), (Measured(32, 32), 32, True, 64), (Measured(32, 32), 33, False, 64)],
)
def test_what_the_number_of_runs_has_bound_is_not_the_last_word(found, most, holds, over_64):
    assert found.holds(most) is holds
    assert found.over(64) == over_64


@pytest.mark.full
def test_a_remembered_width_is_used_and_changes_no_bit(tmp_path):
    plan, groups = prepared(SWEEP)
    by_rule = digest_of(sweeps.sweep_plan(plan, groups, directory=tmp_path / "rule"))
    for lanes in (1, 5, 7):
        remember(groups[0].choice.shape, Measured(lanes, 64))
        plan, known = prepared(SWEEP)
        assert known[0].width == lanes
        assert max(map(len, divided(known, range(48), 1))) <= lanes
        for jobs in (1, 2):
            made = sweeps.sweep_plan(plan, known, directory=tmp_path / f"{lanes} {jobs}", jobs=jobs)
            assert digest_of(made) == by_rule


@pytest.mark.full
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {
            "scheduler": {"name": "OneCycleLR", "max_lr": 0.1, "total_steps": 60},
            "average": {"name": "ema", "decay": 0.9},
        },
        {"sweep": SWEEP["sweep"] | {"method": "halving", "halving": {"min_steps": 20, "factor": 4}}},
    ],
    ids=["plain", "scheduled", "halving"],
)
def test_a_measurement_changes_no_bit(more, jobs, cache, tmp_path, monkeypatch):
    found = []
    real = width_trial.measured
    plan, groups = prepared(SWEEP | more)

    def measured(*given):
        found.append(real(*given))
        return found[-1]

    monkeypatch.setattr(width_trial, "measured", measured)
    with_it = digest_of(sweeps.sweep_plan(plan, groups, directory=tmp_path / "measured", jobs=jobs))
    assert found
    assert None not in found
    assert [path.name for path in cache.rglob("*") if path.is_file()] == [groups[0].choice.shape]
    monkeypatch.setattr(width_trial, "measured", lambda *given: None)
    assert with_it == digest_of(sweeps.sweep_plan(plan, groups, directory=tmp_path / "rule", jobs=jobs))


@pytest.mark.usefixtures("eager")
def test_the_fastest_width_is_measured_with_the_lanes_that_packs_have_and_remembered(trials, monkeypatch):
    plan, groups = prepared(SWEEP)
    # Where there are many settings, packs have all the 3 seeds of each.
    trials.lane_step = {6: 1.0, 3: 0.8, 15: 0.9, 2: 0.9}.__getitem__
    assert chosen(plan, [replace(groups[0], width=8)])[0].width == 4
    assert set(trials.lanes) == {6, 3, 15, 2}
    assert remembered(groups[0].choice.shape) == Measured(4, 16)
    plan, groups = prepared(SWEEP)
    assert groups[0].width == 4
    monkeypatch.setattr(width_trial, "measured", pytest.fail)
    assert chosen(plan, groups) == groups


@pytest.mark.usefixtures("eager")
def test_where_nothing_can_be_written_a_sweep_remembers_for_itself(trials, cache, monkeypatch):
    cache.touch()
    plan, groups = prepared(SWEEP)
    trials.lane_step = {6: 1.0, 3: 1.1, 15: 0.5, 30: 0.5}.__getitem__
    groups = [replace(groups[0], width=8)]
    widths = Widths(1, None, lambda: False)
    states = [RunState(status=Status.WAITING)] * 48
    assert widths.chosen(plan, groups, range(48), states)[0].width == 16
    assert remembered(groups[0].choice.shape) is None
    monkeypatch.setattr(width_trial, "measured", pytest.fail)
    assert widths.chosen(plan, groups, range(48), states)[0].width == 16


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00",
        b"{",
        b"[]",
        b"7",
        b'{"width": 4}',
        b'{"width": 0, "widest": 4}',
        b'{"width": 8, "widest": 4}',
        b'{"width": "4", "widest": 8}',
        b'{"width": true, "widest": 8}',
        b'{"width": 4.0, "widest": 8}',
        b'{"width": 4, "widest": 8, "more": 1}',
    ],
)
def test_what_is_damaged_is_ignored_and_made_anew(content, trials, cache):
    plan, groups = prepared(SWEEP)
    by_rule, shape = groups[0].width, groups[0].choice.shape
    remember(shape, Measured(4, 8))
    (cache / "widths" / shape).write_bytes(content)
    assert remembered(shape) is None
    plan, groups = prepared(SWEEP)
    assert groups[0].width == by_rule
    chosen(plan, groups)
    assert remembered(shape) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="no such modes here")
def test_what_others_can_write_is_ignored(cache):
    remember("a", Measured(4, 8))
    assert remembered("a") == Measured(4, 8)
    (cache / "widths" / "a").chmod(0o666)
    assert remembered("a") is None


def test_a_short_sweep_measures_nothing(cache, monkeypatch):
    monkeypatch.setattr(width_trial, "measured", pytest.fail)
    assert optrun.sweep(SWEEP).left == 0
    assert not cache.exists()


@pytest.mark.parametrize(
    ("steps", "jobs", "is_worth"),
    [(3_000, 1, False), (300_000, 1, False), (900_000, 1, True), (900_000, 2, False), (1_800_000, 2, True)],
)
def test_no_pack_is_tried_for_little_work(steps, jobs, is_worth, monkeypatch):
    tried = []
    monkeypatch.setattr(width_trial, "measured", lambda *given: tried.append(given))
    plan, groups = prepared(SWEEP | {"steps": steps, "record": {"every": 1000}, "evaluate": None})
    chosen(plan, groups, jobs=jobs)
    assert bool(tried) is is_worth


@pytest.mark.parametrize("steps", [60, 600, 20_000, 2_000_000])
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_measurement_takes_a_small_part_of_the_time_and_long_sweeps_have_one(
    steps, jobs, trials, monkeypatch
):
    monkeypatch.setattr(width_trial, "WORTH_WORK", 0)
    plan, groups = prepared(SWEEP | {"steps": steps, "record": {"every": 1000}, "evaluate": None})
    found = chosen(plan, [replace(groups[0], width=4)], jobs=jobs)
    assert trials.seconds <= width_trial.SHARE * steps * 48 * 1e-3 / jobs
    assert (remembered(groups[0].choice.shape) is not None) is (steps >= 20_000)
    assert found[0].width == 4


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (64, 96, 96 * 60)),
        ({"jobs": 4}, (24, 24, 96 * 60)),
        ({"limit": 10}, (10, 10, 96 * 60)),
        ({"runs": range(10, 50)}, (40, 40, 40 * 60)),
        ({"until": 20}, (64, 96, 96 * 20)),
        ({"states": [RunState(status=Status.RUNNING, steps=45)] * 96}, (64, 96, 96 * 15)),
    ],
)
@pytest.mark.usefixtures("eager")
def test_a_measurement_is_bound_by_the_runs_that_are_left_for_a_job(options, expected, monkeypatch):
    seen = []

    def measured(configs, width, most, lanes_at, lane_steps, jobs, interrupted):
        seen.append((width, most, lane_steps))

    monkeypatch.setattr(width_trial, "measured", measured)
    plan, groups = prepared(SWEEP | {"sweep": SWEEP["sweep"] | {"repeats": 6}})
    chosen(plan, [replace(groups[0], width=64)], **options)
    assert seen == [expected]


@pytest.mark.usefixtures("eager")
def test_groups_of_one_shape_are_measured_once_for_all_their_steps(monkeypatch):
    seen = []
    monkeypatch.setattr(
        width_trial, "measured", lambda *given: seen.append((len(given[0]), given[4])) or Measured(2, 4)
    )
    axes = SWEEP["sweep"]["parameters"] | {"scheduler": [None, {"name": "StepLR", "step_size": 9}]}
    plan, groups = prepared(SWEEP | {"sweep": {"parameters": axes, "repeats": 3}})
    assert [group.width for group in chosen(plan, groups)] == [2, 2]
    assert seen == [(48, 96 * 60)]


@pytest.mark.parametrize("remembered_width", [64, 10**9])
def test_a_remembered_width_stays_within_the_memory(remembered_width):
    long = SWEEP | {"steps": 10**6, "record": {"every": 1}}
    _, groups = prepared(SWEEP)
    remember(groups[0].choice.shape, Measured(remembered_width, 10**9))
    _, groups = prepared(long)
    assert groups[0].width == groups[0].choice.most < 64


PLUGIN = """
from optrun.optim import SGD
class Foreign(SGD):
    pass
"""


@pytest.fixture
def plugin(tmp_path):
    (tmp_path / "foreign.py").write_text(PLUGIN)
    load_plugin(str(tmp_path / "foreign.py"))
    yield
    optimizers._classes.pop("foreign", None)
    optimizers._names.pop("foreign", None)


@pytest.mark.full
@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("more", "is_free"),
    [
        ({}, True),
        ({"optimizer": "Muon", "problem": {"name": "mlp", "data": "iris", "bias": False}}, True),
        ({"optimizer": "LBFGS"}, False),
        ({"stop": {"time": "1h"}}, False),
        ({"optimizer": "Foreign"}, False),
    ],
)
def test_where_there_is_a_choice(more, is_free):
    assert [group.choice is not None for group in prepared(SWEEP | more)[1]] == [is_free]


@pytest.mark.parametrize(
    ("more", "is_same"),
    [
        ({"optimizer": {"name": "Adam", "beta1": 0.5}}, True),
        ({"seed": 9}, True),
        ({"steps": 70, "record": {"every": 1}}, True),
        ({"scheduler": {"name": "StepLR", "step_size": 9}}, True),
        ({"problem": SWEEP["problem"] | {"l2": 0.1}}, True),
        ({"problem": SWEEP["problem"] | {"batch_size": 8}}, False),
        ({"problem": {"name": "mlp", "data": "iris", "batch_size": 16}}, False),
        ({"problem": SWEEP["problem"] | {"data": "digits"}}, False),
        ({"optimizer": "SGD"}, False),
        ({"dtype": "float64"}, False),
        ({"engine": "numpy"}, False),
    ],
)
def test_a_shape_is_what_decides_the_speed(more, is_same):
    shapes = [prepared(config)[1][0].choice.shape for config in (SWEEP, SWEEP | more)]
    assert (shapes[0] == shapes[1]) is is_same


@pytest.mark.parametrize("changed", [("l2_bytes", lambda: 7), ("_machine", lambda: ["another"])])
def test_another_machine_is_another_shape(changed, monkeypatch):
    before = prepared(SWEEP)[1][0].choice.shape
    monkeypatch.setattr(width, *changed)
    assert prepared(SWEEP)[1][0].choice.shape != before


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("rates", [[1e-3, 1e30], [1e30, 1e31]])
def test_lanes_that_diverge_leave_the_width_as_it_was(rates):
    data = SWEEP | {"problem": "quadratic", "optimizer": "SGD"}
    data |= {"sweep": {"parameters": {"optimizer.lr": rates}, "repeats": 9}}
    plan, groups = prepared(data)
    assert chosen(plan, groups) == groups
    assert remembered(groups[0].choice.shape) is None


@pytest.mark.full
@pytest.mark.usefixtures("eager")
def test_what_raises_leaves_the_width_as_it_was_and_fails_as_it_does_alone(monkeypatch):
    def fails(*args):
        raise ValueError("not today")

    plan, groups = prepared(SWEEP)
    monkeypatch.setattr(SoftmaxRegression, "loss_and_grad", fails)
    assert chosen(plan, groups) == groups
    assert remembered(groups[0].choice.shape) is None
    sweep = sweeps.sweep_plan(plan, groups)
    assert all("not today" in state.reason for state in sweep.states)


@pytest.mark.usefixtures("eager")
def test_a_measurement_neither_evaluates_nor_writes(monkeypatch, tmp_path):
    plan, groups = prepared(SWEEP)
    monkeypatch.setattr(SoftmaxRegression, "evaluate", pytest.fail)
    chosen(plan, groups)
    assert remembered(groups[0].choice.shape) is not None
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("after", [0, 2, 20, 100])
def test_an_interruption_ends_a_measurement_at_the_next_step(after, monkeypatch):
    steps = []
    real = SoftmaxRegression.loss_and_grad

    def counted(*given):
        steps.append(given)
        return real(*given)

    plan, groups = prepared(SWEEP)
    monkeypatch.setattr(SoftmaxRegression, "loss_and_grad", counted)
    assert chosen(plan, groups, interrupted=lambda: len(steps) > after) == groups
    assert len(steps) == after + 1
    assert remembered(groups[0].choice.shape) is None
