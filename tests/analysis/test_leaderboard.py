"""Settings in the order of a metric; what diverged or failed is counted and never wins."""

import pytest

import optrun
from optrun.analysis.leaderboard import SweepPlan, best_runs, leaderboard, plan_of
from optrun.errors import StoreError
from optrun.store import RunState, Status, Store
from optrun.store.attempts import event

PLAN = SweepPlan([{"lr": 1}, {"lr": 2}, {"lr": 3}, {"lr": 4}], 4, "final_loss", False)


def ended(value, status=Status.COMPLETED):
    return RunState(status=status, summary={} if value is None else {"final_loss": value})


GONE, FAILED, LEFT = (ended(None, status) for status in (Status.DIVERGED, Status.FAILED, Status.RUNNING))
STATES = [
    *(ended(5.0), ended(7.0), ended(6.0), ended(8.0)),
    *(ended(1.0), ended(1.0), ended(1.0), GONE),
    *(GONE, GONE, FAILED, FAILED),
    *(ended(9.0), ended(2.0, Status.TARGET_REACHED), LEFT, LEFT),
]


def test_a_setting_with_a_run_that_diverged_is_behind_all_without():
    rows = leaderboard(PLAN, STATES)
    assert [row.setting["lr"] for row in rows] == [4, 1, 2, 3]
    assert [(row.median, row.lower, row.upper) for row in rows] == [
        (5.5, 3.75, 7.25),
        (6.5, 5.75, 7.25),
        (1.0, 1.0, 1.0),
        (None, None, None),
    ]
    assert [(row.diverged, row.failed, row.waiting) for row in rows] == [
        (0, 0, 2),
        (0, 0, 0),
        (1, 0, 0),
        (2, 2, 0),
    ]
    assert [row.first for row in rows] == [12, 0, 4, 8]


def test_the_other_end_may_be_the_better_one():
    plan = SweepPlan(PLAN.settings, 4, "final_loss", True)
    assert [row.setting["lr"] for row in leaderboard(plan, STATES)] == [1, 4, 2, 3]


def test_a_figure_that_is_not_finite_counts_as_diverged():
    states = [RunState(status=Status.COMPLETED, summary={"final_loss": None}), *STATES[1:]]
    assert leaderboard(PLAN, states)[1].diverged == 1


def test_what_is_drawn_of_a_sweep_has_ended():
    assert best_runs(PLAN, STATES, 3) == [12, 0, 4]
    assert best_runs(PLAN, [LEFT] * 16, 3) == []


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"settings": [{}], "repeats": 1},
        {"settings": 3, "repeats": 1, "metric": {"name": "x", "goal": "minimize"}},
    ],
)
def test_a_plan_that_is_damaged_is_refused(details, monkeypatch):
    sweep = optrun.sweep({"problem": "quadratic", "optimizer": "SGD", "steps": 2, "sweep": {"repeats": 2}})
    with Store.open(sweep.path) as store:
        assert plan_of(store).repeats == 2
        monkeypatch.setattr(store, "events", lambda: [event("plan", 0, **details)])
        with pytest.raises(StoreError, match="the plan of the sweep is damaged"):
            plan_of(store)
        whole = {"settings": [{}], "repeats": 3, "metric": {"name": "x", "goal": "minimize"}}
        monkeypatch.setattr(store, "events", lambda: [event("plan", 0, **whole)])
        with pytest.raises(StoreError, match="the plan of the sweep is not one of 2 runs"):
            plan_of(store)
