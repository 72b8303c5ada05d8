"""In how many steps a setting is as good as the best of the baseline: steps to a target, as in AlgoPerf.

Dahl et al. (2023), arXiv:2306.07179.
"""

import numpy as np

from optrun.analysis.best_settings import Entry, WithCurves
from optrun.analysis.comparison import Speedup
from optrun.arrays import Array
from optrun.store import RunRecord, Status
from optrun.training.curve_figures import CurveFigure
from optrun.training.figures import FINAL_LOSS

LEAST_EVALUATIONS = 10
"""The fewest evaluations of the baseline up to its best: a step is known to one interval between two of them only."""

COMPARABLE = (Status.COMPLETED, Status.EARLY_STOPPED)
"""How runs end whose curves tell when a value was reached.

A run that ended at a target could have become better; what was pruned, failed, diverged or ran out of time, too, ended
before its last step.
"""

MedianCurve = tuple[Array, Array]


def speedup(entry: Entry, baseline: MedianCurve | None) -> Speedup | None:
    """Return after how many steps a setting is as good as the best of the baseline.

        target = best over steps of the baseline's median over seeds
        ratio = first step at which the baseline's median is at the target / that of the entry's median

    The medians are those of `median_curve`. None where one of them is None, or where the baseline was evaluated fewer
    than LEAST_EVALUATIONS times up to its best.
    """
    own = median_curve(entry)
    if baseline is None or own is None:
        return None
    (steps, costs), (own_steps, own_costs) = baseline, own
    first = int(np.argmin(costs))
    reached = np.flatnonzero(own_costs <= costs[first])
    if first + 1 < LEAST_EVALUATIONS or not np.isfinite(costs[first]):
        return None
    there = int(steps[first])
    at = int(own_steps[reached[0]]) if len(reached) else None
    return Speedup(entry.sign * float(costs[first]), there, at, there / at if at else None)


def median_curve(entry: Entry) -> MedianCurve | None:
    """Return the steps and the medians over seeds of the evaluations of the reported metric, as a cost.

    Of a figure of a curve, such as `best_val_loss`, they are those of its series. A run that was stopped early keeps
    the value it ended with, so that the median is over all seeds at every step of the longest run. None unless all runs
    are COMPARABLE and were evaluated.
    """
    name, curves = series_of(entry.metric.name), entry.curves
    runs = entry.results[0]
    if not curves or any(run.status not in COMPARABLE for run in runs):
        return None
    if not all(name in each.evaluations for each in curves):
        return None
    steps = max((each.evaluations["step"] for each in curves), key=len)
    steps = steps[steps >= max(int(each.evaluations["step"][0]) for each in curves)]
    costs = [entry.sign * _kept(each, run, name, steps) for each, run in zip(curves, runs, strict=True)]
    return steps, np.median(np.where(np.isfinite(costs), costs, np.inf), axis=0)


def series_of(metric: str) -> str:
    """Return the evaluated series that a metric is of: `val_loss` of `best_val_loss`."""
    figure = CurveFigure.named(metric)
    return figure.series if figure is not None else "loss" if metric == FINAL_LOSS else metric


def _kept(curves: WithCurves, run: RunRecord, name: str, steps: Array) -> Array:
    """Return the last evaluated value at each step, and behind the end of the run that of its summary."""
    own = curves.evaluations
    values = own[name][np.searchsorted(own["step"], steps, side="right") - 1].astype(np.float64)
    # `stop.restore_best` gives a run the parameters of an earlier evaluation, which its summary is of.
    end = run.summary.get(FINAL_LOSS if name == "loss" else name)
    if end is not None:
        values[steps > own["step"][-1]] = end
    return values
