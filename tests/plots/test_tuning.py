"""Tuning curves: the best value after so many trials, from summary.csv by enumeration."""

import csv
import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.leaderboard import SweepPlan
from optrun.analysis.tuning import tuning_of
from optrun.api.pictures import Choice, picture_of
from optrun.plots.figure import FORMATS
from optrun.plots.look import Look
from optrun.store import RunRecord, Status
from tests.cli.looking import call

__all__ = ["call"]

SEARCH = {
    "problem": {"name": "quadratic", "noise": 0.5},
    "optimizer": "SGD",
    "steps": 30,
    "sweep": {
        "method": "random",
        "trials": 5,
        "repeats": 3,
        "parameters": {"optimizer.lr": {"loguniform": [1e-4, 10]}},
    },
}


def medians_of(path):
    """Return the median of each setting, read from summary.csv."""
    settings = {}
    for row in csv.DictReader(Path(path, "summary.csv").read_text(encoding="utf-8").splitlines()):
        loss = float(row["final_loss"]) if row["status"] == "completed" else math.inf
        settings.setdefault(row["optimizer.lr"], []).append(loss)
    return [np.median(each) for each in settings.values()]


def lower_median(values):
    return sorted(values)[(len(values) - 1) // 2]


def test_the_line_is_the_median_of_the_best_of_all_ways_to_draw_trials():
    pytest.importorskip("matplotlib")
    sweep = optrun.sweep(SEARCH, directory="runs/search")
    medians = medians_of(sweep.path)
    assert len(medians) == 5
    assert math.inf in medians
    figure = picture_of([sweep], "tuning", Choice(), Look())
    line = figure.axes[0].get_lines()[0]
    assert line.get_xdata().tolist() == [1, 2, 3, 4, 5]
    expected = [
        lower_median([min(drawn) for drawn in product(medians, repeat=trials)]) for trials in range(1, 6)
    ]
    assert expected[0] == math.inf  # for which there is no point
    np.testing.assert_allclose(line.get_ydata(), [math.nan, *expected[1:]], rtol=1e-9)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["SGD"]


def searched(values, *, maximize=False, method="random"):
    settings = [{"optimizer.lr": 1.0 * index} for index in range(len(values))]
    runs = [
        RunRecord(
            run=run,
            seed=0,
            config={"problem": {"name": "a"}, "optimizer": {"name": "SGD"}},
            status=Status.DIVERGED if value is None else Status.COMPLETED,
            summary={"accuracy": value},
        )
        for run, value in enumerate(values)
    ]
    return ComparedSweep("x", SweepPlan(settings, 1, "accuracy", maximize, method=method), runs)


@pytest.mark.parametrize("maximize", [False, True])
def test_the_band_is_that_of_the_bootstrap(maximize):
    """The rank of an order statistic of a resample has a binomial distribution."""
    count = 40
    values = [*np.random.default_rng(5).permutation(count - 1).astype(float), None]
    found = tuning_of([searched(values, maximize=maximize)])
    ((problem, (curve,)),) = found.problems
    assert (problem, curve.value, found.maximize) == ("a", "SGD", maximize)
    rank_of = (lambda value: count - 2 - value) if maximize else (lambda value: value)
    better, worse = (curve.high, curve.low) if maximize else (curve.low, curve.high)
    for trials in (1, 3, 10, 40):
        rank = next(i for i in range(1, count + 1) if 1 - (1 - i / count) ** trials >= 0.5)
        assert rank_of(curve.best[trials - 1]) == rank - 1
        below = [
            sum(
                math.comb(count, m) * (j / count) ** m * (1 - j / count) ** (count - m)
                for m in range(rank, count + 1)
            )
            for j in range(1, count + 1)
        ]
        for ends, level in ((better, 0.025), (worse, 0.975)):
            exact = next(j for j, part in enumerate(below) if part >= level)
            assert abs(rank_of(ends[trials - 1]) - exact) <= 1


def test_trials_that_diverged_are_the_worst_and_few_have_no_band():
    ((_, (curve,)),) = tuning_of([searched([None, None, 1.0, 2.0, None, None])]).problems
    assert curve.best.tolist() == [math.inf, 2.0, 2.0, 1.0, 1.0, 1.0]
    assert curve.high[0] == math.inf
    ((_, (few,)),) = tuning_of([searched([3.0, 1.0])]).problems
    assert np.isnan(few.low).all()
    assert few.best.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("trials", [1, 20])
def test_the_command_writes_every_format(trials, format, call):
    pytest.importorskip("matplotlib")
    optrun.sweep({**SEARCH, "sweep": {**SEARCH["sweep"], "trials": trials}}, directory="runs/a")
    options = ("--by", "optimizer.name", "-o", f"a.{format}")
    assert call("plot", "runs/a", "--kind", "tuning", *options) == (0, f"a.{format}\n", "")
    assert Path(f"a.{format}").stat().st_size > 1000


@pytest.mark.parametrize("method", ["grid", "sobol", "halving", "optuna", ""])
def test_other_methods_are_refused(method):
    with pytest.raises(optrun.errors.ConfigError, match="needs a random search.*the method of this sweep is"):
        tuning_of([searched([1.0, 2.0], method=method)])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-m", "final_los"), "Did you mean 'final_loss'"),
        (("--over", "lr"), "--over is for --kind sensitivity or heat, not for tuning"),
        (("--by", "optimizer.nme"), "optimizer.nme: no run of the sweep has it"),
    ],
)
def test_what_cannot_be_drawn_is_said(arguments, said, call):
    optrun.sweep(SEARCH, directory="runs/a")
    done = call("plot", "runs/a", "-k", "tuning", "-o", "a.png", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
