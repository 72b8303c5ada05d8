"""A figure of Plotly of all settings: the metric against each number that varies."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from optrun.analysis.sensitivity import needs_log
from optrun.analysis.trials import Trial, number_at, numeric_paths
from optrun.plots.report.figures import Chart, Palette, axis, axis_range, layout, numbers
from optrun.plots.ticks import values_prefer_log

MOST_SETTINGS = 1_000
"""How many settings of a problem have points."""

MOST_PANELS = 6
"""How many parameters of a problem are drawn."""

COLUMNS, PANEL_HEIGHT = 3, 250

MOST_TICKS, LEAST_DECADES = 6, 1.5
"""How many powers of ten an axis has at most, and from how many decades on."""

SPREADS = {True: 1.5, False: 20.0}
"""How far beyond the better half a median is seen, in units of the range of that half, on a log axis or not."""

MOST_JOINED = 40
"""The most points that a line joins."""


def thinned(trials: Sequence[Trial], most: int) -> list[Trial]:
    """Return so many settings: the best quarter of that number, and of the others every so-manieth."""
    if len(trials) <= most:
        return list(trials)
    first = most // 4
    places = np.linspace(first, len(trials) - 1, most - first).round().astype(int)
    return [*trials[:first], *(trials[place] for place in places)]


def sensitivities(trials: Sequence[Trial], metric: str, palette: Palette) -> tuple[Chart, str] | None:
    """Draw the metric against each numeric parameter, and say what is drawn; None where no number varies.

    Far worse medians than those of the better half are beyond the axis; × at its end are settings that diverged.
    """
    ended = [each for each in trials if each.ended]
    paths = numeric_paths(ended)[:MOST_PANELS]
    medians = np.array([each.median for each in ended if each.median is not None])
    if not paths or not medians.size:
        return None
    shown = thinned(ended, MOST_SETTINGS)
    log = values_prefer_log([medians])
    low, high, end = _seen(medians, log=log)
    rows = math.ceil(len(paths) / COLUMNS)
    figure = layout()
    data: list[dict[str, Any]] = []
    for place, path in enumerate(paths):
        number = "" if place == 0 else str(place + 1)
        values = [each for trial in shown if (each := number_at(trial, path)) is not None]
        on_log = needs_log(np.array(values))
        left, bottom = _corner(place, min(COLUMNS, len(paths)), rows)
        figure[f"xaxis{number}"] = axis(
            path,
            log=on_log,
            domain=[left[0], left[1]],
            anchor=f"y{number}",
            nticks=6,
            zeroline=False,
            **axis_range(values, log=on_log),
            **(_decades(values) if on_log else {}),
        )
        figure[f"yaxis{number}"] = axis(
            metric if place % COLUMNS == 0 else "",
            log=log,
            domain=[bottom[0], bottom[1]],
            anchor=f"x{number}",
            range=[low, high],
            zeroline=False,
        )
        for value in dict.fromkeys(trial.value for trial in shown):
            own = [each for each in shown if each.value == value]
            data += _points(own, path, end, palette, number, alone=len(paths) == 1, first=place == 0)
    words = [f"{len(ended)} settings, the median of each over its seeds", "×: diverged"]
    if len(shown) < len(ended):
        words[0] = f"{len(shown)} of {words[0]}"
    return {"data": data, "layout": figure, "height": 90 + PANEL_HEIGHT * rows}, "; ".join(words)


def _decades(values: Sequence[float]) -> dict[str, Any]:
    """Return ticks at powers of ten, as an option of an axis; none where these would be too few."""
    decades = math.log10(max(values) / min(values))
    return {"dtick": math.ceil(decades / MOST_TICKS)} if decades >= LEAST_DECADES else {}


def _corner(place: int, columns: int, rows: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the domains of the axes of a panel."""
    column, row = place % COLUMNS, place // COLUMNS
    gap, below = 0.07, 0.28 / rows if rows > 1 else 0.0
    width = (1 - gap * (columns - 1)) / columns
    height = (1 - below * (rows - 1)) / rows
    left, top = column * (width + gap), 1 - row * (height + below)
    return (round(left, 4), round(left + width, 4)), (round(max(0.0, top - height), 4), round(top, 4))


def _seen(medians: Any, *, log: bool) -> tuple[float, float, float]:
    """Return the range of the axis, in decades where it is a log one, and the value at its end for what diverged."""
    costs = np.log10(medians[medians > 0]) if log else medians
    # Settings are sorted, the best first.
    best, middle = float(costs[0]), float(costs[len(costs) // 2])
    reach = SPREADS[log] * abs(middle - best)
    seen = costs[np.abs(costs - middle) <= max(reach, abs(middle - best))]
    low, high = float(seen.min()), float(seen.max())
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    worst = low - margin / 2 if best > float(costs[-1]) else high + margin / 2
    return low - margin, high + margin, float(10**worst if log else worst)


def _points(
    trials: Sequence[Trial], path: str, end: float, palette: Palette, number: str, *, alone: bool, first: bool
) -> list[dict[str, Any]]:
    there = sorted(
        ((x, each.median) for each in trials if (x := number_at(each, path)) is not None),
        key=lambda each: each[0],
    )
    value = trials[0].value
    axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
    good = [each for each in there if each[1] is not None]
    gone = [x for x, median in there if median is None]
    joined = alone and len({x for x, _ in good}) == len(good) <= MOST_JOINED
    traces: list[dict[str, Any]] = [
        {
            **palette.trace(value, legend=first),
            **axes,
            "x": numbers(x for x, _ in good),
            "y": numbers(median for _, median in good),
            "mode": "lines+markers" if joined else "markers",
            "line": palette.line(value),
            "marker": {
                "color": palette.colour(value),
                "symbol": palette.symbol(value),
                "size": 6 if joined else 5,
                "opacity": 0.8,
            },
        }
    ]
    if gone:
        traces.append(
            {
                **palette.trace(value, legend=False),
                **axes,
                "x": numbers(gone),
                "y": numbers([end] * len(gone)),
                "mode": "markers",
                "marker": {"color": palette.colour(value), "symbol": "x", "size": 6, "opacity": 0.8},
            }
        )
    return traces
