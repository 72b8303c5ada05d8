"""What predicts without training, by the metric of a sweep: it says what a figure is worth."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optrun.analysis.leaderboard import Standing, by_problem
from optrun.training.baselines import Baselines, baselines_in
from optrun.training.curve_figures import CurveFigure

Untrained = Mapping[str, float]
"""The metric of each of what predicts without training, by its name."""


def untrained_of(baselines: Baselines, metric: str) -> Untrained:
    """Return the metric of what predicts without training; a figure of a curve is there that of its series."""
    figure = CurveFigure.named(metric)
    series = (metric if figure is None else figure.series).removeprefix("average_")
    return {name: figures[series] for name, figures in baselines.items() if series in figures}


def untrained_by_problem(
    known: Mapping[str, Baselines],
    standings: Sequence[Standing],
    metric: str,
    config_of: Callable[[int], Mapping[str, Any]],
) -> dict[str | None, Untrained]:
    """Return them for each problem of a sweep, given those of its data and the config of a run."""
    return {
        problem: untrained_of(baselines_in(known, config_of(own[0].first)), metric)
        for problem, own in by_problem(standings).items()
    }


def untrained_in_words(found: Untrained) -> str:
    """Return a line that says them; empty without any."""
    figures = ", ".join(f"{name} {figure:.4g}" for name, figure in found.items())
    return f"without training: {figures}" if figures else ""
