"""Checks against a target: medians, means and their tests, what diverged and what is missing."""

import math
import statistics
import sys
from dataclasses import replace

import numpy as np
import pytest

import optrun
from optrun.analysis.statistics import wilcoxon_above
from optrun.analysis.target import reaching
from optrun.errors import ConfigError
from optrun.store import Status
from tests.analysis.test_comparison import NOISE, swept

BEFORE = 1.0 + 0.1 * NOISE
ACCURACIES = np.array([0.951, 0.958, 0.949, 0.957, 0.955, 0.953, 0.96, 0.9535])


def reached(values, target=0.95, **options):
    of = swept({("a", "Adam", 1.0): values}, metric="test_accuracy", maximize=True)
    (line,) = reaching(of, target, **options).lines
    return line


def test_a_target_is_reached_by_the_median():
    line = reached(ACCURACIES)
    assert (line.outcome, line.n, line.p) == ("ok", 8, None)
    assert line.result == pytest.approx(np.median(ACCURACIES))
    assert line.difference == pytest.approx(np.median(ACCURACIES) - 0.95)
    assert reached(ACCURACIES, np.median(ACCURACIES)).outcome == "ok"
    assert reached(ACCURACIES, np.nextafter(np.median(ACCURACIES), 1)).outcome == "missed"


def test_a_loss_reaches_a_target_from_above():
    of = swept({("a", "Adam", 1.0): BEFORE})
    middle = float(np.median(BEFORE))
    assert reaching(of, middle).passed
    assert not reaching(of, np.nextafter(middle, 0)).passed
    assert reaching(of, middle + 1, p=0.05).passed
    assert not reaching(of, middle - 1, p=0.05).passed


@pytest.mark.parametrize(("level", "outcome"), [(0.01, "ok"), (0.001, "missed")])
def test_the_mean_is_tested_against_the_target(level, outcome):
    stats = pytest.importorskip("scipy.stats")
    line = reached(ACCURACIES, p=level)
    p = stats.ttest_1samp(ACCURACIES, 0.95, alternative="greater").pvalue
    assert (line.p, line.result) == pytest.approx((p, np.mean(ACCURACIES)))
    assert (line.test, line.outcome) == ("t-test", outcome)


def test_without_scipy_the_signed_rank_test_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    line = reached(ACCURACIES, p=0.05)
    assert (line.test, line.outcome) == ("signed-rank test", "ok")
    assert line.p == wilcoxon_above(ACCURACIES - 0.95)


def test_equal_values_have_no_t_test():
    assert (reached([0.96] * 6, p=0.05).test, reached([0.96] * 6, p=0.05).p) == ("signed-rank test", 0.5**6)
    assert reached([0.95] * 6, p=0.05).outcome == "missed"


def test_a_known_deviation_gives_the_normal_test():
    line = reached(ACCURACIES, p=0.001, sigma=0.004)
    z = (ACCURACIES.mean() - 0.95) * math.sqrt(8) / 0.004
    assert line.p == pytest.approx(1 - statistics.NormalDist().cdf(z))
    assert (line.test, line.outcome) == (
        "normal test",
        "ok" if z >= statistics.NormalDist().inv_cdf(0.999) else "missed",
    )
    assert line.outcome == "ok"
    assert reached(ACCURACIES, p=0.001, sigma=0.006).outcome == "missed"


def test_what_diverged_reaches_no_target_in_the_mean():
    values = [0.99, 0.99, 0.99, None]
    assert (reached(values).outcome, reached(values).note) == ("ok", "1 diverged")
    line = reached(values, p=0.5)
    assert (line.outcome, line.result, line.p) == ("missed", None, None)


def test_a_cell_without_results_misses_its_target():
    of = swept({("a", "Adam", 1.0): BEFORE, ("a", "SGD", 1.0): BEFORE})
    runs = [
        replace(run, status=Status.FAILED) if name == "SGD" or run.seed == 0 else run
        for run in of.runs
        for name in [run.config["optimizer"]["name"]]
    ]
    found = reaching(replace(of, runs=runs), 99.0)
    assert [(line.value, line.outcome, line.note) for line in found.lines] == [
        ("Adam", "missing", "1 run without a result"),
        ("SGD", "missing", "no run has a result"),
    ]
    assert found.verdict == "failed: the median of test_loss is missing in 2 of 2 cells"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": math.nan}, "target nan: it is a finite number"),
        ({"target": 1.0, "sigma": 1.0}, "goes with p"),
        ({"target": 1.0, "sigma": 0.0, "p": 0.1}, "a number > 0"),
        ({"target": 1.0, "p": 2.0}, "between 0 and 1"),
        ({"target": 1.0, "tolerance": "2%"}, "tolerance: it goes with a baseline"),
        ({}, "a baseline or a target"),
        ({"target": 1.0, "baseline": "x"}, "a baseline or a target"),
        ({"baseline": "x", "sigma": 1.0}, "sigma: it goes with a target"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    sweep = optrun.sweep(
        {"problem": "rosenbrock", "optimizer": "Adam", "steps": 2, "sweep": {"repeats": 2}}, save=False
    )
    with pytest.raises(ConfigError, match=message):
        optrun.check(sweep, **options)


def test_a_run_reaches_a_target_by_its_value():
    run = optrun.run({"problem": "rosenbrock", "optimizer": "Adam", "steps": 2}, save=False)
    loss = run.summary["final_loss"]
    assert optrun.check(run, target=loss).passed
    found = optrun.check(run, target=loss - 1)
    assert (found.passed, found.lines[0].result, found.lines[0].difference) == (False, loss, pytest.approx(1))
    assert optrun.check(run, target=loss + 3, p=0.01, sigma=1.0).passed
    with pytest.raises(ConfigError, match="p: a single run has no seeds"):
        optrun.check(run, target=loss, p=0.01)
