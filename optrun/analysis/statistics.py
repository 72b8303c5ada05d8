"""Statistics of few values per group: robust means, bootstrap intervals, paired tests. Lower values are better.

A value may be +∞, that of a run that diverged. Draws are seeded, so that equal values give equal intervals.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from optrun.arrays import Array

LEVEL = 0.95
"""The level of all intervals."""

DRAWS = 2_000
"""The number of bootstrap samples."""

SIGNIFICANCE = 0.05
"""The level below which a p-value counts."""

POWER = 0.8
"""How often a difference that can be detected is shown."""

LEAST_SEEDS = 6
"""Fewer pairs have no p-value below SIGNIFICANCE, 2 / 2⁵, and the range of fewer values is no interval of LEVEL."""

MOST_EXACT = 200
"""Of more pairs the signed-rank test is approximated."""

MOST_AT_ONCE = 4_000_000
"""The most comparisons of runs at a time, which bounds the memory of a bootstrap."""


@dataclass(frozen=True)
class IntervalEstimate:
    """A statistic and its interval, None if there are too few values for one."""

    value: float
    low: float | None
    high: float | None


def interquartile_mean(values: Array) -> Array:
    """Return the mean of the middle half of the values along the last axis.

        IQM = mean of x₍ₖ₊₁₎ … x₍ₙ₋ₖ₎,  k = ⌊n / 4⌋

    Agarwal et al. (2021), arXiv 2108.13264.
    """
    ordered = np.sort(values, axis=-1)
    cut = ordered.shape[-1] // 4
    return np.asarray(ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1))


def median(values: Array) -> Array:
    """Return the median along the last axis; with values of both infinities in the middle it is NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.median(values, axis=-1))


def bootstrap(values: Sequence[float], statistic: Callable[[Array], Array]) -> IntervalEstimate:
    """Return a statistic of independent values with its percentile bootstrap interval (Efron 1979)."""
    return stratified_bootstrap([values], lambda strata: statistic(strata[0]))


def stratified_bootstrap(
    strata: Sequence[Sequence[float]], statistic: Callable[[list[Array]], Array]
) -> IntervalEstimate:
    """Return a statistic of groups of values with its percentile bootstrap interval, each group drawn from itself.

    ``statistic`` takes arrays `[draws, n]` of the groups and returns `[draws]`.
    """
    groups = [np.asarray(stratum, np.float64) for stratum in strata]
    value = float(statistic([group[None] for group in groups])[0])
    # A single value stands for seeds that change nothing.
    sizes = [len(group) for group in groups if len(group) > 1]
    if not sizes or min(sizes) < LEAST_SEEDS:
        return IntervalEstimate(value, None, None)
    generator = np.random.default_rng(0)
    drawn = [group[generator.integers(len(group), size=(DRAWS, len(group)))] for group in groups]
    low, high = interval(statistic(drawn))
    # An interval of one point would claim more than so few values can show.
    return IntervalEstimate(value, low, high) if low < high else IntervalEstimate(value, None, None)


def interval(draws: Array) -> tuple[float, float]:
    """Return the range that holds LEVEL of the draws."""
    outside = (1 - LEVEL) / 2
    # Between a finite value and an infinite one nothing can be interpolated.
    low, high = np.quantile(draws, [outside, 1 - outside], method="inverted_cdf")
    return float(low), float(high)


@dataclass(frozen=True)
class SignedRank:
    """The signed-rank test of differences: its p-value, and whether they tend to be above (1) or below (-1) zero."""

    p: float
    direction: int


def signed_rank(differences: Sequence[float]) -> SignedRank:
    """Return the two-sided signed-rank test that differences are symmetric about 0.

        W = Σ rank|dᵢ| over dᵢ > 0,  p = P(|W - E W| ≥ |w - E W|) over all 2ⁿ signs

    Zeros are left out and ties have their average rank; infinite differences have the highest. Of more than MOST_EXACT
    differences W is taken to be normal. Wilcoxon (1945).
    """
    ranks, excess = _signed_ranks(differences)
    if len(ranks) > MOST_EXACT:
        p = math.erfc(abs(excess) / _deviation(ranks) / math.sqrt(2))
    else:
        ways = _probabilities_of_sums(ranks)
        p = float(ways[np.abs(2 * np.arange(len(ways)) - ranks.sum()) >= abs(excess)].sum())
    return SignedRank(min(1.0, p), (excess > 0) - (excess < 0))


def wilcoxon(differences: Sequence[float]) -> float:
    """Return the p-value of `signed_rank`."""
    return signed_rank(differences).p


def wilcoxon_above(differences: Sequence[float]) -> float:
    """Return the one-sided p-value of `signed_rank` that differences are above 0.

    p = P(W ≥ w) over all 2ⁿ signs
    """
    ranks, excess = _signed_ranks(differences)
    if len(ranks) > MOST_EXACT:
        return math.erfc(excess / _deviation(ranks) / math.sqrt(2)) / 2
    positive = (excess + int(ranks.sum())) // 2
    return min(1.0, float(_probabilities_of_sums(ranks)[positive:].sum()))


def _signed_ranks(differences: Sequence[float]) -> tuple[Array, int]:
    """Return twice the ranks of the differences but zeros, and how much the positive ones exceed the negative ones."""
    given = np.asarray([each for each in differences if each != 0], np.float64)
    # Twice the ranks are whole numbers, so that sums of them can be counted.
    ranks = twice_ranks(np.abs(given))
    return ranks, 2 * int(ranks[given > 0].sum()) - int(ranks.sum())


def _deviation(ranks: Array) -> float:
    """Return the standard deviation of the sum of ranks that count with either sign."""
    return math.sqrt(float(np.sum(ranks.astype(np.float64) ** 2)))


def _probabilities_of_sums(ranks: Array) -> Array:
    """Return the probability of each sum 0, 1, … of ranks that count with a probability of ½ each."""
    ways = np.zeros(int(ranks.sum()) + 1)
    ways[0] = 1.0
    for rank in ranks:
        ways[rank:] = (ways[rank:] + ways[: len(ways) - rank]) / 2
        ways[:rank] /= 2
    return ways


def twice_ranks(values: Array) -> Array:
    """Return twice the rank of each value from 1 on; equal values share the mean of their ranks."""
    ordered = np.sort(values)
    first = np.searchsorted(ordered, values, side="left")
    last = np.searchsorted(ordered, values, side="right")
    return np.asarray(first + last + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number; the probability of any false rejection stays below the level.

        p̃₍ᵢ₎ = max over j ≤ i of min(1, (m - j + 1) p₍ⱼ₎)

    Holm (1979).
    """
    corrected = [1.0] * len(p_values)
    greatest = 0.0
    for place, index in enumerate(np.argsort(p_values, kind="stable")):
        greatest = max(greatest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = greatest
    return corrected


def improvement_probability(
    own: Sequence[Sequence[float]], others: Sequence[Sequence[float]]
) -> IntervalEstimate:
    """Return the probability that a run is better than one of the others, as the mean over problems.

        P = mean over problems of (#(x < y) + ½ #(x = y)) / (n m)

    with a stratified bootstrap interval; ``own`` and ``others`` have the values of each problem. Agarwal et al. (2021),
    arXiv 2108.13264.
    """
    count = len(own)

    def mean_probability(strata: list[Array]) -> Array:
        found = [_probability(x, y) for x, y in zip(strata[:count], strata[count:], strict=True)]
        return np.asarray(np.mean(found, axis=0))

    return stratified_bootstrap([*own, *others], mean_probability)


def _probability(x: Array, y: Array) -> Array:
    """Return the part of the pairs of x `[draws, n]` and y `[draws, m]` with x < y; equal ones count half."""
    size = max(1, MOST_AT_ONCE // (x.shape[1] * y.shape[1]))
    parts = []
    for first in range(0, len(x), size):
        own, other = x[first : first + size, :, None], y[first : first + size, None, :]
        parts.append((own < other).mean(axis=(1, 2)) + 0.5 * (own == other).mean(axis=(1, 2)))
    return np.concatenate(parts)


def best_after(values: Sequence[float], trials: int, part: float = 0.5) -> float:
    """Return a quantile of the best value of so many trials, drawn from these with replacement; by default the median.

        smallest x₍ᵢ₎ with 1 - (1 - i / n)ᵏ ≥ part

    Lourie et al. (2023), arXiv 2311.09480.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    return float(ordered[rank_after(len(ordered), trials, part)])


def rank_after(count: int, trials: int, part: float = 0.5) -> int:
    """Return the rank of the value of `best_after` among so many values, 0 for the best."""
    reached = 1 - (1 - np.arange(1, count + 1) / count) ** trials
    return int(np.argmax(reached >= part))


def average_ranks(costs: Array) -> Array:
    """Return the mean rank of each column over the rows, 1 for the lowest value; equal values share their ranks."""
    return np.asarray(np.mean([twice_ranks(row) / 2 for row in costs], axis=0))


def cost_ratios(costs: Array) -> Array:
    """Return positive costs `[problems, values]` over the best of their problem; infinite where none is finite."""
    best = costs.min(axis=1, keepdims=True)
    return np.where(np.isfinite(best), costs / np.where(np.isfinite(best), best, 1.0), np.inf)


def performance_profile(ratios: Array, at: Array) -> Array:
    """Return ρ(τ) of `profile_score` at each τ, as `[τ, values]`."""
    return np.asarray((ratios[None] <= at[:, None, None]).mean(axis=1))


def critical_difference(count: int, problems: int) -> float | None:
    """Return the smallest difference of mean ranks that Nemenyi's test shows, None without SciPy.

        CD = q √(k (k + 1) / 6 N)

    for k = ``count`` values on N = ``problems``; q is a quantile of the studentized range over √2. Demšar (2006),
    JMLR 7:1.
    """
    try:
        from scipy.stats import studentized_range
    except ImportError:
        return None
    quantile = float(studentized_range.ppf(1 - SIGNIFICANCE, count, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(count * (count + 1) / (6 * problems))


def profile_score(ratios: Array, most: float = 4.0) -> Array:
    """Return the area under the performance profile of each column, 1 for what is the best everywhere.

        ρ(τ) = part of the rows with ratio ≤ τ,  score = ∫₁^most ρ(τ) dτ / (most - 1)

    ``ratios`` `[problems, values]` are costs over the best cost of the problem. Dolan & Moré (2002), arXiv cs/0102001;
    Dahl et al. (2023), arXiv 2306.07179.
    """
    # Each row contributes from its ratio on.
    return np.asarray((np.clip(most - ratios, 0.0, most - 1.0) / (most - 1.0)).mean(axis=0))


def detectable_difference(differences: Sequence[float], n: int) -> float | None:
    """Return the smallest shift that n pairs show in 80 % of the cases, None if so few pairs never can.

    The differences of pairs are drawn from those given, without their median; they count as shown if the p-value of
    `wilcoxon` is below 5 %.
    """
    values = np.asarray(differences, np.float64)
    if n < LEAST_SEEDS or not np.isfinite(values).all() or not np.ptp(values):
        return None
    centred = values - np.median(values)
    drawn = centred[np.random.default_rng(0).integers(len(centred), size=(DRAWS, n))]
    least = _critical_sum(n)
    low, high = 0.0, 4 * float(np.ptp(values))
    for _ in range(30):
        middle = (low + high) / 2
        shifted = drawn + middle
        ranks = np.argsort(np.argsort(np.abs(shifted), axis=1), axis=1) + 1
        shown = (np.where(shifted > 0, ranks, 0).sum(axis=1) >= least).mean() >= POWER
        low, high = (low, middle) if shown else (middle, high)
    return high


def _critical_sum(n: int) -> int:
    """Return the smallest sum of ranks of positive differences, without ties, whose p-value is below 5 %."""
    above = np.cumsum(_probabilities_of_sums(np.arange(1, n + 1))[::-1])[::-1]
    return int(np.argmax(2 * above <= SIGNIFICANCE))
