"""Statistics against SciPy, and against worked examples."""

import math

import numpy as np
import pytest

from optrun.analysis import statistics as ours

scipy_stats = pytest.importorskip("scipy.stats")
GENERATOR = np.random.default_rng(5)
SAMPLES = [GENERATOR.normal(size=n) for n in (3, 4, 7, 10, 25)]
TIED = [np.round(sample * 2) for sample in SAMPLES]


@pytest.mark.parametrize("values", [*SAMPLES, *TIED], ids=len)
def test_the_interquartile_mean_is_the_trimmed_mean(values):
    assert ours.interquartile_mean(values) == pytest.approx(scipy_stats.trim_mean(values, 0.25), abs=1e-12)


@pytest.mark.parametrize("values", SAMPLES, ids=len)
def test_wilcoxon_is_exact(values):
    expected = scipy_stats.wilcoxon(values, method="exact").pvalue
    assert ours.wilcoxon(values) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("values", [*TIED, np.array([1.0, 1.0, -1.0, 2.0, 0.0, 2.0, math.inf])], ids=len)
def test_wilcoxon_with_ties_counts_all_signs(values):
    given = values[values != 0]
    finite = np.where(np.isinf(given), 1e6, given)
    expected = scipy_stats.permutation_test(
        (finite,),
        lambda x: np.sum(scipy_stats.rankdata(np.abs(x)) * (x > 0)),
        permutation_type="samples",
        n_resamples=np.inf if len(given) <= 12 else 20_000,
        rng=1,
    ).pvalue
    assert ours.wilcoxon(values) == pytest.approx(expected, abs=1e-12 if len(given) <= 12 else 0.02)


def test_no_difference_is_none():
    assert ours.wilcoxon([0.0, 0.0]) == 1.0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5], [0.5]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([], []),
    ],
)
def test_holm_multiplies_and_stays_monotonic(given, expected):
    assert ours.holm(given) == pytest.approx(expected)


def has_the_ends_of(found, draws):
    """Say whether the ends of an interval are quantiles of the draws, within four deviations of what drawing makes."""
    draws = np.ravel(draws)
    tail = 0.025
    slack = 4 * math.sqrt(tail * (1 - tail) * (1 / ours.DRAWS + 1 / len(draws)))
    return all(
        (draws < end).mean() - slack <= level <= (draws <= end).mean() + slack
        for end, level in ((found.low, tail), (found.high, 1 - tail))
    )


@pytest.mark.parametrize("values", SAMPLES[2:], ids=len)
@pytest.mark.parametrize("name", ["median", "interquartile_mean"])
def test_the_bootstrap_is_scipy_s_within_what_drawing_makes(values, name):
    statistic = getattr(ours, name)
    drawn = scipy_stats.bootstrap(
        (values,),
        lambda x, axis: statistic(np.moveaxis(x, axis, -1)),
        method="percentile",
        n_resamples=20_000,
        rng=3,
    )
    assert has_the_ends_of(ours.bootstrap(values, statistic), drawn.bootstrap_distribution)


def test_five_values_have_no_interval():
    assert ours.bootstrap([1.0, 3.0, 2.0, 5.0, 4.0], ours.median) == ours.IntervalEstimate(3.0, None, None)


def test_what_diverged_is_the_worst():
    found = ours.bootstrap([1.0, 2.0, math.inf, 3.0, math.inf, 2.5, math.inf], ours.median)
    assert found.value == 3.0
    assert found.high == math.inf


def test_the_probability_of_improvement_is_that_of_mann_and_whitney():
    own, others = [SAMPLES[3], SAMPLES[2]], [SAMPLES[4], TIED[3]]
    pairs = zip(own, others, strict=True)
    expected = np.mean([scipy_stats.mannwhitneyu(y, x).statistic / len(x) / len(y) for x, y in pairs])
    found = ours.improvement_probability(own, others)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.low < found.value < found.high


def test_ranks_are_scipy_s():
    costs = np.array([[1.0, 2.0, 2.0], [3.0, 1.0, math.inf]])
    expected = np.mean([scipy_stats.rankdata(row) for row in costs], axis=0)
    assert ours.average_ranks(costs) == pytest.approx(expected)


never = math.inf
STEPS_TO_TARGET = [
    [8371, 10206, 44503, never, never, 67706, never, 27247, 112742],
    [never, 7518, 58199, never, never, never, never, 24948, 112372],
    [never, 10645, 59524, never, never, never, never, 33386, 109080],
    [never, 8801, 40724, never, 151926, never, never, never, never],
    [7716, never, 39220, never, never, never, never, 7711, 97224],
    [8286, 9924, 58784, never, 152461, never, never, never, never],
    [9145, 6648, 47039, never, never, never, never, 20879, 118600],
    [never, 9220, 53029, never, never, never, never, 32738, never],
    [10346, 10599, never, never, never, never, 90588, 15853, 133517],
    [never, 7160, 57242, never, 175889, never, never, 27341, 122198],
    [9005, 8750, 68640, never, 164206, never, never, 27457, never],
    [7951, 12431, never, never, never, 83184, 78669, 28449, 73222],
    [never, 9342, 61209, never, never, never, never, never, never],
    [never, 10140, 59550, never, never, never, never, never, never],
]
"""What submissions to AlgoPerf need for each of its workloads, and the scores that are published for that:
mlcommons/submissions_algorithms, artifacts/leaderboard_v2, time_to_targets_steps.csv and scores_steps.csv."""
PUBLISHED_SCORES = [
    *(0.5258136924803595, 0.31986531986531946, 0.2732884399551064, 0.31986531986531946, 0.4326599326599318),
    *(0.40404040404040326, 0.45454545454545503, 0.19528619528619492, 0.4461279461279469, 0.4090909090909087),
    *(0.41245791245791213, 0.5252525252525259, 0.18630751964085265, 0.1829405162738493),
]


def test_profiles_and_scores_are_those_that_algoperf_published():
    ratios = ours.cost_ratios(np.array(STEPS_TO_TARGET).T)
    # The published scores are areas of trapezoids between 100 points; the score is the area itself.
    for points, expected, tolerance in (
        (100, PUBLISHED_SCORES, 1e-12),
        (30_001, ours.profile_score(ratios), 1e-4),
    ):
        at = np.linspace(1, 4, points)
        areas = np.trapezoid(ours.performance_profile(ratios, at), at, axis=0) / 3
        assert areas == pytest.approx(expected, abs=tolerance)
    assert ours.profile_score(np.ones((4, 2))) == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("n", [6, 10, 20])
def test_a_detectable_difference_is_detected_in_four_of_five_cases(n):
    known = GENERATOR.standard_normal(4000)
    shift = ours.detectable_difference(known, n)
    fresh = GENERATOR.standard_normal((1000, n)) + shift
    shown = np.mean([ours.wilcoxon(row) <= 0.05 for row in fresh])
    assert shown == pytest.approx(0.8, abs=0.05)


def test_few_pairs_detect_nothing():
    assert ours.detectable_difference(SAMPLES[4], 5) is None
    assert ours.detectable_difference([1.0, 1.0, 1.0], 10) is None


@pytest.mark.parametrize(("count", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (7, 2.949), (10, 3.164)])
def test_the_critical_difference_has_the_quantiles_of_demsar(count, quantile):
    expected = quantile * math.sqrt(count * (count + 1) / (6 * 14))
    assert ours.critical_difference(count, 14) == pytest.approx(expected, abs=1e-3)


def test_many_pairs_are_approximated():
    values = GENERATOR.normal(0.1, size=400)
    expected = scipy_stats.wilcoxon(values, method="approx", correction=False).pvalue
    assert ours.wilcoxon(values) == pytest.approx(expected, abs=1e-12)
    assert ours.wilcoxon_above(values) == pytest.approx(
        scipy_stats.wilcoxon(values, method="approx", correction=False, alternative="greater").pvalue,
        abs=1e-12,
    )
