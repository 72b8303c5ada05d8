"""Settings in the order of a metric; what diverged or failed is counted and never wins."""

import statistics

import numpy as np
import pytest

import optrun
from optrun.analysis.leaderboard import SweepPlan, leaderboard, plan_of
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


def test_a_run_that_ended_before_there_was_a_figure_is_counted_and_its_setting_never_wins():
    states = [RunState(status=Status.TARGET_REACHED, summary={"loss": 0.0}), *STATES[1:]]
    standings = leaderboard(PLAN, states)
    assert [each.setting["lr"] for each in standings] == [4, 2, 1, 3]
    assert (standings[2].diverged, standings[2].lacking) == (0, 1)


def test_medians_and_quartiles_are_those_of_the_seeds_that_ended_well():
    rng = np.random.default_rng(3)
    settings = [{"lr": lr} for lr in range(40)]
    states = [
        ended(float(value)) if chance > 0.2 else GONE
        for value, chance in zip(rng.lognormal(size=280), rng.random(280), strict=True)
    ]
    for row in leaderboard(SweepPlan(settings, 7, "final_loss", False), states):
        chosen = states[row.first : row.first + 7]
        values = [state.summary["final_loss"] for state in chosen if state is not GONE]
        assert row.diverged == 7 - len(values)
        if len(values) > 1:
            quartiles = statistics.quantiles(values, n=4, method="inclusive")
            assert [row.lower, row.median, row.upper] == pytest.approx(quartiles, rel=1e-14)


def test_the_table_of_a_sweep_agrees_with_pandas():
    pd = pytest.importorskip("pandas")
    sweep = optrun.sweep(
        {
            "problem": "quadratic",
            "optimizer": {"name": "SGD"},
            "steps": 60,
            "sweep": {"parameters": {"optimizer.lr": [1e-3, 1e-2, 0.05, 3.0]}, "repeats": 5},
        }
    )
    rows = pd.read_csv(sweep.path / "summary.csv")
    good = rows[rows.status != "diverged"].groupby("optimizer.lr").final_loss
    gone = rows[rows.status == "diverged"].groupby("optimizer.lr").size()
    assert gone.sum() > 0
    quartiles = good.quantile([0.25, 0.5, 0.75]).unstack()
    for row in sweep.table():
        lr = row["setting"]["optimizer.lr"]
        assert row["diverged"] == gone.get(lr, 0)
        if lr in quartiles.index:
            wanted = quartiles.loc[lr].tolist()
            assert [row["lower"], row["median"], row["upper"]] == pytest.approx(wanted, rel=1e-14)
    medians = [row["median"] for row in sweep.table() if not row["diverged"]]
    assert medians == sorted(medians)


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
        monkeypatch.setattr(store, "events", lambda _: [event("plan", 0, **details)])
        with pytest.raises(StoreError, match="the plan of the sweep is damaged"):
            plan_of(store)
        whole = {"settings": [{}], "repeats": 3, "metric": {"name": "x", "goal": "minimize"}}
        monkeypatch.setattr(store, "events", lambda _: [event("plan", 0, **whole)])
        with pytest.raises(StoreError, match="the plan of the sweep is not one of 2 runs"):
            plan_of(store)
