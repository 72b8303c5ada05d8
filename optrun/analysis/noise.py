"""The noise of a metric over seeds, and what differences it hides."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from optrun.analysis.statistics import detectable_difference
from optrun.config.sweep.model import Metric
from optrun.store import RunState, Status

COUNTS = (3, 5, 6, 10, 20, 50)
"""The numbers of seeds whose smallest detectable difference is told."""


@dataclass(frozen=True)
class Noise:
    """The spread of a metric over seeds, all but the runs that diverged."""

    metric: str
    n: int
    diverged: int
    median: float | None
    deviation: float | None
    """The standard deviation; None with fewer than two values."""
    least: float | None
    greatest: float | None
    detectable: Mapping[int, float | None]
    """The smallest difference of two settings that so many seeds show in 80 % of the cases; None if none."""

    same_runs: bool = False
    """Whether the seed changes nothing: the runs are the same, and not their metric alone."""

    @property
    def same(self) -> bool:
        """Whether all seeds have the same value."""
        return self.n > 1 and not self.diverged and self.least == self.greatest

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def are_same(runs: Sequence[RunState]) -> bool:
    """Whether several runs ended alike in everything: their status, their steps, and all figures to the bit."""
    outcomes = {(run.status, run.steps, *sorted(run.summary.items())) for run in runs}
    return len(runs) > 1 and len(outcomes) == 1


def noise_of(states: Sequence[RunState], metric: Metric) -> Noise:
    """Return the noise of a metric over runs that differ in their seeds alone.

    A detectable difference is that of two settings whose values vary independently, in a single comparison.
    """
    ended = [
        state
        for state in states
        if state.status.final and state.status is not Status.FAILED and state.has_figure(metric.name)
    ]
    figures = [state.figure(metric.name) for state in ended]
    values = np.array([value for value in figures if value is not None])
    if not len(values):
        return Noise(metric.name, len(ended), len(ended), None, None, None, None, dict.fromkeys(COUNTS))
    first, second = np.triu_indices(len(values), 1)
    # Either may be the greater one.
    differences = np.concatenate([values[first] - values[second], values[second] - values[first]])
    detectable = {
        n: detectable_difference(differences.tolist(), n) if len(values) > 1 else None for n in COUNTS
    }
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Noise(
        metric.name,
        len(ended),
        len(ended) - len(values),
        float(np.median(values)),
        None if math.isnan(deviation) else deviation,
        float(values.min()),
        float(values.max()),
        detectable,
        are_same(ended),
    )
