"""Statistics against the libraries of the papers that they are from: rliable, opda, scikit-posthocs, statsmodels."""

import numpy as np
import pytest

from optrun.analysis import statistics as ours
from optrun.analysis.ranking import ranking
from optrun.analysis.tuning import tuning_of
from tests.analysis.test_statistics import has_the_ends_of
from tests.plots.test_tuning import searched

pytestmark = pytest.mark.full

NAMES = ("SGD", "Adam", "Lion")
SEEDS, PROBLEMS = 9, 4


@pytest.fixture(scope="module")
def costs():
    """Costs `[names, seeds, problems]`, of which those of a problem are of its own scale; some are equal."""
    drawn = np.random.default_rng(7).normal(size=(len(NAMES), SEEDS, PROBLEMS))
    return np.round(drawn + np.arange(len(NAMES))[:, None, None] / 2, 1) * [1.0, 10.0, 0.1, 3.0] + [
        5.0,
        80.0,
        1.0,
        40.0,
    ]


@pytest.fixture
def rliable(monkeypatch):
    """The modules `metrics` and `library` of rliable, whose draws are the same every time."""
    metrics = pytest.importorskip("rliable.metrics")
    library = pytest.importorskip("rliable.library")
    monkeypatch.setattr(np.random, "choice", np.random.RandomState(0).choice)
    # rliable 1.2.0 gives its bootstraps an argument that arch 8 no longer has, and arch 7 needs an older pandas.
    for base in (library.arch_bs.IIDBootstrap, library.arch_bs.IndependentSamplesBootstrap):
        usual = base.__init__

        def started(self, *data, random_state=None, seed=None, usual=usual):
            usual(self, *data, seed=seed)

        monkeypatch.setattr(base, "__init__", started)
    return metrics, library


def test_scores_and_improvements_of_a_ranking_are_rliable_s(costs, rliable):
    metrics, library = rliable
    problems = [
        {name: dict(enumerate(of[:, place])) for name, of in zip(NAMES, costs, strict=True)}
        for place in range(PROBLEMS)
    ]
    found = {rank.value: rank for rank in ranking(problems, "SGD")}
    medians = np.median(costs, axis=1)
    best, worst = medians.min(axis=0), medians.max(axis=0)
    for name, of in zip(NAMES, costs, strict=True):
        rank = found[name]
        scores = np.clip((worst - of) / (worst - best), 0, 1)
        assert rank.score == pytest.approx(metrics.aggregate_iqm(scores), abs=1e-12)
        draws = library.StratifiedBootstrap(scores).apply(metrics.aggregate_iqm, 4_000)
        assert has_the_ends_of(ours.IntervalEstimate(rank.score, rank.low, rank.high), draws)
    for name, of in zip(NAMES[1:], costs[1:], strict=True):
        improvement = found[name].probability_of_improvement
        # The scores of rliable are better where they are greater.
        expected = metrics.probability_of_improvement(-of, -costs[0])
        assert improvement.value == pytest.approx(expected, abs=1e-12)
        draws = library.StratifiedIndependentBootstrap(of, costs[0]).apply(part_below, 4_000)
        assert has_the_ends_of(improvement, draws)


def part_below(own, others):
    """The probability of improvement, as rliable's takes a minute of tests of Mann and Whitney."""
    signs = np.sign(others[None] - own[:, None])
    return (1 + signs).mean() / 2


def test_a_performance_profile_is_rliable_s(costs, rliable):
    _, library = rliable
    ratios = ours.cost_ratios(costs.reshape(-1, PROBLEMS).T)
    # Its profile is the part strictly above τ, ours the part up to τ: no τ of these is a ratio.
    at = np.linspace(1, 4, 300) + 1e-7
    found = ours.performance_profile(ratios, at)
    for of, column in zip(found.T, ratios.T, strict=True):
        expected = library.score_distributions(-column[:, None], -at)
        np.testing.assert_allclose(of, expected, rtol=0, atol=1e-12)


# opda adds up 1 / n: half of 60 values are less than half of the distribution by rounding, and the median after one
# trial is the value behind. 64 values are added up exactly.
@pytest.mark.parametrize("count", [7, 64, 101])
@pytest.mark.parametrize("part", [0.25, 0.5, 0.75])
def test_the_best_after_some_trials_is_opda_s(count, part):
    nonparametric = pytest.importorskip("opda.nonparametric")
    values = np.round(np.random.default_rng(count).normal(size=count), 1)
    trials = np.arange(1, 2 * count)
    expected = nonparametric.EmpiricalDistribution(values).quantile_tuning_curve(trials, part, minimize=True)
    found = [ours.best_after(values, int(each), part) for each in trials]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("maximize", [False, True])
def test_a_tuning_curve_is_opda_s_and_its_band_lies_within_opda_s(maximize):
    """The band of opda holds for all trials at once, ours for each number of trials: it is narrower.

    The number of values is odd: of an even number we take the better middle one, opda the lower.
    """
    nonparametric = pytest.importorskip("opda.nonparametric")
    values = np.random.default_rng(3).normal(size=61)
    ((_, (curve,)),) = tuning_of([searched(values.tolist(), maximize=maximize)]).problems
    trials = np.arange(1, len(values) + 1)
    lower, middle, upper = (
        each.quantile_tuning_curve(trials, minimize=maximize is False)
        for each in nonparametric.EmpiricalDistribution.confidence_bands(
            values, ours.LEVEL, method="ld_equal_tailed"
        )
    )
    np.testing.assert_allclose(curve.best, middle, rtol=0, atol=1e-12)
    low, high = np.minimum(lower, upper), np.maximum(lower, upper)
    assert (low <= curve.low).all()
    assert (curve.high <= high).all()
    assert (high - low > curve.high - curve.low).mean() > 0.9


@pytest.mark.parametrize(("count", "problems"), [(2, 6), (3, 10), (5, 14), (9, 20)])
def test_a_critical_difference_has_the_p_value_of_scikit_posthocs(count, problems, monkeypatch):
    """At the p-value of Nemenyi's test of two values as level, their difference is the critical one."""
    posthocs = pytest.importorskip("scikit_posthocs")
    values = np.random.default_rng(count).normal(size=(problems, count)) + 0.6 * np.arange(count)
    p_values = posthocs.posthoc_nemenyi_friedman(values).to_numpy()
    ranks = ours.average_ranks(values)
    pairs = [(i, j) for i in range(count) for j in range(i) if 1e-6 < p_values[i, j] < 0.99]
    assert pairs
    for i, j in pairs:
        monkeypatch.setattr(ours, "SIGNIFICANCE", p_values[i, j])
        assert ours.critical_difference(count, problems) == pytest.approx(abs(ranks[i] - ranks[j]), abs=1e-9)


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_holm_s_correction_is_that_of_statsmodels(count):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    given = np.round(np.random.default_rng(count).random(count) ** 3, 2)
    expected = multitest.multipletests(given, method="holm")[1]
    assert ours.holm(given.tolist()) == pytest.approx(expected.tolist(), abs=1e-12)
