"""Checks against a baseline: pairs, tolerances, the test, what is missing, and what diverged."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

import optrun
from optrun.analysis.regression import Tolerance, regression
from optrun.analysis.statistics import wilcoxon_above
from optrun.errors import ConfigError, RunFailedError
from optrun.store import Status
from tests.analysis.test_comparison import NOISE, swept

BEFORE = 1.0 + 0.1 * NOISE
SHIFTS = np.array([0.03, 0.01, 0.04, -0.02, 0.05, 0.02, 0.06, -0.01, 0.08, 0.07])


def checked(after, before=BEFORE, **options):
    (line,) = regression(
        swept({("a", "Adam", 1.0): after}, label="new"),
        swept({("a", "Adam", 1.0): before}, label="old"),
        **options,
    ).lines
    return line


@pytest.mark.parametrize(
    "differences", [SHIFTS, [1.0, -1.0, 2.0, 2.0, 0.0, 3.0], [math.inf, 1.0, -2.0, 4.0, 5.0], [0.0, 0.0], []]
)
def test_the_one_sided_p_value_counts_all_signs(differences):
    given = np.array([each for each in differences if each != 0])
    ranks = np.array([np.mean(np.flatnonzero(np.sort(np.abs(given)) == abs(each))) + 1 for each in given])
    signs = (np.arange(2 ** len(given))[:, None] >> np.arange(len(given))) & 1
    sums = (signs * ranks).sum(axis=1)
    assert wilcoxon_above(differences) == pytest.approx(np.mean(sums >= ranks[given > 0].sum()))


def test_differences_of_equal_seeds_are_judged_by_their_median():
    line = checked(BEFORE + SHIFTS)
    assert line.outcome == "worse"
    assert line.difference == pytest.approx(np.median(SHIFTS))
    assert (line.baseline, line.result) == pytest.approx((np.median(BEFORE), np.median(BEFORE + SHIFTS)))
    assert line.n == 10


@pytest.mark.parametrize(
    ("tolerance", "outcome"), [(0.03, "worse"), ("0.036", "ok"), ("2.9%", "worse"), ("4.5%", "ok")]
)
def test_a_tolerance_is_absolute_or_a_part_of_the_baseline(tolerance, outcome):
    allowed = float(tolerance[:-1]) / 100 * BEFORE if str(tolerance).endswith("%") else float(tolerance)
    assert (np.median(SHIFTS - allowed) > 0) == (outcome == "worse")
    assert checked(BEFORE + SHIFTS, tolerance=tolerance).outcome == outcome


def test_without_a_tolerance_equal_bits_pass_and_the_next_number_fails():
    assert checked(BEFORE).outcome == "ok"
    assert checked(np.nextafter(BEFORE, 2)).outcome == "worse"
    assert checked(np.nextafter(BEFORE, 0)).outcome == "ok"


def test_a_difference_that_is_the_tolerance_but_for_rounding_is_not_worse():
    assert 0.97 - 0.95 > 0.02
    assert checked([0.97] * 3, [0.95] * 3, tolerance=0.02).outcome == "ok"
    assert checked([0.97 + 1e-9] * 3, [0.95] * 3, tolerance=0.02).outcome == "worse"


@pytest.mark.parametrize("level", [0.02, 0.001])
def test_with_p_the_test_must_agree(level):
    stats = pytest.importorskip("scipy.stats")
    line = checked(BEFORE + SHIFTS, tolerance=0.004, p=level)
    assert line.p == pytest.approx(stats.wilcoxon(SHIFTS - 0.004, alternative="greater").pvalue)
    assert line.outcome == ("worse" if line.p <= level else "ok")
    assert 0.001 < line.p < 0.02


def test_a_level_that_so_few_seeds_never_reach_is_refused():
    with pytest.raises(ConfigError, match=r"a: 4 seeds in common can never have p ≤ 0.05: give 5 seeds"):
        checked(BEFORE[:4] + 1, BEFORE[:4], p=0.05)
    assert checked(BEFORE[:5] + 1, BEFORE[:5], p=0.05).outcome == "worse"


@pytest.mark.parametrize("p", [0.0, 1.0, math.nan])
def test_a_level_that_is_no_probability_is_refused(p):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        checked(BEFORE, p=p)


@pytest.mark.parametrize("given", ["x", "-1", "nan", "1e999", "%", -0.5])
def test_a_tolerance_that_is_none_is_refused(given):
    with pytest.raises(ConfigError, match="a number ≥ 0 such as 0.02"):
        Tolerance.of(given)


def test_a_higher_accuracy_is_not_worse():
    def of(values, label):
        return swept({("a", "Adam", 1.0): values}, label=label, metric="test_accuracy", maximize=True)

    (line,) = regression(of(BEFORE + SHIFTS, "new"), of(BEFORE, "old")).lines
    assert (line.outcome, line.difference) == ("ok", pytest.approx(np.median(SHIFTS)))
    (line,) = regression(of(BEFORE - SHIFTS, "new"), of(BEFORE, "old")).lines
    assert (line.outcome, line.difference) == ("worse", pytest.approx(-np.median(SHIFTS)))


def test_what_diverges_newly_is_the_worst():
    line = checked([1.0, None, None], [1.0, 1.0, 1.0])
    assert (line.outcome, line.result, line.difference) == ("worse", None, None)
    assert line.note == "2 newly diverged"
    line = checked([1.0, 1.0, None], [1.0, 1.0, 1.0])
    assert (line.outcome, line.note) == ("ok", "1 newly diverged")
    assert checked([None] * 3, [None] * 3).outcome == "ok"
    assert checked([1.0] * 3, [None] * 3).outcome == "ok"


def test_a_cell_without_results_is_missing_and_one_that_the_baseline_lacks_is_new():
    old = swept({("a", "Adam", 1.0): BEFORE, ("a", "SGD", 1.0): BEFORE, ("b", "SGD", 1.0): BEFORE})
    new = swept({("a", "Adam", 1.0): BEFORE, ("a", "SGD", 1.0): BEFORE, ("a", "Muon", 1.0): BEFORE})
    runs = [
        replace(run, status=Status.FAILED) if run.config["optimizer"]["name"] == "SGD" else run
        for run in new.runs
    ]
    found = regression(replace(new, runs=runs), old)
    assert [(line.name, line.outcome) for line in found.lines] == [
        ("a Adam", "ok"),
        ("a SGD", "missing"),
        ("a Muon", "new"),
        ("b SGD", "missing"),
    ]
    assert not found.passed
    assert found.verdict == "failed: test_loss is missing in 2 of 3 cells"
    json.loads(json.dumps(found.to_dict(), allow_nan=False))


def test_a_run_that_failed_makes_its_cell_missing():
    new = swept({("a", "Adam", 1.0): BEFORE})
    runs = [replace(run, status=Status.FAILED) if run.seed == 3 else run for run in new.runs]
    (line,) = regression(replace(new, runs=runs), swept({("a", "Adam", 1.0): BEFORE})).lines
    assert (line.outcome, line.n, line.note) == ("missing", 9, "1 run without a result")


def test_fewer_seeds_are_compared_to_the_same_seeds_of_the_baseline():
    line = checked(BEFORE[:4] + 0.5)
    assert (line.outcome, line.n) == ("worse", 4)
    assert line.baseline == pytest.approx(np.median(BEFORE[:4]))


def test_the_best_setting_of_each_optimizer_is_compared_or_that_of_each_problem():
    old = swept({("a", "Adam", 1.0): BEFORE, ("a", "Adam", 2.0): BEFORE + 1, ("a", "SGD", 1.0): BEFORE + 2})
    new = swept({("a", "Adam", 1.0): BEFORE + 3, ("a", "Adam", 2.0): BEFORE, ("a", "SGD", 1.0): BEFORE + 3})
    assert [line.outcome for line in regression(new, old).lines] == ["ok", "worse"]
    assert [(line.value, line.outcome) for line in regression(new, old, by="optimizer.lr").lines] == [
        ("1", "worse"),
        ("2", "ok"),
    ]
    assert [line.outcome for line in regression(new, old, by="").lines] == ["ok"]


@pytest.mark.parametrize(("lr", "passed"), [(1e-4, False), (1e-3, True), (2e-3, True), (10.0, False)])
def test_two_runs_are_compared_whatever_their_seeds(lr, passed):
    config = {"problem": "rosenbrock", "optimizer": {"name": "SGD", "lr": 1e-3}, "steps": 20}
    old = optrun.run(config, save=False)
    new = optrun.run(config, overrides=[f"optimizer.lr={lr}", "seed=1"], save=False)
    losses = [run.summary["final_loss"] for run in (new, old)]
    assert (losses[0] is not None and losses[0] <= losses[1]) == passed
    found = optrun.check(new, baseline=old)
    assert found.passed == passed
    assert found.lines[0].result == (None if new.status == "diverged" else losses[0])


def test_a_run_and_a_sweep_are_not_compared_and_what_has_not_ended_is_not_judged():
    config = {"problem": "rosenbrock", "optimizer": "Adam", "steps": 3, "sweep": {"repeats": 2}}
    run = optrun.run({**config, "sweep": None}, save=False)
    sweep = optrun.sweep(config, save=False)
    with pytest.raises(ConfigError, match="a sweep to a sweep"):
        optrun.check(run, baseline=sweep)
    with pytest.raises(ConfigError, match="p: a single run has no seeds"):
        optrun.check(run, baseline=run, p=0.05)
    with pytest.raises(RunFailedError, match="1 run left to end"):
        optrun.check(optrun.sweep(config, save=False, limit=1), baseline=sweep)
    assert optrun.check(sweep, baseline=sweep).passed


def test_a_problem_has_its_name_whatever_else_the_other_sweep_has():
    def of_data(source, names):
        runs = [
            replace(run, config={**run.config, "problem": {"name": "a", "data": name}})
            for name, run in zip(np.repeat(names, 10).tolist(), source.runs, strict=True)
        ]
        return replace(source, runs=runs)

    old = of_data(swept({("a", "SGD", 1.0): BEFORE, ("b", "SGD", 1.0): BEFORE}), ["iris", "wine"])
    new = of_data(swept({("a", "SGD", 1.0): BEFORE}), ["wine"])
    assert [(line.name, line.outcome) for line in regression(new, old).lines] == [
        ("a data=iris", "missing"),
        ("a data=wine", "ok"),
    ]


def test_the_better_end_of_a_runs_figure_is_that_of_what_stops_it():
    run = optrun.run(
        {
            "problem": {"name": "softmax_regression", "data": "iris", "validation_fraction": 0.2},
            "optimizer": "SGD",
            "steps": 4,
            "evaluate": {"every": 2},
            "stop": {"metric": "val_loss", "goal": "maximize", "patience": 9},
        },
        save=False,
    )
    values = run.evaluations["val_loss"]
    assert values.max() > values.min()
    for metric in ("best_val_loss", "val_loss_at_best_val_loss"):
        found = optrun.check(run, target=values.max(), metric=metric)
        assert (found.goal, found.lines[0].result, found.passed) == ("maximize", values.max(), True)
    assert not optrun.check(run, baseline=run, metric="val_loss", tolerance=0).lines[0].difference
    assert optrun.check(run, target=values.min(), metric="best_train_loss").goal == "maximize"
