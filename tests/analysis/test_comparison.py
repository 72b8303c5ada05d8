"""Sweeps compared: selection, pairing, tests, ranking and words."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.compare import comparison_of
from optrun.analysis.comparison_words import noise_in_words
from optrun.analysis.leaderboard import SweepPlan
from optrun.analysis.tuning import tuning_of
from optrun.api.comparisons import compared_sweeps
from optrun.errors import ConfigError
from optrun.store import RunRecord, Status

GENERATOR = np.random.default_rng(1)
NOISE = GENERATOR.normal(size=10)


def swept(values, *, label="x", metric="test_loss", maximize=False, method="grid", confirmed=None):
    """Return a sweep of settings (problem, optimizer, lr), each with its values, None for a run that diverged."""
    settings = [
        {"problem.name": problem, "optimizer.name": name, "optimizer.lr": lr} for problem, name, lr in values
    ]
    runs = [
        RunRecord(
            run=0,
            seed=seed,
            config={"problem": {"name": problem}, "optimizer": {"name": name, "lr": lr}, "steps": 10},
            status=Status.DIVERGED if value is None else Status.COMPLETED,
            summary={metric: value},
        )
        for (problem, name, lr), of in values.items()
        for seed, value in enumerate(of)
    ]
    repeats = len(next(iter(values.values())))
    return ComparedSweep(
        label, SweepPlan(settings, repeats, metric, maximize, method=method), runs, confirmed
    )


def rows_of(found, problem="a"):
    (table,) = (each for each in found.problems if each.problem == problem)
    return {row.value: row for row in table.rows}


def test_differences_are_those_of_equal_seeds():
    stats = pytest.importorskip("scipy.stats")
    noise = NOISE * 10  # far more than the difference
    found = comparison_of(
        [swept({("a", "SGD", 1.0): noise, ("a", "Adam", 1.0): noise - 0.1 + NOISE**2 / 100})]
    )
    row = rows_of(found)["SGD"]
    differences = 0.1 - NOISE**2 / 100
    assert row.difference.median == pytest.approx(np.median(differences))
    assert row.difference.p == pytest.approx(stats.wilcoxon(differences).pvalue)
    assert row.separable
    assert not found.is_better(row)
    assert row.difference.n == 10
    assert "SGD is worse than Adam by" in found.verdict


def test_the_p_values_are_corrected_for_all_comparisons():
    stats = pytest.importorskip("scipy.stats")

    def shifted(by):
        return NOISE + by + GENERATOR.normal(scale=0.5, size=10)

    values = {
        (problem, name, 1.0): shifted(by) for problem in "ab" for by, name in enumerate(["Adam", "B", "C"])
    }
    found = comparison_of([swept(values)])
    raw, ours = [], []
    for problem in "ab":
        for name in ("B", "C"):
            raw.append(stats.wilcoxon(values[problem, name, 1.0] - values[problem, "Adam", 1.0]).pvalue)
            ours.append(rows_of(found, problem)[name].difference.p)
    order = np.argsort(raw)
    expected = np.maximum.accumulate([raw[each] * (4 - place) for place, each in enumerate(order)])
    assert [ours[each] for each in order] == pytest.approx(np.minimum(expected, 1.0))


def test_what_diverged_is_the_worst_and_has_no_number():
    found = comparison_of(
        [swept({("a", "Adam", 1.0): [1.0] * 10, ("a", "SGD", 1.0): [0.0] * 3 + [None] * 7})]
    )
    row = rows_of(found)["SGD"]
    assert (row.median, row.iqm, row.diverged) == (None, None, 7)
    assert found.problems[0].rows[0].value == "Adam"
    json.loads(json.dumps(found.to_dict(), allow_nan=False))


def test_combinations_are_compared_by_paths_with_commas_between():
    values = {("a", name, lr): NOISE + lr + (name == "B") for name in ("Adam", "B") for lr in (1.0, 2.0)}
    found = comparison_of([swept(values)], by="optimizer.name, optimizer.lr", baseline="adam,2")
    assert [row.value for row in found.problems[0].rows][:1] == ["Adam, 1"]
    assert {row.value: row.trials for row in found.problems[0].rows} == dict.fromkeys(
        ("Adam, 1", "Adam, 2", "B, 1", "B, 2"), 1
    )
    assert found.baseline == "Adam, 2"
    assert rows_of(found)["Adam, 1"].difference.median == pytest.approx(-1.0)
    assert comparison_of([swept(values)], by="optimizer.lr,optimizer.name").baseline == "1, Adam"


def test_numbers_that_were_drawn_are_not_compared():
    values = {("a", "Adam", lr): NOISE + lr for lr in (0.1, 0.4, 0.5)}
    assert len(rows_of(comparison_of([swept(values)], by="optimizer.lr"))) == 3
    with pytest.raises(ConfigError, match="optimizer.lr was drawn: each of its 3 values has one setting"):
        comparison_of([swept(values, method="random")], by="optimizer.lr")
    with pytest.raises(ConfigError, match="was drawn"):
        comparison_of([swept(values, method="sobol")], by="optimizer.name,optimizer.lr")
    twice = values | {("a", "B", lr): NOISE for lr in (0.1, 0.4, 0.5)}
    assert len(rows_of(comparison_of([swept(twice, method="random")], by="optimizer.lr"))) == 3


@pytest.mark.parametrize(("steps", "warned"), [((7, 10), True), ((10, 10), False)])
def test_runs_that_were_stopped_earlier_are_named(steps, warned):
    source = swept({("a", "Adam", 1.0): NOISE, ("a", "B", 1.0): NOISE})
    runs = [
        replace(run, steps=3, status=Status.DIVERGED) if index == 0 else replace(run, steps=steps[index % 2])
        for index, run in enumerate(source.runs)
    ]
    found = comparison_of([replace(source, runs=runs)])
    assert rows_of(found)["B"].steps == steps
    said = "a: the runs were stopped after 7 to 10 steps, and test_loss is that of the end of each"
    assert (said in found.warnings) is warned


@pytest.mark.parametrize("path", ["seeds.init", "seeds.data", "seeds"])
def test_a_setting_is_not_chosen_for_its_seed(path):
    seeds = [{"init": 0}, {"init": 1}] if path == "seeds" else [0, 1]
    config = {
        "problem": "rosenbrock",
        "steps": 2,
        "sweep": {"parameters": {path: seeds, "optimizer.name": ["Adam", "SGD"]}},
    }
    found = optrun.sweep(config, save=False)
    with pytest.raises(ConfigError, match=rf"{path} was swept, .* the luckiest seed: sweep.repeats repeats"):
        optrun.compare(found)
    if path != "seeds":  # where the seeds are what is compared, none is chosen
        assert len(optrun.compare(found, by=f"optimizer.name,{path}").problems[0].rows) == 4


@pytest.mark.parametrize(
    ("metric", "restores", "part"),
    [
        ("last_5_test_loss", False, "the end of each"),
        ("last_5_test_loss", True, "the end of each"),
        ("area_test_loss", True, "the steps of each"),
        ("test_loss", True, None),
        ("best_train_loss", False, None),
        ("test_loss_at_best_val_loss", False, None),
        ("steps_to_target", False, None),
        ("time_to_target", False, None),
    ],
)
def test_a_figure_is_said_to_be_of_the_end_where_it_is(metric, restores, part):
    source = swept({("a", "Adam", 1.0): NOISE, ("a", "B", 1.0): NOISE}, metric=metric)
    stop = {"target": 1.0, "restore_best": restores}
    runs = [
        replace(run, steps=7 + index % 4, config={**run.config, "stop": stop}, derived={metric: 1.0 + index})
        for index, run in enumerate(source.runs)
    ]
    said = [each for each in comparison_of([replace(source, runs=runs)]).warnings if "were stopped" in each]
    assert said == [f"a: the runs were stopped after 7 to 10 steps, and {metric} is that of {part}"] * bool(
        part
    )


def test_a_metric_may_be_maximized():
    values = {("a", "Adam", 1.0): NOISE, ("a", "SGD", 1.0): NOISE + 1, ("a", "SGD", 2.0): NOISE - 5}
    found = comparison_of([swept(values, metric="test_accuracy", maximize=True)])
    best = found.problems[0].rows[0]
    assert (best.value, best.setting["optimizer.lr"]) == ("SGD", 1.0)
    assert best.low <= best.median <= best.high
    assert best.difference.median == pytest.approx(1.0)
    assert found.is_better(best)


def test_a_confirmation_is_reported_in_place_of_the_seeds_of_the_selection():
    lucky = {("a", "Adam", 1.0): NOISE, ("a", "Adam", 2.0): NOISE - 1, ("a", "SGD", 1.0): NOISE}
    fresh = {("a", "Adam", 2.0): NOISE + 3, ("a", "SGD", 1.0): NOISE}
    found = comparison_of([swept(lucky, confirmed=swept(fresh))])
    row = rows_of(found)["Adam"]
    assert row.confirmed
    assert row.setting["optimizer.lr"] == 2.0
    assert row.median == pytest.approx(np.median(NOISE + 3))
    assert not any("fresh seeds" in each for each in found.warnings)
    assert any("fresh seeds" in each for each in comparison_of([swept(lucky)]).warnings)


def test_settings_are_selected_on_validation_data_and_reported_on_test_data():
    source = swept(
        {("a", "Adam", 1.0): NOISE, ("a", "Adam", 2.0): NOISE - 1, ("a", "SGD", 1.0): NOISE},
        metric="val_loss",
    )
    runs = [
        replace(run, summary={**run.summary, "test_loss": -run.summary["val_loss"]}) for run in source.runs
    ]
    found = comparison_of([replace(source, runs=runs)])
    assert (found.metric, found.goal) == ("test_loss", "minimize")
    row = rows_of(found)["Adam"]
    assert row.setting["optimizer.lr"] == 2.0
    assert row.median == pytest.approx(np.median(1 - NOISE))
    assert "selected by val_loss" in found.verdict
    assert rows_of(comparison_of([replace(source, runs=runs)], metric="val_loss"))["Adam"].median < 0


def test_the_ranking_is_over_problems():
    values = {
        (problem, name, 1.0): 1.0 + by + 0.01 * NOISE
        for problem in "abc"
        for by, name in enumerate(["Adam", "B", "C"])
    }
    values["c", "B", 1.0], values["c", "C", 1.0] = values["c", "C", 1.0], values["c", "B", 1.0]
    found = comparison_of([swept(values)])
    ranks = {rank.value: rank for rank in found.ranking}
    assert [rank.value for rank in found.ranking] == ["Adam", "B", "C"]
    assert ranks["B"].average_rank == pytest.approx(7 / 3)
    assert ranks["Adam"].score == pytest.approx(1.0, abs=0.01)
    assert ranks["Adam"].profile_score == pytest.approx(1.0)
    assert ranks["B"].profile_score == pytest.approx(np.mean([2, 2, 1]) / 3, abs=0.02)
    assert ranks["B"].probability_of_improvement.value == 0.0
    assert ranks["Adam"].probability_of_improvement is None


def test_sweeps_are_compared_with_each_other():
    old = swept({("a", "Adam", 1.0): NOISE, ("a", "Adam", 2.0): NOISE + 5}, label="old")
    new = swept({("a", "Adam", 1.0): NOISE - 1 + NOISE / 10}, label="new")
    found = comparison_of([old, new], baseline="old")
    assert found.by == "sweep"
    assert rows_of(found)["new"].difference.median == pytest.approx(np.median(NOISE / 10) - 1)


@pytest.mark.parametrize(
    ("sources", "options", "said"),
    [
        (
            [swept({("a", "Adam", 1.0): [1.0]})],
            {"by": "optimizer.name"},
            "optimizer.name is Adam in all runs",
        ),
        (
            [swept({("a", "Adam", 1.0): [1.0], ("a", "SGD", 1.0): [1.0]})],
            {"baseline": "Adan"},
            "Did you mean 'Adam'",
        ),
        (
            [swept({("a", "Adam", 1.0): [1.0], ("a", "SGD", 1.0): [1.0]})],
            {"metric": "test_los"},
            "'test_loss'",
        ),
        (
            [
                swept({("a", "Adam", 1.0): [1.0]}),
                swept({("a", "SGD", 1.0): [1.0]}, label="y", metric="final_loss"),
            ],
            {},
            "choose one by --metric",
        ),
        (
            [
                swept({("a", "Adam", 1.0): [1.0], ("a", "SGD", 1.0): [1.0]}),
                swept({("a", "SGD", 1.0): [1.0]}, label="y"),
            ],
            {},
            "x and y both have SGD on a: use --by sweep",
        ),
    ],
)
def test_what_cannot_be_compared_is_said(sources, options, said):
    with pytest.raises(ConfigError, match=said):
        comparison_of(sources, **options)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({("a", "Adam", 1.0): [1.0, 1.0], ("a", "SGD", 1.0): [2.0, 2.0]}, "the seed changes nothing on a"),
        ({("a", "Adam", 1.0): [1.0], ("a", "SGD", 1.0): [2.0]}, "1 seed: an interval needs 6"),
        (
            {("a", "Adam", 1.0): NOISE[:4], ("a", "SGD", 1.0): NOISE[4:8]},
            "4 seeds: an interval needs 6",
        ),
        ({("a", "Adam", 1.0): NOISE, ("a", "SGD", 1.0): [None] * 10}, "SGD diverged with all seeds on a"),
        (
            {("a", "Adam", lr): NOISE + lr for lr in (1.0, 2.0, 3.0)} | {("a", "SGD", 1.0): NOISE},
            "among the outermost that were tried (◇): optimizer.lr of Adam on a",
        ),
        (
            {("a", str(name), 1.0): NOISE + name for name in range(27)},
            "10 seeds: the test needs 11 to tell a difference from chance among 26 comparisons",
        ),
        (
            {("a", "Adam", 1.0): NOISE, ("a", "SGD", 1.0): NOISE, ("b", "SGD", 1.0): NOISE},
            "b: no result of the baseline Adam: nothing is compared with it there",
        ),
        (
            {
                (problem, name, 1.0): [0.0] * 3 if (problem, name) == ("b", "SGD") else NOISE[:3] + 5
                for problem in "ab"
                for name in ("Adam", "SGD")
            },
            "needs ratios to the best and so positive medians: 0 (SGD on b)",
        ),
        (
            {("a", "Adam", lr): NOISE + lr for lr in (1.0, 2.0)} | {("a", "SGD", 1.0): NOISE},
            "selected by test_loss",
        ),
    ],
)
def test_what_may_mislead_is_said(values, said):
    warnings = comparison_of([swept(values)]).warnings
    assert any(said in each for each in warnings), warnings


@pytest.mark.parametrize(("rates", "metric"), [((1.0,), "test_loss"), ((1.0, 2.0), "val_loss")])
def test_where_nothing_is_chosen_or_by_other_data_no_selection_by_the_test_is_said(rates, metric):
    values = {("a", name, lr): NOISE + lr for name in ("Adam", "SGD") for lr in rates}
    warnings = comparison_of([swept(values, metric=metric)]).warnings
    assert not any("selected by" in each for each in warnings), warnings


@pytest.mark.parametrize(
    ("lacking", "ranked", "said"),
    [
        ([], 3, None),
        ([("b", "SGD")], 2, "over values with a result on every problem; left out: SGD (no result on b)."),
        ([("b", "Adam")], 2, "The baseline Adam is left out, so that there is no P(improvement over Adam)."),
        (
            [("b", "SGD"), ("a", "Adam")],
            0,
            "no ranking, since fewer than two values have a result on every problem: SGD (no result on b), Adam (no re",
        ),
    ],
)
def test_the_verdict_says_what_is_in_no_ranking(lacking, ranked, said):
    values = {
        (problem, name, 1.0): NOISE
        for problem in "ab"
        for name in ("Lion", "SGD", "Adam")
        if (problem, name) not in lacking
    }
    found = comparison_of([swept(values)], baseline="Adam")
    assert len(found.ranking) == ranked
    assert "Over 2 problems" in found.verdict
    assert said in found.verdict if said else "rank" not in found.verdict
    # The verdict names what the ranking leaves out; the warnings do not say it again.
    assert not any("ranking" in each or "SGD" in each for each in found.warnings)


def test_a_random_search_tells_what_few_trials_would_have_found():
    medians = [5.0, 1.0, 4.0, 2.0, 3.0]
    values = {("a", "Adam", lr): [of] * 3 for lr, of in enumerate(medians)}
    values |= {("a", "SGD", 1.0): [0.0] * 3}
    found = comparison_of([swept(values, method="random")])
    assert rows_of(found)["Adam"].after == {1: 3.0, 4: 1.0}
    assert rows_of(comparison_of([swept(values)]))["Adam"].after == {}


@pytest.mark.parametrize("is_saved", [False, True])
def test_a_draw_that_is_crossed_is_one_trial(is_saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    idle = {"name": "ConstantLR", "factor": 1.0, "total_iters": 5}
    parameters = {"optimizer.lr": {"loguniform": [1e-3, 0.1]}, "optimizer.name": ["Adam", "SGD"]}
    config = {
        "problem": "rosenbrock",
        "steps": 3,
        "sweep": {"method": "random", "trials": 5, "parameters": parameters, "cross": ["optimizer.name"]},
    }
    alone = optrun.sweep(config, directory="alone" if is_saved else None, save=is_saved)
    of_crossed = {
        "parameters": {**parameters, "scheduler": [None, idle]},
        "cross": ["optimizer.name", "scheduler"],
    }
    crossed = optrun.sweep(
        {**config, "sweep": {**config["sweep"], **of_crossed}},
        directory="crossed" if is_saved else None,
        save=is_saved,
    )
    rows = [{row.value: row for row in optrun.compare(each).problems[0].rows} for each in (alone, crossed)]
    assert [rows[1][name].trials for name in ("Adam", "SGD")] == [10, 10]
    assert all(rows[1][name].after == rows[0][name].after != {} for name in ("Adam", "SGD"))
    # A band of the bootstrap needs six draws.
    curves = tuning_of(compared_sweeps([crossed]))
    assert all(len(each.best) == 5 and np.isnan(each.low).all() for each in curves.problems[0][1])


@pytest.mark.full
def test_equal_optimizers_are_rarely_called_different():
    """400 comparisons of an optimizer with itself: runs of a noisy quadratic, half of them under another name."""
    comparisons, n = 400, 8
    config = {
        "problem": {"name": "quadratic", "noise": 0.5},
        "optimizer": {"name": "SGD", "lr": 1e-3},
        "steps": 20,
        "sweep": {"repeats": 2 * comparisons * n},
    }
    with optrun.sweep(config, save=False) as runs:
        losses = np.array([state.summary["final_loss"] for state in runs.states]).reshape(comparisons, 2, n)
    called = sum(
        bool(
            rows_of(comparison_of([swept({("a", "Adam", 1.0): first, ("a", "SGD", 1.0): second})]))[
                "SGD"
            ].separable
        )
        for first, second in losses
    )
    # 5 % and three standard deviations of a count.
    assert called <= 0.05 * comparisons + 3 * math.sqrt(0.05 * 0.95 * comparisons)
    moved = losses[:, 1] + 3 * losses.std()
    found = sum(
        bool(
            rows_of(comparison_of([swept({("a", "Adam", 1.0): first, ("a", "SGD", 1.0): second})]))[
                "SGD"
            ].separable
        )
        for first, second in zip(losses[:100, 0], moved[:100], strict=True)
    )
    assert found >= 80


def test_problems_of_one_name_in_different_sweeps_are_not_one_problem():
    iris, wine = (
        replace(each, runs=[replace(run, config=run.config | {"problem": of}) for run in each.runs])
        for each, of in (
            (swept({("a", "Adam", 1.0): NOISE}, label="x"), {"name": "a", "data": "iris"}),
            (swept({("a", "SGD", 1.0): NOISE + 1}, label="y"), {"name": "a", "data": "wine"}),
        )
    )
    with pytest.raises(ConfigError, match="no problem has two values of optimizer.name"):
        comparison_of([iris, wine])


def test_steps_to_a_target_are_the_worst_where_it_is_missed():
    config = {
        "problem": {"name": "quadratic", "noise": 0.1},
        "steps": 60,
        "stop": {"target": 1.0},
        "sweep": {
            "parameters": {"optimizer.name": ["SGD", "Adam"], "optimizer.lr": [1e-5, 1e-2]},
            "repeats": 6,
            "metric": {"name": "steps_to_target"},
        },
    }
    with optrun.sweep(config, save=False) as sweep:
        losses = [run.curves["loss"] for run in sweep.runs]
        first = [int(np.argmax(loss <= 1.0)) if (loss <= 1.0).any() else math.inf for loss in losses]
        medians = np.median(np.array(first).reshape(4, 6), axis=1)
        assert [each.median for each in sorted(sweep.standings(), key=lambda each: each.first)] == [
            None if math.isinf(value) else value for value in medians
        ]
        found = optrun.compare(sweep)
    assert {row.value: row.median for row in found.problems[0].rows} == {
        "SGD": medians[1],
        "Adam": None if math.isinf(medians[3]) else medians[3],
    }
    assert not math.isinf(medians[1])


def test_sweeps_without_a_seed_in_common_are_not_tested():
    old = swept({("a", "Adam", 1.0): NOISE}, label="old")
    new = swept({("a", "Adam", 1.0): NOISE - 1}, label="new")
    new = replace(new, runs=[replace(run, seed=run.seed + 10) for run in new.runs])
    found = comparison_of([old, new])
    assert rows_of(found)["new"].difference is None
    assert any("new and old have no seed in common on a: not tested" in each for each in found.warnings)


def test_mean_ranks_over_five_problems_have_a_critical_difference():
    pytest.importorskip("scipy")
    values = {
        (problem, name, 1.0): NOISE + by for problem in "abcde" for by, name in enumerate(["Adam", "B", "C"])
    }
    found = comparison_of([swept(values)])
    assert found.critical_difference == pytest.approx(2.343 * math.sqrt(12 / 30), abs=1e-3)
    assert (
        comparison_of([swept({key: of for key, of in values.items() if key[0] != "e"})]).critical_difference
        is None
    )


def test_better_is_what_the_ranks_say_and_a_median_that_says_otherwise_is_not_separable():
    worse_by_ranks = np.array([0.0] * 11 + [1.0] * 9)
    found = comparison_of([swept({("a", "Adam", 1.0): [0.0] * 20, ("a", "SGD", 1.0): worse_by_ranks})])
    row = rows_of(found)["SGD"]
    assert (row.separable, row.difference.better, row.difference.median) == (True, False, 0.0)
    assert "by 0" not in found.verdict
    contrary = np.array(
        [-0.012 - 1e-4 * each for each in range(34)] + [1.1 + 1e-3 * each for each in range(26)]
    )
    row = rows_of(comparison_of([swept({("a", "Adam", 1.0): [0.0] * 60, ("a", "SGD", 1.0): contrary})]))[
        "SGD"
    ]
    assert (row.difference.p < 0.05, row.separable, row.difference.better) == (True, False, False)


def test_two_values_that_no_seed_changes_are_not_tested_beside_one_that_it_does():
    values = {("a", "Adam", 1.0): [1.0] * 10, ("a", "SGD", 1.0): [2.0] * 10, ("a", "B", 1.0): NOISE}
    found = comparison_of([swept(values)])
    row = rows_of(found)["SGD"]
    assert (row.separable, row.difference.p, row.low, row.constant) == (None, None, None, True)
    assert rows_of(found)["B"].difference.p is not None
    assert any("the seed changes nothing for SGD on a" in each for each in found.warnings)
    assert found.problems[0].noise == pytest.approx(np.std(NOISE, ddof=1))


TIES = "all seeds have the same test_accuracy: Adam on a, 0.9"


@pytest.mark.parametrize(
    ("adam", "losses", "said"),
    [
        ([0.9] * 8, NOISE[:8], {TIES}),
        ([0.9] * 8, [0.1] * 8, {"the seed changes nothing for Adam on a: its runs are one observation"}),
        ([None] * 8, NOISE[:8], {"Adam diverged with all seeds on a"}),
        ([None] * 8, [0.1] * 8, {"Adam diverged with all seeds on a"}),
    ],
)
def test_only_runs_that_are_the_same_are_one_observation(adam, losses, said):
    """Metrics that merely tie, such as all diverged, are as many observations as there are seeds."""
    values = {("a", "Adam", 1.0): adam, ("a", "SGD", 1.0): 0.5 + NOISE[:8] / 100}
    source = swept(values, metric="test_accuracy", maximize=True)
    runs = [
        replace(run, summary={**run.summary, "final_loss": float([*losses, *NOISE[:8]][index])})
        for index, run in enumerate(source.runs)
    ]
    found = comparison_of([replace(source, runs=runs)])
    told = {each for each in found.warnings if "seed" in each and "split" not in each}
    assert told == said


def test_the_noise_of_a_problem_is_that_of_its_steadiest_value_to_its_least_steady_one():
    found = comparison_of([swept({("a", "Adam", 1.0): NOISE, ("a", "SGD", 1.0): 3 * NOISE})])
    table = found.problems[0]
    deviation = np.std(NOISE, ddof=1)
    assert table.noise_range == pytest.approx((deviation, 3 * deviation))
    assert noise_in_words(table) == f"{deviation:.3g} to {3 * deviation:.3g}"
    assert noise_in_words(replace(table, noise_range=(0.1, 0.1))) == "0.1"


def test_values_that_tie_within_each_value_are_tested():
    values = {("a", "Adam", 1.0): [0.9] * 8, ("a", "SGD", 1.0): [0.5] * 8}
    source = swept(values, metric="steps_to_target")
    runs = [
        replace(
            run, status=Status.TARGET_REACHED, steps=40 + 20 * (index >= 8), summary={"final_loss": index}
        )
        for index, run in enumerate(source.runs)
    ]
    looks = {"stop": {"metric": "val_loss", "target": 0.1}, "evaluate": {"every": 5}}
    runs = [replace(run, config=run.config | looks) for run in runs]
    found = comparison_of([replace(source, runs=runs)])
    assert rows_of(found)["SGD"].difference.p == pytest.approx(2 / 2**8)
    assert (
        "all seeds have the same steps_to_target (evaluations every 5 steps): Adam on a, 40; SGD on a, 60"
        in found.warnings
    )


def test_what_was_pruned_is_not_tested():
    source = swept({("a", "Adam", 1.0): NOISE, ("a", "SGD", 1.0): NOISE - 3})
    runs = [
        replace(run, status=Status.PRUNED, steps=2) if run.config["optimizer"]["name"] == "Adam" else run
        for run in source.runs
    ]
    found = comparison_of([replace(source, runs=runs)])
    assert rows_of(found)["SGD"].difference is None
    assert any("Adam was pruned at step 2 on a: it is not tested" in each for each in found.warnings)


def test_a_confirmation_that_has_not_ended_is_not_reported():
    fresh = swept({("a", "Adam", 1.0): NOISE, ("a", "SGD", 1.0): NOISE})
    runs = [replace(run, status=Status.WAITING, summary={}) if run.seed > 4 else run for run in fresh.runs]
    source = swept({("a", "Adam", 1.0): NOISE + 1, ("a", "SGD", 1.0): NOISE + 2})
    found = comparison_of([replace(source, confirmed=replace(fresh, runs=runs))])
    assert rows_of(found)["Adam"].median == pytest.approx(np.median(NOISE + 1))
    assert any("10 runs of the confirmation have not ended" in each for each in found.warnings)


CHOICE = {("a", "Adam", 1.0): NOISE, ("a", "Adam", 2.0): NOISE + 1, ("a", "SGD", 1.0): NOISE}


def begun(fresh, ended):
    """Return a confirmation of which so many runs have ended."""
    source = swept(fresh)
    runs = [replace(run, status=Status.WAITING) if n >= ended else run for n, run in enumerate(source.runs)]
    return replace(source, runs=runs)


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({}, "sweep.confirm runs the best ones on fresh seeds"),
        ({"confirms": True}, "the confirmation on fresh seeds has not begun: optrun resume 'runs/a b'"),
        *(
            (
                {"confirmed": begun({("a", "Adam", 1.0): NOISE, ("a", "SGD", 1.0): NOISE}, ended)},
                f"{20 - ended} of 20 runs of the confirmation are left, and none of it is reported before: "
                "optrun resume 'runs/a b'",
            )
            for ended in (0, 10)
        ),
        (
            {"confirmed": swept({("a", "Adam", 1.0): NOISE})},
            "the confirmation lacks settings that are compared: give sweep.confirm.by=optimizer.name",
        ),
    ],
)
def test_what_would_report_fresh_seeds_is_what_the_cause_says(changes, cure):
    found = comparison_of([replace(swept(CHOICE), path=Path("runs/a b"), **changes)])
    (said,) = (each for each in found.warnings if "the seeds that are reported" in each)
    assert said.endswith(f"more trials: {cure}")
    assert not any("confirmation have not ended" in each for each in found.warnings)


def test_what_has_too_few_results_says_how_many_runs_are_left():
    source = replace(begun(CHOICE, 15), path=Path("runs/x"))
    with pytest.raises(
        ConfigError, match="Adam in all runs with a result; 15 runs left: optrun resume runs/x"
    ):
        comparison_of([source])


@pytest.mark.parametrize("seeds", [1, 6])
def test_one_seed_has_one_split_anyway(seeds):
    source = swept({("a", "Adam", 1.0): NOISE[:seeds], ("a", "SGD", 1.0): NOISE[:seeds]})
    runs = [
        replace(run, config=run.config | {"problem": {"name": "a", "split_seed": 0}}) for run in source.runs
    ]
    said = any("share one split" in each for each in comparison_of([replace(source, runs=runs)]).warnings)
    assert said == (seeds > 1)


def test_of_two_sweeps_the_one_without_a_confirmation_is_named():
    one = swept(CHOICE, label="x", confirmed=swept({("a", "Adam", 1.0): NOISE, ("a", "SGD", 1.0): NOISE}))
    other = swept({("a", "B", 1.0): NOISE, ("a", "B", 2.0): NOISE}, label="y")
    assert any(
        "sweep.confirm runs the best ones of y" in each for each in comparison_of([one, other]).warnings
    )


def test_a_maximized_figure_of_validation_is_one_of_the_test_data_too():
    source = swept({("a", "Adam", 1.0): NOISE, ("a", "SGD", 1.0): NOISE + 1}, metric="val_f1", maximize=True)
    runs = [replace(run, summary={**run.summary, "test_f1": run.summary["val_f1"]}) for run in source.runs]
    found = comparison_of([replace(source, runs=runs)])
    assert (found.metric, found.goal) == ("test_f1", "maximize")
    assert found.problems[0].rows[0].value == "SGD"


def test_failed_runs_and_ties_are_told():
    source = swept({("a", "Adam", 1.0): [1.0] * 8, ("a", "SGD", 1.0): [1.0] * 8})
    runs = [
        replace(run, status=Status.FAILED)
        if run.seed < 2 and run.config["optimizer"]["name"] == "SGD"
        else run
        for run in source.runs
    ]
    found = comparison_of([replace(source, runs=runs)])
    assert "Adam and SGD have the best median" in found.verdict
    assert any("SGD: 2 of 8 runs have no test_loss on a" in each for each in found.warnings)


def over_two(of_problem):
    """Return a comparison with Adam, 1 with noise on both problems; the others are so much more on each."""
    values = {(problem, "Adam", 1.0): 1 + NOISE / 100 for problem in "ab"}
    for name, shifts in of_problem.items():
        values |= {
            (problem, name, 1.0): 1 + shift + NOISE[::-1] / 100 * (shift != 0) + NOISE / 100 * (shift == 0)
            for problem, shift in zip("ab", shifts, strict=True)
        }
    return comparison_of([swept(values)])


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (
            {"SGD": (-0.5, -0.3)},
            r"Overall, SGD is better than Adam: test_loss is (39|40|41) % lower, in the median",
        ),
        (
            {"SGD": (0.5, 0.3), "B": (1, 1)},
            r"Overall, Adam is the best: SGD and B are worse, test_loss is (39|40|41) % and (99|100|101) % higher",
        ),
        (
            {"SGD": (0.5, -0.5)},
            r"Overall, no optimizer is better than Adam beyond chance: the best scores are",
        ),
        (
            {"SGD": (0.5, -0.5), "B": (1, 1)},
            r"Overall, no optimizer is better than Adam beyond chance, and B is worse: the best scores are",
        ),
        (
            {"SGD": (0, 0)},
            r"Adam and SGD tie for the best median on 2\. .* Overall, no optimizer is better than Adam beyond",
        ),
        (
            {"SGD": (0, -1), "B": (0, 1)},
            r"the best median is that of SGD on 1; Adam, SGD and B tie on 1\. .*Overall, SGD is better than Adam",
        ),
    ],
)
def test_over_problems_the_verdict_ends_with_who_is_better_overall(others, said):
    found = over_two(others).verdict
    assert re.search(said, found), found
    assert found.endswith(found[found.index("Overall, ") :])


def test_of_many_values_the_first_ones_are_named_and_the_others_counted():
    found = over_two({f"B{n}": (n / 10, n / 10) for n in range(-4, 5) if n})
    said = found.verdict
    assert said.count("P(improvement over Adam)") == 3
    assert "Of 5 more, 1 are beyond chance better on a problem, 4 worse" in said
    one = comparison_of(
        [
            swept(
                {("a", "Adam", 1.0): NOISE}
                | {("a", f"B{n}", 1.0): NOISE + n + NOISE**2 / 99 for n in range(1, 9)}
            )
        ]
    )
    assert one.verdict.count("worse than Adam") == 3
    assert "5 more are worse" in one.verdict


def test_numbers_that_are_compared_are_as_short_as_in_tables():
    values = {("a", "Adam", lr): NOISE + lr for lr in (0.0316227766017, 0.1)}
    found = comparison_of([swept(values)], by="optimizer.lr", baseline="0.0316227766017")
    assert [row.value for row in found.problems[0].rows] == ["0.0316228", "0.1"]
    assert found.baseline == "0.0316228"
    assert "0.0316228 has the best median" in found.verdict
    assert not any("no result of" in each for each in found.warnings)
    close = {("a", "Adam", lr): NOISE + lr for lr in (0.12345671, 0.12345672)}
    rows = comparison_of([swept(close)], by="optimizer.lr").problems[0].rows
    assert {row.value for row in rows} == {"0.12345671", "0.12345672"}


def test_a_value_whose_rivals_diverged_has_the_whole_score():
    values = {(problem, "Adam", 1.0): 1 + 0.01 * NOISE for problem in "ab"}
    values |= {(problem, "SGD", 1.0): [None] * 10 for problem in "ab"}
    ranks = {rank.value: rank.score for rank in comparison_of([swept(values)]).ranking}
    assert ranks == {"Adam": 1.0, "SGD": 0.0}
