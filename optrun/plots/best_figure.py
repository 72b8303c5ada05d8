"""Matplotlib figure of the curves of the best settings, with axes for each problem."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from optrun.analysis.best_curves import BestCurves, CurvePanel
from optrun.plots.figure import (
    legend_above,
    legend_label,
    legend_shape,
    marked_if_alone,
    new_picture,
    shade,
    steps_label,
    wrapped_label,
)
from optrun.plots.look import Look, series_style
from optrun.plots.panels import inches_of, panel_axes
from optrun.plots.ticks import curves_prefer_log

if TYPE_CHECKING:
    from optrun.plots.picture import Picture

MOST_NAMED = 2
"""How many values that diverged are named in a title; more are counted."""


def best_figure(
    found: BestCurves, *, log: bool | None = None, smooth: int = 1, look: Look | None = None
) -> "Picture":
    """Draw the median of each value's curves, between the quartiles of its seeds.

    ``smooth`` is what the curves were smoothed by. What diverged on all seeds does not determine the range of the axis.
    """
    look = look or Look()
    values = list(dict.fromkeys(each.label for panel in found.panels for each in panel.curves))
    styles = {value: series_style(index) for index, value in enumerate(values)}
    labels = [legend_label(value, look) for value in values]
    title = look.named(f"best settings by {found.selected_by}: {found.seeds}")
    lines = legend_shape(labels, look)[1] + 2
    with new_picture(look, inches_of(look, len(found.panels), lines)) as picture:
        titles = ["\n".join([panel.problem, *_gone(panel)]) for panel in found.panels]
        for panel, axes in zip(found.panels, panel_axes(picture, titles), strict=True):
            _draw(axes, panel, found.metric, styles, log)
        picture.supylabel(wrapped_label(found.metric), fontsize=look.font)
        picture.supxlabel(steps_label(found.metric, smooth), fontsize=look.font)
        handles = [
            picture.axes[0].plot([], [], label=label, **styles[value])[0]
            for value, label in zip(values, labels, strict=True)
        ]
        legend_above(picture, handles, labels, title=title)
    return picture


def _draw(
    axes: Any, panel: CurvePanel, metric: str, styles: Mapping[str, Mapping[str, Any]], log: bool | None
) -> None:
    sound = []
    for curves in panel.curves:
        style = styles[curves.label]
        axes.plot(*curves.points(metric), alpha=0.9, **marked_if_alone(style, curves, metric))
        shade(axes, curves, metric, style["color"])
        gone, runs = panel.diverged.get(curves.label, (0, 0))
        if not runs or gone < runs:
            sound.append(curves)
    drawn = [curves.points(metric)[1] for curves in sound or panel.curves]
    on_log = curves_prefer_log(metric, drawn) if log is None else log
    if on_log:
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylabel("log", fontsize="small")
    bands = [side for curves in sound for side in curves.bands.get(metric, ())]
    if sound and len(sound) < len(panel.curves):
        _limit(axes, np.concatenate([*drawn, *bands]), log=on_log)
    axes.margins(x=0.02)


def _limit(axes: Any, values: Any, *, log: bool) -> None:
    seen = values[np.isfinite(values) & ((values > 0) | (not log))]
    if seen.size and seen.min() < seen.max():
        low, high = float(seen.min()), float(seen.max())
        margin = (high / low) ** 0.05 if log else 0.05 * (high - low)
        axes.set_ylim(*((low / margin, high * margin) if log else (low - margin, high + margin)))


def _gone(panel: CurvePanel) -> Sequence[str]:
    """Return a line that names what diverged, if anything did."""
    if not panel.diverged:
        return []
    if len(panel.diverged) > MOST_NAMED:
        return [f"{len(panel.diverged)} of {len(panel.curves)} settings with diverged runs"]
    words = (
        f"{value}: {'all' if gone == runs else f'{gone} of {runs}'} diverged"
        for value, (gone, runs) in panel.diverged.items()
    )
    return [", ".join(words)]
