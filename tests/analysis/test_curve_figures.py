"""Figures of the evaluations of runs, against plain sums over what was evaluated."""

import math
from importlib.util import find_spec

import numpy as np
import pytest

import optrun
from optrun.cli.ci.sweep_report import misses_of
from optrun.config import ConfigErrors, from_mapping
from optrun.config.goal import usual_goal
from optrun.errors import ConfigError
from optrun.registry import problems
from optrun.store import RunState, Status, Store
from optrun.sweeps.workers.task import Work
from optrun.training.config_notes import selected_on_test
from optrun.training.curve_figures import CurveFigure, reported_name, with_figure
from tests.registries import restore_after

SWEEP = {
    "problem": {"name": "mlp", "data": "wine", "hidden": [8], "validation_fraction": 0.2},
    "optimizer": {"name": "Adam"},
    "steps": 25,  # the last evaluation is nearer to the one before
    "dtype": "float64",
    "evaluate": {"every": 10},
    "sweep": {"parameters": {"optimizer.lr": [1e-3, 1e-2, 0.3, 1e300]}, "repeats": 3},
}


def ranked_by(metric, **more):
    return {**SWEEP, **more, "sweep": {**SWEEP["sweep"], "metric": metric}}


def best(steps, values):
    return min(values)


def last_two(steps, values):
    return (values[-1] + values[-2]) / 2


def area(steps, values):
    pieces = [(steps[i + 1] - steps[i]) * (values[i] + values[i + 1]) / 2 for i in range(len(values) - 1)]
    return sum(pieces) / (steps[-1] - steps[0])


FIGURES = {"best": best, "last_2": last_two, "area": area}


def test_the_figures_of_a_series_by_hand():
    rows = {
        "step": np.array([0, 10, 15]),
        "loss": np.array([8.0, 2.0, 4.0]),
        "score": np.array([1.0, 3.0, 3.0]),
    }
    wanted = {
        "best_loss": 2.0,
        "last_1_loss": 4.0,
        "last_2_loss": 3.0,
        "last_9_loss": 14 / 3,
        "area_loss": (10 * 5 + 5 * 3) / 15,
        "loss_at_best_score": 8.0,  # the lowest score, and its first place
        "score_at_best_loss": 3.0,
    }
    found = {name: CurveFigure.named(name).value(rows, lambda name: "minimize") for name in wanted}
    assert found == pytest.approx(wanted, rel=1e-15)
    assert CurveFigure.named("best_score").value(rows, lambda name: "maximize") == 3.0
    goals = {"loss": "minimize", "score": "maximize"}.get
    assert CurveFigure.named("loss_at_best_score").value(rows, goals) == 2.0
    assert CurveFigure.named("score_at_best_loss").value(rows, goals) == 3.0
    for name in ("loss", "last_loss", "last_0_loss", "last_-1_loss", "best_", "bestloss"):
        assert CurveFigure.named(name) is None


def test_what_is_not_finite_is_passed_over_by_the_best_alone():
    rows = {"step": np.arange(3), "loss": np.array([np.nan, 2.0, np.inf]), "gone": np.full(3, np.nan)}
    found = {
        name: CurveFigure.named(name).value(rows, lambda name: "minimize")
        for name in ("best_loss", "area_loss", "last_2_loss", "last_3_loss", "best_gone", "loss_at_best_gone")
    }
    assert found == {**dict.fromkeys(found), "best_loss": 2.0}


@pytest.mark.parametrize("kind", FIGURES)
def test_settings_are_ranked_by_a_figure_of_their_evaluations(kind, tmp_path):
    metric = f"{kind}_val_loss"
    sweep = optrun.sweep(ranked_by(metric), directory=tmp_path / "sweep")
    loaded = optrun.load_sweep(tmp_path / "sweep")
    in_memory = optrun.sweep(ranked_by(metric), save=False)
    wanted = {}
    for setting in range(4):
        runs = sweep.runs[3 * setting : 3 * setting + 3]
        values = [
            math.inf  # what diverged is the worst, however good it was before
            if run.status == "diverged"
            else FIGURES[kind](run.evaluations["step"].tolist(), run.evaluations["val_loss"].tolist())
            for run in runs
        ]
        wanted[setting * 3] = sorted(values)[1]
    assert list(wanted.values())[-1] == math.inf
    for found in (sweep, loaded, in_memory):
        rows = {row["first"]: row["median"] for row in found.table()}
        assert list(rows) == sorted(wanted, key=wanted.get)
        assert {
            first: math.inf if value is None else value for first, value in rows.items()
        } == pytest.approx(wanted, rel=1e-13)


def test_a_stored_sweep_is_ranked_anew_without_a_run(tmp_path):
    optrun.sweep(SWEEP, directory=tmp_path / "sweep")
    again = optrun.sweep(ranked_by("area_train_loss"), directory=tmp_path / "sweep")
    assert again.executed == 0
    figures = [
        area(run.evaluations["step"].tolist(), run.evaluations["train_loss"].tolist())
        for run in again.runs[:3]
    ]
    assert [state.derived["area_train_loss"] for state in again.states[:3]] == pytest.approx(figures)
    header = (tmp_path / "sweep/summary.csv").read_text().split("\n")[0]
    assert header.endswith(",area_train_loss")
    if find_spec("pandas"):
        assert again.to_pandas("runs")["area_train_loss"][:3].tolist() == pytest.approx(figures)


def test_what_is_selected_by_the_best_validation_is_reported_by_the_test_at_that_evaluation(tmp_path):
    sweep = optrun.sweep(ranked_by("best_val_loss"), directory=tmp_path / "sweep")
    found = optrun.compare(sweep, baseline="0.3")
    assert found.metric == "test_loss_at_best_val_loss"
    row = next(row for row in found.problems[0].rows if row.value == "0.01")
    values = [
        min(zip(*(run.evaluations[name].tolist() for name in ("val_loss", "test_loss")), strict=True))[1]
        for run in sweep.runs[3:6]
    ]
    assert row.median == pytest.approx(sorted(values)[1], rel=1e-15)
    said = optrun.compare(sweep, metric="best_test_accuracy")
    assert said.goal == "maximize"
    assert any("chooses the evaluation on the test data" in warning for warning in said.warnings)
    assert optrun.compare(optrun.sweep(ranked_by("last_2_val_loss"), save=False)).metric == "last_2_test_loss"
    with pytest.raises(ConfigError, match="Did you mean 'best_val_loss'"):
        optrun.compare(sweep, metric="best_val_los")


METRIC, OF_A_RUN = "sweep.metric.name", "expect.area_val_loss"


@pytest.mark.parametrize(
    ("metric", "changes", "place", "said"),
    [
        (
            "best_val_loss",
            {"evaluate": None},
            METRIC,
            "best_val_loss is a figure of evaluations during the run",
        ),
        ("best_val_los", {}, METRIC, "Did you mean 'best_val_loss'?"),
        (
            "time_to_target",
            {},
            METRIC,
            "time_to_target is a figure of runs that end at a loss: set stop.target",
        ),
        (
            "val_loss",
            {"expect": {"area_val_loss": {"max": 1}}, "evaluate": None},
            OF_A_RUN,
            "set evaluate.every",
        ),
        (
            "val_loss",
            {"expect": {"area_val_loss": {"max": 1}}, "problem": "rosenbrock"},
            OF_A_RUN,
            "no figure",
        ),
    ],
)
def test_a_figure_that_no_run_will_have_is_refused_at_its_place(metric, changes, place, said):
    with pytest.raises(ConfigErrors, match=said) as found:
        optrun.sweep(ranked_by(metric, **changes), save=False)
    assert f"{place}: " in str(found.value)


def test_a_sweep_without_evaluations_on_its_way_says_what_it_needs(tmp_path):
    sweep = optrun.sweep({**SWEEP, "evaluate": None}, directory=tmp_path / "sweep")
    with pytest.raises(
        ConfigError, match=r"no run has the metric best_val_loss\. It needs .* evaluate\.every"
    ):
        optrun.compare(sweep, metric="best_val_loss")
    with pytest.raises(ConfigError, match="no metric 'area_loss'.*It needs evaluations during the run"):
        sweep.sensitivity(metric="area_loss")


def test_a_run_is_expected_to_reach_a_figure_of_its_evaluations():
    config = {key: value for key, value in SWEEP.items() if key != "sweep"}
    run = optrun.run({**config, "expect": {"area_val_loss": {"max": 1e-3}}}, save=False)
    wanted = area(run.evaluations["step"].tolist(), run.evaluations["val_loss"].tolist())
    assert run.figures(["area_val_loss"])["area_val_loss"] == pytest.approx(wanted, rel=1e-13)
    with pytest.raises(ConfigError, match="time_to_target is a measured time, and no result"):
        optrun.run({**config, "expect": {"time_to_target": {"max": 1}}, "stop": {"target": 1}}, save=False)


TIMED = {
    "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 32},
    "optimizer": "SGD",
    "steps": 60,
    "stop": {"target": 0.5},
    "sweep": {"parameters": {"optimizer.lr": [1e-4, 0.05, 0.5]}, "repeats": 2},
}


def test_the_time_to_a_target_is_that_of_a_run_which_was_alone(tmp_path):
    timed = {**TIMED, "sweep": {**TIMED["sweep"], "metric": {"name": "time_to_target"}}}
    sweep = optrun.sweep(timed, directory=tmp_path / "alone")
    statuses = [str(state.status) for state in sweep.states]
    assert set(statuses) == {"completed", "target_reached"}
    with Store.open(tmp_path / "alone") as store:
        seconds = {event.run: event.details["seconds"] for event in store.events("target_reached")}
        whole = store.results_digest()
    for run, (state, status) in enumerate(zip(sweep.states, statuses, strict=True)):
        assert state.derived == {"time_to_target": seconds[run] if status == "target_reached" else None}
    assert all(0 < each < 60 for each in seconds.values())
    assert sweep.table()[-1]["diverged"] == 2  # it missed the target, which is the worst
    assert sweep.table()[0]["median"] > 0
    packed = optrun.sweep(TIMED, directory=tmp_path / "packed")
    with Store.open(tmp_path / "packed") as store:
        assert store.results_digest() == whole
        assert all(not event.details for event in store.events("target_reached"))
    with pytest.raises(ConfigError, match="timed in a sweep by it, where each is alone"):
        optrun.compare(packed, by="optimizer.lr", metric="time_to_target")
    found = optrun.compare(sweep, by="optimizer.lr")
    assert any("another execution has other times" in warning for warning in found.warnings)


def test_a_run_that_has_ever_shared_a_pack_has_no_time():
    config = {key: value for key, value in TIMED.items() if key != "sweep"}
    lanes = [from_mapping({**config, "optimizer": {"name": "SGD", "lr": lr}}) for lr in (0.5, 1e-4)]

    def seconds(chosen):
        """Return the time of the first lane after a pause, from which it goes on alone, and that of the pause."""
        paused = Work(chosen, until=2).execute(lambda: False)[0]
        (ended,) = Work(chosen[:1], checkpoints=[paused.checkpoint]).execute(lambda: False)
        assert str(ended.state.status) == "target_reached"
        return ended.state.seconds, paused.checkpoint.meta["seconds"]

    alone, before = seconds(lanes[:1])
    assert alone > before > 0
    assert seconds(lanes)[0] is None
    # A pack is narrowed when half of its lanes have ended.
    assert all(result.state.seconds is None for result in Work(lanes).execute(lambda: False))


def test_there_is_no_time_where_a_run_that_reached_the_target_was_not_timed():
    """What missed the target counts as the worst: it must not stand for a setting whose other runs have no time."""
    reached, missed = (RunState(status=status) for status in (Status.TARGET_REACHED, Status.COMPLETED))

    class Timed:
        def __init__(self, seconds):
            self.seconds = lambda: seconds

    states = [reached, reached, missed]
    found = with_figure(states, Timed({0: 0.5, 1: 0.25, 2: None}), "time_to_target", usual_goal)
    assert [state.derived["time_to_target"] for state in found] == [0.5, 0.25, None]
    for seconds in ({0: 0.5, 1: None}, {0: 0.5}, {}):
        assert with_figure(states, Timed(seconds), "time_to_target", usual_goal) == states


def test_a_target_that_no_run_has_is_no_metric(tmp_path):
    sweep = optrun.sweep({**TIMED, "stop": None}, directory=tmp_path / "sweep")
    for metric in ("steps_to_target", "time_to_target"):
        with pytest.raises(ConfigError, match=r"a figure of runs that end at a loss: stop\.target"):
            optrun.compare(sweep, by="optimizer.lr", metric=metric)
        with pytest.raises(ConfigError, match=r"a figure of runs that end at a loss: stop\.target"):
            sweep.sensitivity(metric=metric)
    run = optrun.run({name: of for name, of in TIMED.items() if name not in ("sweep", "stop")}, save=False)
    with pytest.raises(ConfigError, match=r"a figure of runs that end at a loss: stop\.target"):
        optrun.check(run, baseline=run, metric="time_to_target")


SCORED = '''
import numpy as np
from optrun.problems import Problem

class Scored(Problem):
    """A parabola with a score that is to be high.

    f(x) = ½ Σ xᵢ²
    """

    shapes = {"x": (2,)}

    def initial(self, seed):
        return {"x": np.ones(2)}

    def loss_and_grad(self, params, grads, batch):
        grads["x"][...] = params["x"]
        return self.evaluate(params)["loss"]

    def evaluate(self, params):
        loss = 0.5 * (params["x"] ** 2).sum(axis=1)
        return {"loss": loss, "train_loss": loss, "val_score": -loss, "test_loss": 9 - loss}
'''


@pytest.fixture
def scored(tmp_path, monkeypatch):
    restore_after(monkeypatch, problems)
    (tmp_path / "scored.py").write_text(SCORED)
    return [str(tmp_path / "scored.py")]


def test_a_score_of_a_plugin_has_the_goal_that_is_given(scored):
    base = {"problem": "scored", "optimizer": "SGD", "steps": 20, "evaluate": {"every": 5}}
    stop = {"metric": "val_score", "restore_best": True}
    runs = {
        goal: optrun.run({**base, "stop": {**stop, "goal": goal}}, plugins=scored, save=False)
        for goal in (None, "minimize", "maximize")
    }
    scores = {goal: run.evaluations["val_score"] for goal, run in runs.items()}
    assert [run.reason for run in runs.values()] == ["restored to step 0", "restored to step 0", ""]
    for goal, run in runs.items():
        best = max if goal == "maximize" else min
        figures = run.figures(["best_val_score", "test_loss_at_best_val_score"])
        assert figures["best_val_score"] == best(scores[goal])
        assert figures["test_loss_at_best_val_score"] == pytest.approx(9 + best(scores[goal]))
    with pytest.raises(ConfigErrors, match=r"stop\.goal: of which figure\? Give stop\.metric"):
        from_mapping({**base, "problem": "rosenbrock", "stop": {"goal": "maximize"}})


def test_all_figures_of_a_sweep_have_the_goal_that_it_gives_their_quantity(scored):
    sweep = optrun.sweep(
        {
            "problem": "scored",
            "optimizer": "SGD",
            "steps": 20,
            "evaluate": {"every": 5},
            "expect": {"best_val_score": {"min": -0.9}},
            "sweep": {
                "parameters": {"optimizer.lr": [0.1, 0.2]},
                "metric": {"name": "val_score", "goal": "maximize"},
            },
        },
        plugins=scored,
        save=False,
    )
    best = [max(run.evaluations["val_score"]) for run in sweep.runs]
    assert [run.figures(["best_val_score"])["best_val_score"] for run in sweep.runs] == best
    assert misses_of(sweep) == []
    for metric, wanted in {
        "best_val_score": best,
        "test_loss_at_best_val_score": [9 + each for each in best],
    }.items():
        (table,) = optrun.compare(sweep, by="optimizer.lr", metric=metric).problems
        assert {row.value: row.median for row in table.rows} == pytest.approx(
            dict(zip(("0.1", "0.2"), wanted, strict=True))
        )
        plan, states = sweep.ranked_by(metric)
        assert [state.figures[metric] for state in states] == pytest.approx(wanted)
        assert plan.goal == ("maximize" if metric == "best_val_score" else "minimize")


@pytest.mark.parametrize(
    ("metric", "reported"),
    [
        ("val_loss", "test_loss"),
        ("final_loss", "final_loss"),
        ("interval_loss", "interval_loss"),
        ("best_interval_loss", "best_interval_loss"),
        ("average_val_loss", "average_test_loss"),
        ("last_5_val_loss", "last_5_test_loss"),
        ("best_average_val_loss", "average_test_loss_at_best_average_val_loss"),
        ("val_accuracy_at_best_val_loss", "test_accuracy_at_best_val_loss"),
        ("train_loss_at_best_val_loss", "train_loss_at_best_val_loss"),
        ("best_train_loss", "best_train_loss"),
    ],
)
def test_the_figure_that_is_reported_is_of_the_test_data_at_the_selected_evaluation(metric, reported):
    assert reported_name(metric) == reported


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("test_loss", "val_loss"),
        ("average_test_loss", "average_val_loss"),
        ("best_test_accuracy", "best_val_accuracy"),
        ("area_average_test_loss", "area_average_val_loss"),
        ("last_5_test_loss", "last_5_val_loss"),
        ("val_loss_at_best_test_loss", "val_loss_at_best_val_loss"),
        ("best_val_loss", ""),
        ("latest_loss", ""),
    ],
)
def test_a_selection_on_the_test_data_is_noted_whatever_figure_it_is_of(metric, better):
    note = selected_on_test(metric, from_mapping({key: of for key, of in SWEEP.items() if key != "sweep"}))
    assert note == (
        f"note: settings are selected by {metric}, on the test data: give metric {better}" if better else ""
    )
