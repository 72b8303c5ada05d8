"""The noise of a metric over seeds."""

import numpy as np
import pytest

import optrun
from optrun.analysis.noise import noise_of
from optrun.analysis.statistics import wilcoxon
from optrun.config.sweep.model import Metric
from optrun.errors import ConfigError
from optrun.store import RunState, Status

CONFIG = {
    "problem": {"name": "quadratic", "noise": 0.5},
    "optimizer": {"name": "SGD", "lr": 1e-3},
    "steps": 20,
    "dtype": "float64",
}


def states_of(values):
    return [
        RunState(status=Status.DIVERGED if value is None else Status.COMPLETED, summary={"final_loss": value})
        for value in values
    ]


def test_the_spread_is_that_of_the_runs():
    found = optrun.noise(CONFIG, seeds=6)
    losses = [optrun.run({**CONFIG, "seed": seed}, save=False).summary["final_loss"] for seed in range(6)]
    assert (found.n, found.least, found.greatest) == (6, min(losses), max(losses))
    assert found.deviation == pytest.approx(np.std(losses, ddof=1))
    assert found.median == pytest.approx(np.median(losses))


@pytest.mark.full
def test_what_it_names_is_found_in_four_of_five_comparisons():
    """Runs of the project itself, half of them worse by what 10 seeds can show."""
    comparisons, n = 300, 10
    shift = optrun.noise(CONFIG, seeds=400).detectable[n]
    runs = optrun.sweep({**CONFIG, "seed": 1000, "sweep": {"repeats": 2 * comparisons * n}}, save=False)
    losses = np.array([state.summary["final_loss"] for state in runs.states]).reshape(comparisons, 2, n)
    found = np.mean([wilcoxon(worse + shift - own) <= 0.05 for own, worse in losses])
    assert 0.75 <= found <= 0.88


def test_what_diverged_is_counted_apart():
    found = noise_of(states_of([1.0, None, 2.0]), Metric())
    assert (found.n, found.diverged, found.median) == (3, 1, 1.5)
    assert noise_of(states_of([None, None]), Metric()).median is None


def test_seeds_that_change_nothing_are_said_to():
    found = noise_of(states_of([1.0] * 8), Metric())
    assert found.same
    assert found.same_runs
    assert set(found.detectable.values()) == {None}


def test_runs_that_tie_are_not_said_to_be_the_same():
    def ended(loss, status=Status.TARGET_REACHED):
        return RunState(status=status, steps=40, summary={"final_loss": loss})

    metric = Metric(name="steps_to_target")
    found = noise_of([ended(0.1), ended(0.2)], metric)
    assert (found.same, found.same_runs) == (True, False)
    assert not noise_of([ended(0.1), ended(0.2), ended(None, Status.DIVERGED)], metric).same


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"seeds": 1}, ConfigError, "two seeds or more"),
        ({"metric": "final_los"}, ConfigError, "Did you mean 'final_loss'"),
        ({"overrides": ["optimizer.lr=1e-3,1e-2"]}, ConfigError, "one setting, not of 2"),
    ],
)
def test_what_has_no_noise_is_refused(options, error, said):
    with pytest.raises(error, match=said):
        optrun.noise(CONFIG, **options)
