"""What a comparison of sweeps holds: tables of the best settings, a ranking, a verdict in words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
    better: bool | None = None
    """Whether the signed ranks are in favour of the value or of the baseline; None for neither."""


@dataclass(frozen=True)
class Speedup:
    """When a setting is as good as the best of the baseline, by the medians of their evaluations over the seeds."""

    target: float
    """The best value of the baseline's curve."""
    baseline_steps: int
    """The step at which the baseline is there."""
    steps: int | None
    """The step at which the setting is; None if it never is."""
    ratio: float | None
    """Those of the baseline over those of the setting: above 1 if the setting is faster."""


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
    """The 95 % interval of the median; None if there are fewer than six seeds, or where it is not finite."""
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
    """The median of the best value after so many trials, over the seeds of the selection; only of random search."""
    missing: int = 0
    """The number of ended runs that failed or lack the metric."""
    pruned: int | None = None
    """The step at which the setting was pruned; it is then not tested, and in no ranking."""
    constant: bool = False
    """Whether the runs of several seeds are the same."""
    length: str = ""
    """The steps or epochs of the runs, as they were asked for."""
    steps: tuple[int, int] | None = None
    """The least and the greatest number of steps after which its runs ended; None if all diverged or failed."""
    at_defaults: float | None = None
    """The median of the metric where all hyperparameters are defaults; None if that is not in the sweep."""
    lr_sensitivity: float | None = None
    """How far the loss is above its lowest, on average over the learning rates: 0 if the rate does not matter."""
    speedup: Speedup | None = None
    """None for the baseline, and where it cannot be told."""
    is_tied: bool = False
    """Whether the metric is the same for all of several seeds, be their runs the same or not."""


@dataclass(frozen=True)
class ProblemTable:
    """The rows of a problem, the best first."""

    problem: str
    noise: float | None
    """The standard deviation over seeds, as the median over the rows."""
    rows: Sequence[ComparisonRow]
    same_seeds: bool
    """Whether the runs of every value are the same for all seeds."""
    noise_range: tuple[float, float] | None = None
    """The least and the greatest standard deviation over seeds of a row; None where none has one."""
    untrained: Mapping[str, float] = field(default_factory=dict)
    """The metric of what predicts without training, by its name."""


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
    lr_sensitivity: float | None = None
    """The mean over all problems; None where one lacks it."""


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
        """Whether a row is better than the baseline, by the signed ranks of the differences."""
        return row.difference is not None and row.difference.better is True
