"""The curves of the best settings that are compared, on each problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optrun.analysis.best_settings import ComparedSweep, Entry
from optrun.analysis.compare import entries_of
from optrun.analysis.setting_curves import Curves, curves_of
from optrun.errors import ConfigError, did_you_mean
from optrun.store import Status


@dataclass(frozen=True)
class CurvePanel:
    """The curves on one problem; their labels are the values that are compared."""

    problem: str
    curves: Sequence[Curves]
    diverged: Mapping[str, tuple[int, int]]
    """By value, how many of its runs diverged; unless all did, their curves are left out."""


@dataclass(frozen=True)
class BestCurves:
    """The median curves of the best setting of every value that is compared."""

    by: str
    selected_by: str
    metric: str
    seeds: str
    """What the curves are over their seeds, in words."""
    panels: Sequence[CurvePanel]


def best_curves(
    sources: Sequence[ComparedSweep], by: str | None = None, metric: str = "loss", smooth: int = 1
) -> BestCurves:
    """Return the curves of the best settings, of the confirmation where there is one; ``by`` as in a comparison.

    Raises ConfigError if there is nothing to compare, or if no run has such a curve.
    """
    path, entries = entries_of(sources, by)
    if not entries:
        raise ConfigError("nothing to draw yet: no run has a result")
    panels = [
        curve_panel(
            problem,
            {cell.value: each for cell, each in entries.items() if cell.problem == problem},
            metric,
            smooth,
        )
        for problem in dict.fromkeys(cell.problem for cell in entries)
    ]
    selected_by = ", ".join(dict.fromkeys(source.plan.metric for source in sources))
    return BestCurves(path, selected_by, metric, seeds_in_words(list(entries.values())), panels)


def curve_panel(problem: str, entries: Mapping[str, Entry], metric: str, smooth: int = 1) -> CurvePanel:
    """Return the curves of the entries of a problem, by value; ConfigError where a run has no such curve."""
    found, diverged = [], {}
    for value, entry in entries.items():
        records = entry.results[0]
        gone = [run.status is Status.DIVERGED for run in records]
        if any(gone):
            diverged[value] = (sum(gone), len(gone))
        runs = [
            (run.curves, run.evaluations)
            for run, record, bad in zip(entry.curves, records, gone, strict=True)
            if record.status.final and record.status is not Status.FAILED and (not bad or all(gone))
        ]
        curves = curves_of(runs, smooth, value)
        if metric not in curves.metrics:
            hint = did_you_mean(metric, curves.metrics) or f" There are: {', '.join(curves.metrics)}"
            raise ConfigError(f"{problem}, {value}: no curve {metric!r}.{hint}")
        found.append(curves)
    return CurvePanel(problem, found, diverged)


def seeds_in_words(entries: Sequence[Entry]) -> str:
    """Return over how many seeds curves are medians."""
    counts = sorted({len(entry.results[0]) for entry in entries})
    fresh = "fresh " * all(entry.results[1] for entry in entries)
    if counts == [1]:
        return f"one {fresh}seed"
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"median and quartiles of {number} {fresh}seeds"
