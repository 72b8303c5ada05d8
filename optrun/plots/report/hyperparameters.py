"""A figure of Plotly of all settings: the metric against each number that varies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optrun.analysis.sensitivity import NO_VALUE, NOT_POSITIVE, needs_log
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

MARKS = {
    "diverged": ("×", "x"),
    "failed": ("+", "cross"),
    "missed": ("□", "square-open"),
    "lacking": ("Y", "y-down-open"),
}
"""The marks of settings without a median, by the keys of NO_VALUE: in words, and as symbols of Plotly."""

ABOVE, BELOW = ("▲", "triangle-up"), ("▼", "triangle-down")
"""The marks of medians beyond the axis."""

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

    Far worse medians than those of the better half are beyond the axis, and marked at its end, as are settings without
    a median.
    """
    ended = [each for each in trials if each.ended]
    paths = numeric_paths(ended)[:MOST_PANELS]
    medians = np.array([each.median for each in ended if each.median is not None])
    if not paths or not medians.size:
        return None
    shown = thinned(ended, MOST_SETTINGS)
    log = values_prefer_log([medians])
    seen = _seen(medians, log=log)
    marked: dict[str, str] = {}
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
            range=list(seen.axis),
            zeroline=False,
        )
        for value in dict.fromkeys(trial.value for trial in shown):
            own = [each for each in shown if each.value == value]
            data += _points(own, path, palette, number, alone=len(paths) == 1, first=place == 0)
            for mark in _beyond(own, path, seen):
                marked[mark.character] = mark.meaning
                data.append(mark.trace(value, palette, number))
    words = [f"{len(ended)} settings, the median of each over its seeds"]
    words += [f"{character}: {meaning}" for character, meaning in marked.items()]
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


@dataclass(frozen=True)
class _Seen:
    """The medians that the axis shows, and where the marks of the others are."""

    axis: tuple[float, float]
    """In decades where it is a log one."""
    low: float
    high: float
    maximize: bool
    log: bool

    def end(self, *, upper: bool) -> float:
        """Return the value of the marks at an end of the axis."""
        at = self.axis[upper]
        inner = math.log10((self.low, self.high)[upper]) if self.log else (self.low, self.high)[upper]
        middle = (at + inner) / 2
        return float(10**middle if self.log else middle)


@dataclass(frozen=True)
class _Marks:
    """Settings of which an axis shows no median."""

    character: str
    symbol: str
    meaning: str
    x: Sequence[float]
    y: float
    texts: Sequence[str]

    def trace(self, value: str, palette: Palette, number: str) -> dict[str, Any]:
        """Return the trace of Plotly."""
        return {
            **palette.trace(value, legend=False),
            "xaxis": f"x{number}",
            "yaxis": f"y{number}",
            "x": numbers(self.x),
            "y": numbers([self.y] * len(self.x)),
            "text": list(self.texts),
            "hoverinfo": "x+text+name",
            "mode": "markers",
            "marker": {"color": palette.colour(value), "symbol": self.symbol, "size": 7, "opacity": 0.8},
        }


def _seen(medians: Any, *, log: bool) -> _Seen:
    """Return what the axis shows of the medians, which are sorted, the best first."""
    costs = np.log10(medians[medians > 0]) if log else medians
    best, middle = float(costs[0]), float(costs[len(costs) // 2])
    reach = SPREADS[log] * abs(middle - best)
    seen = costs[np.abs(costs - middle) <= max(reach, abs(middle - best))]
    low, high = float(seen.min()), float(seen.max())
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    ends = (10**low, 10**high) if log else (low, high)
    return _Seen((low - margin, high + margin), *ends, best > float(costs[-1]), log)


def _beyond(trials: Sequence[Trial], path: str, seen: _Seen) -> list[_Marks]:
    """Return the marks of the settings without a median, and of those whose median is beyond the axis."""
    found: dict[tuple[str, str, str, bool], list[tuple[float, str]]] = {}
    worse = (*BELOW, "far worse, below the plot") if seen.maximize else (*ABOVE, "far worse, above the plot")
    low, high = (10**end if seen.log else end for end in seen.axis)
    for trial in trials:
        if (x := number_at(trial, path)) is None:
            continue
        if trial.median is None:
            for why in trial.without_value:
                found.setdefault((*MARKS[why], NO_VALUE[why], not seen.maximize), []).append(
                    (x, NO_VALUE[why])
                )
        elif seen.log and trial.median <= 0:
            found.setdefault((*BELOW, NOT_POSITIVE, False), []).append((x, f"{trial.median:.4g}"))
        elif not low <= trial.median <= high:
            found.setdefault((*worse, not seen.maximize), []).append((x, f"{trial.median:.4g}"))
    ordered = sorted(found.items(), key=lambda each: each[0][2] in NO_VALUE.values())
    return [
        _Marks(
            character, symbol, meaning, [x for x, _ in at], seen.end(upper=upper), [text for _, text in at]
        )
        for (character, symbol, meaning, upper), at in ordered
    ]


def _points(
    trials: Sequence[Trial], path: str, palette: Palette, number: str, *, alone: bool, first: bool
) -> list[dict[str, Any]]:
    there = sorted(
        ((x, each.median) for each in trials if (x := number_at(each, path)) is not None),
        key=lambda each: each[0],
    )
    value = trials[0].value
    axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
    good = [each for each in there if each[1] is not None]
    joined = alone and len({x for x, _ in good}) == len(good) <= MOST_JOINED
    return [
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
