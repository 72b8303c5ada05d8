"""What a sweep needs, before it runs."""

import itertools
from multiprocessing import active_children
from types import SimpleNamespace

import pytest

import optrun
from optrun.config import from_mapping
from optrun.store.locate import RESULTS
from optrun.sweeps import estimate
from optrun.sweeps.estimate import estimate_sweep
from optrun.sweeps.plan.packs import divided
from optrun.training import estimate as training_estimate
from tests.sweeps.poison import ABORTS, LOOPS, RAISES
from tests.sweeps.support import prepared

SWEEP = {
    "name": "s",
    "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 50},
    "optimizer": {"name": "Adam"},
    "steps": 40,
    "record": {"every": 3, "metrics": ["grad_norm"]},
    "evaluate": {"every": 10},
    "sweep": {"parameters": {"optimizer.name": ["SGD", "Adam"], "optimizer.lr": [1e-3, 1e-2]}, "repeats": 50},
}


def planned(config=SWEEP, jobs=1, **options):
    plan, groups = prepared(config)
    return plan, groups, divided(groups, range(len(plan.configs)), jobs, **options)


def test_the_size_is_about_that_of_the_store_and_nothing_is_left_behind(tmp_path):
    needed = estimate_sweep(*planned(), 1)
    assert not any(tmp_path.iterdir())
    assert needed.tried == 2
    assert needed.seconds > 0
    stored = (optrun.sweep(SWEEP).path / RESULTS).stat().st_size
    assert needed.bytes == pytest.approx(stored, rel=0.3)


def test_an_average_is_stored_as_well():
    config = {**SWEEP, "average": {"name": "ema", "decay": 0.9}}
    assert estimate_sweep(*planned(config), 1).bytes > estimate_sweep(*planned(), 1).bytes


def test_steps_that_are_made_at_once_are_counted(monkeypatch):
    """By a clock that goes on by a second whenever it is looked at."""
    pytest.importorskip("numba")
    seconds = itertools.count()
    monkeypatch.setattr(training_estimate, "time", SimpleNamespace(perf_counter=lambda: float(next(seconds))))
    config = {
        "problem": "quadratic",
        "optimizer": {"name": "SGD", "lr": 0.01},
        "steps": 20_000,
        "engine": "numba",
    }
    needed = training_estimate.estimate([from_mapping(config)])
    assert needed.steps_per_second > 100
    assert needed.seconds < 200


def test_packs_share_the_processes_and_groups_that_are_not_tried_are_like_the_others(monkeypatch):
    names = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adamax"]
    config = {**SWEEP, "sweep": {"parameters": {"optimizer.name": names}, "repeats": 4}}
    tried = []

    def need(plan, pack, plugins):
        tried.append(pack)
        return estimate._Need(seconds=1.0, storing=0.25, bytes=100.0)

    monkeypatch.setattr(estimate, "_tried", need)
    needed = estimate_sweep(*planned(config, limit=2), 1)
    assert (needed.tried, len(tried)) == (4, 4)
    assert needed.seconds == pytest.approx(24 * 1.25)
    assert needed.bytes == 2400
    assert estimate_sweep(*planned(config, limit=2), 3).seconds == pytest.approx(24 / 3)
    assert estimate_sweep(*planned(config, limit=2), 100).seconds == pytest.approx(24 * 0.25)
    plan, groups, _ = planned(config)
    assert estimate_sweep(plan, groups, [], 1) == estimate.SweepEstimate(0, 0, 0)


HALVED = {
    "method": "halving",
    "halving": {"min_steps": 4, "factor": 3},
    "parameters": {"optimizer.lr": {"logspace": [1e-4, 1e-2, 10]}},
    "repeats": 2,
}
ASKED = {
    "method": "optuna",
    "optuna": {"batch": 4},
    "trials": 11,
    "parameters": {"optimizer.lr": {"loguniform": [1e-4, 1e-2]}},
    "include": [{"optimizer.lr": 0.5}, {"optimizer.lr": 0.25}],
}


@pytest.mark.parametrize("block", [HALVED, ASKED], ids=["halving", "optuna"])
def test_the_steps_of_all_stages_are_counted(block, monkeypatch):
    if block is ASKED:
        pytest.importorskip("optuna")
    config = SWEEP | {"sweep": block}
    monkeypatch.setattr(
        estimate, "_tried", lambda plan, pack, plugins: estimate._Need(seconds=40, storing=0, bytes=80)
    )
    needed = estimate_sweep(*planned(config), 1)
    states = optrun.sweep(config, save=False).states
    assert not any(state.status == "diverged" for state in states)
    steps = sum(state.steps for state in states)
    assert steps != 40 * len(states) or block is ASKED
    assert needed.seconds == pytest.approx(steps)
    assert needed.bytes == pytest.approx(2 * steps, abs=1)


POISON = "tests.sweeps.poison"


@pytest.mark.full
@pytest.mark.parametrize("rate", [RAISES, ABORTS, LOOPS])
def test_plugins_that_raise_die_or_have_no_end_are_not_estimated(rate, monkeypatch):
    if rate == LOOPS:
        monkeypatch.setattr(estimate, "LIMIT_SECONDS", 3.0)
    config = {"problem": "quadratic", "optimizer": "Poison", "steps": 5}
    config["sweep"] = {"parameters": {"optimizer.lr": [rate]}}
    assert estimate_sweep(*planned(config), 1, [POISON]) == estimate.SweepEstimate(0, 0, 0)
    assert not active_children()


@pytest.mark.full
def test_plugins_that_run_are_estimated():
    config = {"problem": "quadratic", "optimizer": "Poison", "steps": 5}
    config["sweep"] = {"parameters": {"optimizer.lr": [0.1, 0.2]}}
    assert estimate_sweep(*planned(config), 1, [POISON]).tried == 1
