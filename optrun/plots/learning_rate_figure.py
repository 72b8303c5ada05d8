"""Matplotlib figure of a metric over learning rates: the range near the best one, and where divergence begins."""

from typing import TYPE_CHECKING, Any

import numpy as np

from optrun.analysis.learning_rates import FoundRates
from optrun.analysis.sensitivity import visible_medians
from optrun.arrays import Array
from optrun.plots.figure import legend_above, new_picture, wrapped_label
from optrun.plots.look import COLOURS, Look
from optrun.plots.sensitivity_figure import BAND, MARGIN, MARKS, STAR
from optrun.plots.ticks import values_prefer_log

if TYPE_CHECKING:
    from optrun.plots.picture import Picture

RANGE, EDGE = COLOURS[2], COLOURS[1]
"""The colours of the range and of divergence."""

BESIDE = 1.25
"""The factor between the last rate and the end of the axis."""

LINES = 2
"""The lines of the legend."""


def learning_rate_figure(
    found: FoundRates, *, log: bool | None = None, look: Look | None = None
) -> "Picture":
    """Draw the medians and quartiles; the range is shaded, and so are the rates from which on runs diverge.

    Rates with a single seed are hollow. Crosses at the worse edge are rates of which runs diverged, their opacity the
    fraction of these; a median of 0 lies at the end of a log axis. ``log`` chooses the scale of the metric.
    """
    look = look or Look()
    rates = np.array([each.rate for each in found.outcomes])
    median, lower, upper = (
        np.array([np.nan if (value := getattr(each, of)) is None else value for each in found.outcomes])
        for of in ("median", "lower", "upper")
    )
    thorough = np.array([each.seeds == found.seeds for each in found.outcomes])
    with new_picture(look, look.inches(5, LINES)) as picture:
        axes = picture.subplots()
        axes.set_xscale("log")
        on_log = values_prefer_log([median]) if log is None else log
        low, high = _limits(median, found.maximize, log=on_log)
        if on_log:
            axes.set_yscale("log", nonpositive="clip")
            median, lower, upper = (np.where(of <= 0, low, of) for of in (median, lower, upper))
        if low < high:
            axes.set_ylim(low, high)
        end = rates[-1] * BESIDE
        axes.set_xlim(rates[0] / BESIDE, end)
        axes.plot(rates, median, color=COLOURS[0], zorder=3)
        style: dict[str, Any] = {
            "color": COLOURS[0],
            "marker": "o",
            "markersize": 4,
            "linestyle": "none",
            "zorder": 3,
        }
        label = f"median of {found.seeds} seeds" if found.seeds > 1 else "one seed"
        axes.plot(rates[thorough], median[thorough], label=label, clip_on=False, **style)
        if not thorough.all():
            hollow = {**style, "markerfacecolor": "white"}
            axes.plot(rates[~thorough], median[~thorough], label="one seed", **hollow)
        if found.seeds > 1:
            bounds = lower[thorough], upper[thorough]
            axes.fill_between(rates[thorough], *bounds, color=COLOURS[0], alpha=BAND, linewidth=0)
        if found.range is not None:
            near = "no more than rounding" if found.is_rounding else "within 5 %"
            label = f"{near}: {found.range[0]:.4g} to {found.range[1]:.4g}"
            axes.axvspan(*found.range, color=RANGE, alpha=BAND, linewidth=1, label=label)
        if found.diverges_from is not None:
            label = f"diverges from {found.diverges_from:.4g} on"
            axes.axvspan(found.diverges_from, end, color=EDGE, alpha=BAND, linewidth=0, label=label)
        _mark_diverged(axes, found)
        if found.recommended is not None:
            loss = median[rates == found.recommended]
            label = f"recommended: {found.recommended:.4g}"
            axes.plot(found.recommended, loss, label=label, clip_on=False, **{**STAR, "zorder": 5})
        axes.set_xlabel(wrapped_label(found.parameter))
        axes.set_ylabel(wrapped_label(found.metric))
        title = look.named(f"{found.metric} over {found.parameter}")
        legend_above(picture, *axes.get_legend_handles_labels(), title=title)
    return picture


def _limits(median: Array, maximize: bool, *, log: bool) -> tuple[float, float]:
    """Return the ends of the axis: all medians on a log axis, below which 0 is; far worse ones are cut on another."""
    if not log:
        low, high = visible_medians(median, maximize, log=False)
        return low - MARGIN * (high - low), high + MARGIN * (high - low)
    positive = median[median > 0]
    if not positive.size:
        return 0.0, 0.0
    low, high = float(positive.min()), float(positive.max())
    margin = max((high / low) ** MARGIN, BESIDE)
    return low / margin, high * margin


def _mark_diverged(axes: Any, found: FoundRates) -> None:
    mark: dict[str, Any] = {
        **MARKS["diverged"],
        "color": EDGE,
        "markeredgewidth": 1.6,
        "linestyle": "none",
        "zorder": 4,
    }
    place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
    for each in found.outcomes:
        if each.diverged:
            share = 0.3 + 0.7 * each.diverged / each.seeds
            axes.plot(each.rate, 0.02 if found.maximize else 0.98, alpha=share, **mark, **place)
