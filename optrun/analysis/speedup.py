"""In how many steps a setting is as good as the best of the baseline: steps to a target, as in AlgoPerf.

Dahl et al. (2023), arXiv:2306.07179.
"""

import numpy as np

from optrun.analysis.best_settings import Entry
from optrun.analysis.comparison import Speedup
from optrun.analysis.setting_curves import merged
from optrun.arrays import Array
from optrun.store import Status
from optrun.training.figures import FINAL_LOSS

LEAST_EVALUATIONS = 10
"""Of a baseline that was evaluated fewer times before its best, a ratio of steps would be a guess."""


MedianCurve = tuple[Array, Array]


def speedup(entry: Entry, baseline: MedianCurve | None) -> Speedup | None:
    """Return after how many steps a setting is as good as the best of the baseline.

        target = best over steps of the baseline's median over seeds
        ratio = first step at which the baseline's median is at the target / that of the entry's median

    The medians are those of `median_curve`. None where runs diverged, failed, or were not
    evaluated often enough to tell.
    """
    own = median_curve(entry)
    if baseline is None or own is None:
        return None
    (steps, costs), (own_steps, own_costs) = baseline, own
    first = int(np.argmin(costs))
    reached = np.flatnonzero(own_costs <= costs[first])
    if first + 1 < LEAST_EVALUATIONS:
        return None
    there = int(steps[first])
    at = int(own_steps[reached[0]]) if len(reached) else None
    return Speedup(entry.sign * float(costs[first]), there, at, there / at if at else None)


def median_curve(entry: Entry) -> MedianCurve | None:
    """Return the steps and the medians over seeds of the evaluations of the reported metric, as a cost.

    None unless all runs ended and were evaluated.
    """
    name = "loss" if entry.metric.name == FINAL_LOSS else entry.metric.name
    curves = entry.curves
    gone = (Status.DIVERGED, Status.FAILED)
    if not curves or any(run.status in gone or not run.status.final for run in entry.results[0]):
        return None
    medians, _ = merged([run.evaluations for run in curves])
    if name not in medians:
        return None
    costs = entry.sign * medians[name]
    return medians["step"], np.where(np.isfinite(costs), costs, np.inf)
