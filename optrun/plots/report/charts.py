"""Figures of Plotly of a comparison: performance profiles, tuning curves, and the curves of the best settings."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from optrun.analysis.best_curves import curve_panel, seeds_in_words, usual_curve
from optrun.analysis.best_settings import Entry
from optrun.analysis.comparison import Comparison
from optrun.analysis.setting_curves import Curves
from optrun.analysis.statistics import best_after
from optrun.arrays import Array
from optrun.plots.report.figures import Chart, Palette, axis, axis_range, banded, layout, numbers
from optrun.plots.ticks import curves_prefer_log, lr_prefers_log, values_prefer_log

MOST_CURVES = 16
"""How many values have curves on a problem."""

MOST_POINTS = 200
"""How many points a curve has at most."""

MOST_RATIO = 4.0
"""The largest ratio of a performance profile."""


def profiles(found: Comparison, palette: Palette) -> Chart | None:
    """Draw the part of the problems on which a median is within a ratio to the best; None where costs are not positive.

        ρ(τ) = part of the problems with median / best median ≤ τ

    Dolan & Moré (2002), arXiv cs/0102001.
    """
    if not found.ranking or any(rank.profile_score is None for rank in found.ranking):
        return None
    ratios: dict[str, list[float]] = {rank.value: [] for rank in found.ranking}
    for of in found.problems:
        medians = {row.value: math.inf if row.median is None else row.median for row in of.rows}
        best = min(medians[value] for value in ratios)
        for value, each in ratios.items():
            each.append(medians[value] / best if math.isfinite(best) else math.inf)
    data = []
    for value, each in ratios.items():
        steps = sorted({1.0, *(ratio for ratio in each if ratio < MOST_RATIO), MOST_RATIO})
        parts = [sum(ratio <= step for ratio in each) / len(each) for step in steps]
        line = {**palette.line(value), "shape": "hv"}
        data.append(
            {**palette.trace(value), "x": numbers(steps), "y": numbers(parts), "mode": "lines", "line": line}
        )
    return {
        "data": data,
        "layout": layout(
            xaxis=axis("ratio to the best median of the problem, τ", range=[1, MOST_RATIO]),
            yaxis=axis("part of the problems within τ", range=[0, 1.03]),
        ),
        "height": 380,
    }


def tuning(entries: Mapping[str, Entry], palette: Palette) -> Chart | None:
    """Draw the best value by the number of trials of random search: median and quartiles; None for other searches."""
    data: list[dict[str, Any]] = []
    medians: list[float] = []
    log = values_prefer_log([_costs(entry) for entry in entries.values()])
    for value, entry in entries.items():
        costs, tried = _costs(entry), len(entry.selected.tried)
        if entry.source.plan.method != "random" or tried < 2:
            continue
        sign = -1.0 if entry.source.plan.maximize else 1.0
        counts = sorted({round(each) for each in np.geomspace(1, tried, min(tried, 40))})
        own = (sign * costs).tolist()
        middle, *band = (
            [sign * best_after(own, count, part) for count in counts] for part in (0.5, 0.25, 0.75)
        )
        medians += middle if palette.draws(value) else []
        data += banded(value, counts, middle, band, palette, log=log)
    if not data:
        return None
    metric = next(iter(entries.values())).source.plan.metric
    return {
        "data": data,
        "layout": layout(
            xaxis=axis("settings tried", log=True),
            yaxis=axis(f"best {metric}", log=log, **axis_range(medians, log=log)),
        ),
        "height": 340,
    }


def _costs(entry: Entry) -> Array:
    worst = -math.inf if entry.source.plan.maximize else math.inf
    return np.array([worst if each is None else each for each in entry.selected.tried])


def best_setting_curves(
    problem: str, entries: Mapping[str, Entry], palette: Palette
) -> tuple[Chart, str] | None:
    """Draw the curves of the best settings with the lr below, and say what is drawn; None where there is no curve."""
    drawn = dict(list(entries.items())[:MOST_CURVES])
    metric = usual_curve(drawn, [next(iter(drawn.values())).metric.name])
    if metric is None:
        return None
    panel = curve_panel(problem, drawn, metric)
    log = curves_prefer_log(metric, [curves.points(metric)[1] for curves in panel.curves])
    rates = {curves.label: name for curves in panel.curves if (name := _rate(curves)) is not None}
    rates_log = bool(rates) and lr_prefers_log(
        np.concatenate(
            [curves.points(rates[curves.label])[1] for curves in panel.curves if curves.label in rates]
        )
    )
    data: list[dict[str, Any]] = []
    for curves in panel.curves:
        data += _lines(curves, metric, palette, log=log)
        if curves.label in rates:
            data += _lines(
                curves, rates[curves.label], palette, log=rates_log, legend=False, xaxis="x", yaxis="y2"
            )
    ticks = {"dtick": 1} if rates_log else {"rangemode": "tozero"}
    rate_axis = axis("lr", log=rates_log, domain=[0.0, 0.25], **ticks)
    top = [0.33, 1.0] if rates else [0.0, 1.0]
    figure = layout(
        xaxis=axis("step", anchor="y2" if rates else "y"),
        yaxis=axis(f"{metric} (log)" if log else metric, log=log, domain=top),
        **({"yaxis2": rate_axis} if rates else {}),
    )
    words = [seeds_in_words(list(drawn.values()))]
    if len(drawn) < len(entries):
        words.append(f"the best {len(drawn)} of {len(entries)} are drawn")
    for value, (gone, runs) in panel.diverged.items():
        words.append(f"{value}: {gone} of {runs} seeds diverged" + ("" if gone == runs else ", not drawn"))
    return {"data": data, "layout": figure, "height": 460}, f"{metric}, {'; '.join(words)}"


def _rate(curves: Curves) -> str | None:
    return next((name for name in curves.curves if name.partition(".")[0] == "lr"), None)


def _lines(
    curves: Curves, name: str, palette: Palette, *, log: bool, legend: bool = True, **axes: str
) -> list[dict[str, Any]]:
    steps, middle = curves.points(name)
    kept = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), MOST_POINTS)).round().astype(int))
    band = [side[kept].tolist() for side in curves.bands.get(name, ())]
    return banded(
        curves.label,
        steps[kept].tolist(),
        middle[kept].tolist(),
        band,
        palette,
        log=log,
        legend=legend,
        **axes,
    )
