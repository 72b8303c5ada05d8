"""What a comparison of sweeps holds: tables of the best settings, a ranking, a verdict in words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optrun.analysis.statistics import IntervalEstimate


@dataclass(frozen=True)
class Difference:
    """The median of the differences to the baseline, seed by seed, with its interval and the corrected p-value."""

    median: float | None
    low: float | None
    high: float | None
    p: float | None
    """None where the seeds change nothing."""
    n: int


@dataclass(frozen=True)
class ComparisonRow:
    """What is compared, on one problem: its best setting, and the metric over the seeds of that."""

    value: str
    setting: Mapping[str, Any]
    n: int
    median: float | None
    iqm: float | None
    low: float | None
    high: float | None
    """The 95 % interval of the median; None if there are fewer than three seeds, or where it is not finite."""
    difference: Difference | None
    """None for the baseline, and without seeds in common."""
    separable: bool | None
    """Whether it differs from the baseline at the level of 5 %, corrected for all comparisons; None if not tested."""
    diverged: int
    edge: Sequence[str]
    """The parameters whose best value is at the edge of those that were tried."""
    trials: int
    confirmed: bool
    """Whether the seeds took no part in the selection."""
    after: Mapping[int, float | None]
    """The median of the best value after so many trials; only of random search."""


@dataclass(frozen=True)
class ProblemTable:
    """The rows of a problem, the best first."""

    problem: str
    noise: float | None
    """The standard deviation over seeds, as the median over the rows."""
    rows: Sequence[ComparisonRow]
    same_seeds: bool
    """Whether every value is the same for all seeds."""


@dataclass(frozen=True)
class Rank:
    """A value over all problems."""

    value: str
    score: float
    """The interquartile mean of the metric, 1 at the best median of a problem and 0 at the worst finite one."""
    low: float | None
    high: float | None
    average_rank: float
    profile_score: float | None
    """The area under the performance profile up to 4 times the best cost; None if costs are not positive."""
    probability_of_improvement: IntervalEstimate | None
    """Of a run to be better than one of the baseline; None for the baseline."""


@dataclass(frozen=True)
class Comparison:
    """The answer to what is better: tables, ranking, and what to be careful about."""

    metric: str
    goal: str
    by: str
    baseline: str
    problems: Sequence[ProblemTable]
    ranking: Sequence[Rank]
    """Empty for a single problem; values that lack a problem are left out."""
    critical_difference: float | None = None
    """Mean ranks closer than this are not separable, by Nemenyi's test; None for fewer than five problems."""
    verdict: str = ""
    warnings: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    def is_better(self, row: ComparisonRow) -> bool:
        """Whether a row is better than the baseline, by the median of the differences."""
        difference = row.difference.median if row.difference else None
        if difference is None:
            return row.median is not None  # the baseline diverged
        return difference > 0 if self.goal == "maximize" else difference < 0
