"""Matplotlib figure of the best value of a random search against its number of trials."""

from typing import TYPE_CHECKING, Any

import numpy as np

from optrun.analysis.tuning import Tuning, TuningCurve
from optrun.plots.figure import legend_above, legend_label, legend_shape, new_picture, wrapped_label
from optrun.plots.look import Look, series_style
from optrun.plots.panels import inches_of, panel_axes
from optrun.plots.ticks import values_prefer_log

if TYPE_CHECKING:
    from optrun.plots.picture import Picture

FEW = 16
"""The number of trials from which on their axis is logarithmic."""


def tuning_figure(found: Tuning, *, log: bool | None = None, look: Look | None = None) -> "Picture":
    """Draw the median of the best value after 1, 2, … trials, in its 95 % interval, with axes for each problem.

    Where so many trials are likely to have diverged all, there is no line. ``log`` chooses the scale of the values.
    """
    look = look or Look()
    values = list(dict.fromkeys(curve.value for _, curves in found.problems for curve in curves))
    labels = [legend_label(value, look) for value in values]
    title = look.named(f"median of the best {found.metric} of so many trials, and its 95 % interval")
    lines = legend_shape(labels, look)[1] + 2
    with new_picture(look, inches_of(look, len(found.problems), lines)) as picture:
        titles = [problem for problem, _ in found.problems]
        for (_, curves), axes in zip(found.problems, panel_axes(picture, titles), strict=True):
            drawn = [np.concatenate([each.best, each.low, each.high]) for each in curves]
            if values_prefer_log(drawn) if log is None else log:
                axes.set_yscale("log", nonpositive="clip")
            if max(len(each.best) for each in curves) >= FEW:
                axes.set_xscale("log", base=2)
                axes.xaxis.set_major_formatter("{x:g}")
            else:
                axes.xaxis.get_major_locator().set_params(integer=True)
            for curve in curves:
                _draw(axes, curve, values.index(curve.value), drawn)
            axes.margins(x=0.02)
        picture.supylabel(wrapped_label(found.metric), fontsize=look.font)
        picture.supxlabel("number of trials", fontsize=look.font)
        handles = [
            picture.axes[0].plot([], [], label=label, **series_style(index))[0]
            for index, label in enumerate(labels)
        ]
        legend_above(picture, handles, labels, title=title)
    return picture


def _draw(axes: Any, curve: TuningCurve, index: int, drawn: list[Any]) -> None:
    style = series_style(index)
    trials = np.arange(1, len(curve.best) + 1)
    alone = {"marker": "o"} if len(trials) == 1 else {}
    axes.plot(trials, np.where(np.isfinite(curve.best), curve.best, np.nan), **{**style, **alone})
    finite = np.concatenate(drawn)
    finite = finite[np.isfinite(finite)]
    if finite.size:
        # What may have diverged extends to the worst value that there is.
        low, high = (
            np.nan_to_num(each, posinf=finite.max(), neginf=finite.min()) for each in (curve.low, curve.high)
        )
        known = ~np.isnan(curve.low)
        axes.fill_between(
            trials[known], low[known], high[known], color=style["color"], alpha=0.18, linewidth=0
        )
