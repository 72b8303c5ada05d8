"""Settings in the order of a metric; what diverged or failed is counted and never wins."""

import statistics

import numpy as np
import pytest

import optrun
from optrun.analysis.leaderboard import SweepPlan, best_of, first_of_each, leaderboard, plan_of
from optrun.analysis.problem_labels import labels_of_settings
from optrun.errors import StoreError
from optrun.store import RunState, Status, Store
from optrun.store.attempts import event

PLAN = SweepPlan([{"lr": 1}, {"lr": 2}, {"lr": 3}, {"lr": 4}], 4, "final_loss", False)


def ended(value, status=Status.COMPLETED):
    return RunState(status=status, summary={} if value is None else {"final_loss": value})


GONE, FAILED, LEFT = (ended(None, status) for status in (Status.DIVERGED, Status.FAILED, Status.RUNNING))
STATES = [
    *(ended(5.0), ended(7.0), ended(6.0), ended(8.0)),
    *(ended(1.0), ended(1.0), GONE, GONE),
    *(GONE, GONE, FAILED, FAILED),
    *(ended(9.0), ended(2.0, Status.TARGET_REACHED), LEFT, LEFT),
]


def test_a_run_that_diverged_is_the_worst_and_one_that_failed_none_at_all():
    rows = leaderboard(PLAN, STATES)
    assert [row.setting["lr"] for row in rows] == [4, 1, 2, 3]
    assert [(row.median, row.lower, row.upper) for row in rows] == [
        (5.5, 3.75, 7.25),
        (6.5, 5.75, 7.25),
        (None, 1.0, None),
        (None, None, None),
    ]
    assert [(row.diverged, row.failed, row.waiting) for row in rows] == [
        (0, 0, 2),
        (0, 0, 0),
        (2, 0, 0),
        (2, 2, 0),
    ]
    assert [row.first for row in rows] == [12, 0, 4, 8]


def test_the_other_end_may_be_the_better_one():
    plan = SweepPlan(PLAN.settings, 4, "final_loss", True)
    assert [row.setting["lr"] for row in leaderboard(plan, STATES)] == [1, 4, 2, 3]


def test_settings_are_ranked_within_their_problem():
    settings = [{"problem.data": data, "lr": lr} for lr in (1, 2, 3) for data in ("wine", "iris")]
    plan = SweepPlan(settings, 1, "final_loss", False, problems=["wine", "iris"] * 3)
    # Every loss on wine, the first problem of the plan, is above every loss on iris.
    rows = leaderboard(plan, [ended(value) for value in (9.0, 0.2, 7.0, 0.3, 8.0, 0.1)])
    assert [(row.problem, row.setting["lr"]) for row in rows] == [
        *[("wine", lr) for lr in (2, 3, 1)],
        *[("iris", lr) for lr in (3, 1, 2)],
    ]
    assert [(row.problem, row.median) for row in best_of(rows)] == [("wine", 7.0), ("iris", 0.1)]
    assert first_of_each(rows, 1) == best_of(rows)
    # A problem none of whose settings has a finite median has no best one.
    gone = leaderboard(plan, [ended(0.3), GONE, ended(0.1), GONE, ended(0.2), GONE])
    assert [row.problem for row in best_of(gone)] == ["wine"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([{"problem.dim": 2}, {"problem.dim": 4}], ["quadratic dim=2", "quadratic dim=4"]),
        ([{"problem.batch_size": 2}, {"problem.batch_size": 4}], []),
        ([{"problem": {"name": "quadratic", "batch_size": size}} for size in (2, 4)], []),
        ([{"problem.dim": 2}, {}], []),
        ([{"problem": "quadratic"}, {"problem": {"name": "rosenbrock"}}], ["quadratic", "rosenbrock"]),
    ],
)
def test_problems_are_those_that_compare_tells_apart(values, labels):
    configs = []
    for setting in values:
        config = {"problem": {"name": "quadratic", "dim": 2}}
        for path, value in setting.items():
            if path == "problem":
                config["problem"] = {"name": value} if isinstance(value, str) else dict(value)
            else:
                config["problem"][path.removeprefix("problem.")] = value
        configs.append(config)
    assert labels_of_settings(values, configs.__getitem__) == labels


def test_a_figure_that_is_not_finite_counts_as_diverged():
    states = [RunState(status=Status.COMPLETED, summary={"final_loss": None}), *STATES[1:]]
    assert leaderboard(PLAN, states)[1].diverged == 1


def test_a_run_that_ended_before_there_was_a_figure_is_counted_and_its_setting_never_wins():
    states = [RunState(status=Status.TARGET_REACHED, summary={"loss": 0.0}), *[ended(0.0)] * 3, *STATES[4:]]
    standings = leaderboard(PLAN, states)
    assert [each.setting["lr"] for each in standings] == [4, 1, 2, 3]
    assert (standings[1].diverged, standings[1].lacking) == (0, 1)


@pytest.mark.parametrize("maximize", [False, True])
def test_quartiles_are_those_of_all_seeds_with_what_diverged_as_the_worst(maximize):
    """Against the standard library with a number beyond all others, which no quartile may be made of."""
    rng = np.random.default_rng(3)
    worst = -1e300 if maximize else 1e300
    values = np.where(rng.random(280) > 0.2, rng.lognormal(size=280), worst)
    states = [GONE if value == worst else ended(float(value)) for value in values]
    plan = SweepPlan([{"lr": lr} for lr in range(40)], 7, "final_loss", maximize)
    rows = leaderboard(plan, states)
    for row in rows:
        chosen = values[row.first : row.first + 7]
        assert row.diverged == np.count_nonzero(chosen == worst)
        for found, wanted in zip(
            (row.lower, row.median, row.upper),
            statistics.quantiles(chosen, n=4, method="inclusive"),
            strict=True,
        ):
            assert found == (None if abs(wanted) > 1e290 else pytest.approx(wanted, rel=1e-14))
    medians = [row.median for row in rows if row.median is not None]
    assert medians == sorted(medians, reverse=maximize)
    assert None in {row.lower for row in rows} | {row.upper for row in rows}


def test_steps_to_a_target_are_those_of_the_median_seed():
    def reached(steps):
        return RunState(status=Status.TARGET_REACHED, steps=steps, summary={"final_loss": 0.1})

    states = [reached(3), reached(9), reached(5), ended(7.0)]
    states += [reached(4), ended(7.0), GONE, GONE] + [ended(7.0)] * 8
    rows = {row.setting["lr"]: (row.reached, row.steps_to_target) for row in leaderboard(PLAN, states)}
    assert rows == {1: (3, 7.0), 2: (1, None), 3: (0, None), 4: (0, None)}


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
    whole = rows.assign(final_loss=rows.final_loss.where(rows.status != "diverged", np.inf))
    good = whole.groupby("optimizer.lr").final_loss
    gone = rows[rows.status == "diverged"].groupby("optimizer.lr").size()
    assert gone.sum() > 0
    quartiles = good.quantile([0.25, 0.5, 0.75]).unstack()
    for row in sweep.table():
        lr = row["setting"]["optimizer.lr"]
        assert row["diverged"] == gone.get(lr, 0)
        wanted = quartiles.loc[lr].tolist()
        if np.isfinite(wanted).all():
            assert [row["lower"], row["median"], row["upper"]] == pytest.approx(wanted, rel=1e-14)
    medians = [row["median"] for row in sweep.table() if row["median"] is not None]
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
