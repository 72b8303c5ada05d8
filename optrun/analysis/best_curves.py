"""The curves of the best settings that are compared, on each problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optrun.analysis.best_settings import ComparedSweep, Entry
from optrun.analysis.compare import entries_of
from optrun.analysis.setting_curves import Curves, curves_of
from optrun.errors import ConfigError, did_you_mean
from optrun.store import Status
from optrun.training.curve_figures import CurveFigure, reported_name

LOSS = "loss"


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
    sources: Sequence[ComparedSweep], by: str | None = None, metric: str | None = None, smooth: int = 1
) -> BestCurves:
    """Return the curves of the best settings, of the confirmation where there is one; ``by`` as in a comparison.

    ``metric`` is the name of a curve, by default the one that shows what a comparison reports, or else the loss.

    Raises ConfigError if there is nothing to compare, or if no run has such a curve.
    """
    path, entries = entries_of(sources, by)
    if not entries:
        raise ConfigError("nothing to draw yet: no run has a result")
    selected_by = list(dict.fromkeys(source.plan.metric for source in sources))
    if metric is None:
        names = [name for each in selected_by for name in (reported_name(each), each)]
        metric = usual_curve(entries, names if len(selected_by) == 1 else ()) or LOSS
    panels = [
        curve_panel(
            problem,
            {cell.value: each for cell, each in entries.items() if cell.problem == problem},
            metric,
            smooth,
        )
        for problem in dict.fromkeys(cell.problem for cell in entries)
    ]
    return BestCurves(path, ", ".join(selected_by), metric, seeds_in_words(list(entries.values())), panels)


def usual_curve(entries: Mapping[Any, Entry], names: Sequence[str]) -> str | None:
    """Return the curve that shows the first of some figures that has one, or else the loss; None without either."""
    figures = {name: CurveFigure.named(name) for name in names}
    series = [
        name.removeprefix("final_") if figure is None else figure.series for name, figure in figures.items()
    ]
    found: list[set[str]] = []
    for entry in entries.values():
        columns = [of for run in entry.curves[:1] for of in (run.curves, run.evaluations)]
        # One value is no curve.
        found.append({name for of in columns for name in of if len(of[name]) > 1})
    return next((name for name in (*series, LOSS) if all(name in each for each in found)), None)


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
