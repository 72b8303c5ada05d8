"""A figure of Plotly of all settings: parallel coordinates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optrun.analysis.selection import short_name
from optrun.analysis.sensitivity import needs_log
from optrun.analysis.trials import Trial, number_at, numeric_paths
from optrun.plots.report.figures import COLOURS, Chart, label, layout, numbers
from optrun.plots.report.hyperparameters import MOST_PANELS, thinned
from optrun.plots.report.markup import text_of

MOST_LINES = 250
"""How many settings of a problem have lines."""

CATEGORIES = 10
"""The most names on an axis of parallel coordinates, unless it is that of what is compared."""

PARTS = (
    (1.0, "the others", COLOURS[6], 0.2),
    (0.5, "best half", COLOURS[4], 0.5),
    (0.1, "best 10 %", COLOURS[0], 0.9),
)
"""The groups of settings in parallel coordinates, which are drawn in this order: part, name, colour, opacity."""


@dataclass(frozen=True)
class ParallelAxis:
    """One of parallel coordinates: where each setting meets it, from 0 to 1, and what is written at it."""

    title: str
    places: Sequence[float | None]
    labels: Sequence[tuple[float, str]]


def parallel(trials: Sequence[Trial], title: str, metric: str) -> tuple[Chart, str] | None:
    """Draw each setting as a line over its parameters to its metric, and say what is drawn.

    None where fewer than two numbers vary. Settings that diverged are left out.
    """
    good = [each for each in trials if each.median is not None]
    paths = numeric_paths(good)[:MOST_PANELS]
    if len(paths) < 2:
        return None
    shown = thinned(good, MOST_LINES)
    others = dict.fromkeys(path for each in shown for path in each.setting if path not in paths)
    names = [_names(path, [_text(each, path) for each in shown]) for path in others]
    values = _names(title, [each.value for each in shown], most=len(shown))
    axes = [
        *filter(None, [values, *names]),
        *(_numbers(path, [number_at(each, path) for each in shown]) for path in paths),
        _numbers(metric, [each.median for each in shown]),
    ]
    places = {id(each): place for place, each in enumerate(good)}
    data: list[dict[str, Any]] = []
    ends = [0.0, *sorted(part for part, *_ in PARTS)]
    for part, name, colour, opacity in PARTS:  # the best are drawn last
        above = max(end for end in ends if end < part)
        own = [
            line
            for line, each in enumerate(shown)
            if above * len(good) <= places[id(each)] < part * len(good)
        ]
        x: list[float | None] = []
        y: list[float | None] = []
        for line in own:
            met = [(place, at) for place, each in enumerate(axes) if (at := each.places[line]) is not None]
            x += [*(float(place) for place, _ in met), None]
            y += [*(at for _, at in met), None]
        data.append(
            {
                "name": name,
                "x": x,
                "y": numbers(y),
                "mode": "lines",
                "opacity": opacity,
                "line": {"color": colour, "width": 1.4},
                "hoverinfo": "skip",
            }
        )
    figure = layout(
        margin={"l": 100, "r": 10, "t": 55, "b": 30},
        xaxis={"visible": False, "range": [-0.05, len(axes) - 1 + 0.25]},
        yaxis={"visible": False, "range": [-0.06, 1.06]},
        shapes=[_vertical(place) for place in range(len(axes))],
        annotations=[words for place, each in enumerate(axes) for words in _written(each, place)],
        legend={"traceorder": "reversed"},
    )
    number = f"{len(shown)} of {len(good)}" if len(shown) < len(good) else str(len(good))
    words = (
        f"each line is one of {number} settings with a median. In the legend, a click hides or shows a group, "
        "a double click leaves it alone"
    )
    return {"data": data, "layout": figure, "height": 400}, words


def _text(trial: Trial, path: str) -> str | None:
    return text_of(trial.setting[path]) if path in trial.setting else None


def _names(title: str, values: Sequence[str | None], most: int = CATEGORIES) -> ParallelAxis | None:
    """Return an axis of names; None if it has one or too many."""
    distinct = list(dict.fromkeys(value for value in values if value is not None))
    if not 1 < len(distinct) <= most:
        return None
    at = {value: place / (len(distinct) - 1) for place, value in enumerate(reversed(distinct))}
    return ParallelAxis(
        title,
        [None if value is None else at[value] for value in values],
        [(y, name) for name, y in at.items()],
    )


def _numbers(title: str, values: Sequence[float | None]) -> ParallelAxis:
    known = np.array([value for value in values if value is not None])
    low, high, log = float(known.min()), float(known.max()), needs_log(known)
    start, stop = (math.log10(low), math.log10(high)) if log else (low, high)

    def place(value: float | None) -> float | None:
        if value is None:
            return None
        return 0.5 if stop == start else ((math.log10(value) if log else value) - start) / (stop - start)

    middle = 10 ** ((start + stop) / 2) if log else (start + stop) / 2
    labels = [(0.0, f"{low:.3g}"), (0.5, f"{middle:.3g}"), (1.0, f"{high:.3g}")]
    return ParallelAxis(title, [place(value) for value in values], labels)


def _vertical(place: int) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": place,
        "x1": place,
        "y0": 0,
        "y1": 1,
        "line": {"color": "#8a949e", "width": 1},
    }


def _written(of: ParallelAxis, place: int) -> list[dict[str, Any]]:
    """Return title and labels of an axis; those of the first stand to its left."""
    common = {"x": place, "showarrow": False, "yref": "y", "xref": "x"}
    side = {"xanchor": "right", "xshift": -4} if place == 0 else {"xanchor": "left", "xshift": 4}
    name = short_name(of.title)
    return [
        {**common, "y": 1.06, "text": f"<b>{label(name)}</b>", "yanchor": "bottom"},
        *({**common, **side, "y": y, "text": label(text), "font": {"size": 10}} for y, text in of.labels),
    ]
