"""Matplotlib figure of the metric of a sweep over two parameters, as colours of cells."""

from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from optrun.analysis.heat import Heat, HeatAxis, HeatPanel
from optrun.analysis.leaderboard import worst
from optrun.analysis.sensitivity import visible_medians
from optrun.arrays import Array
from optrun.errors import counted
from optrun.plots.figure import legend_above, new_picture, wrapped_label
from optrun.plots.look import GREY, Look
from optrun.plots.ticks import labels, values_prefer_log

if TYPE_CHECKING:
    from optrun.plots.picture import Picture

EMPTY = "#D4D4D4"
"""The colour of cells without a result."""

MISSED: dict[str, Any] = {"facecolor": "#F4F4F4", "edgecolor": GREY, "hatch": "////", "linewidth": 0}
DIVERGED: dict[str, Any] = {"facecolor": "#F4F4F4", "edgecolor": "#606060", "hatch": "xxxx", "linewidth": 0}
"""The looks of cells without a finite median."""

HEIGHTS = {1: 5.0, 2: 3.4, 3: 2.7}
"""The height of axes in inches by how many are side by side."""

MOST_TICKS = 9
"""The most values that are written along an axis that has the width of a picture."""

EXTEND = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}


def heat_figure(found: Heat, *, log: bool | None = None, look: Look | None = None) -> "Picture":
    """Draw the median of each cell as a colour, the best ones bright, with a star at the best cell of each panel.

    Cells without a finite median are hatched, where half the runs diverged otherwise than where they missed a target;
    those without a result are grey. Crosses mark cells with other bad runs. Values far worse than most have the last
    colour. Panels of one problem share their colours. ``log`` chooses the scale of the colours.
    """
    look = look or Look()
    columns = min(len(found.panels), 2 if len(found.panels) <= 4 else 3)
    rows = ceil(len(found.panels) / columns)
    with new_picture(look, look.inches(HEIGHTS[columns] * rows, 3)) as picture:
        every = picture.subplots(rows, columns, squeeze=False).ravel()
        scales = {problem: _scale(found, problem, log) for problem in {each.problem for each in found.panels}}
        for panel, axes in zip(found.panels, every, strict=False):
            mesh = _draw(axes, found, panel, scales[panel.problem], look, columns)
            if len(scales) > 1:
                picture.colorbar(mesh, ax=axes, extend=scales[panel.problem]["extend"])
            if panel.label:
                label = wrapped_label(panel.label, look.characters // columns - 6)
                axes.set_title(label, fontsize=0.9 * look.font)
        for axes in every[len(found.panels) :]:
            axes.set_axis_off()
        if len(scales) == 1:
            ((_, scale),) = scales.items()
            used = list(every[: len(found.panels)])
            picture.colorbar(mesh, ax=used, extend=scale["extend"], label=wrapped_label(found.metric))
        picture.supxlabel(wrapped_label(found.x.parameter), fontsize=look.font)
        picture.supylabel(wrapped_label(found.y.parameter), fontsize=look.font)
        _legend(picture, found, look.named(_title(found)))
    return picture


def _title(found: Heat) -> str:
    counts = np.concatenate([panel.runs[panel.runs > 0] for panel in found.panels])
    number = (
        counted(int(counts[0]), "run") if np.ptp(counts) == 0 else f"{counts.min()} to {counts.max()} runs"
    )
    words = [f"median {found.metric} of {number} per cell"]
    words += [f"over values of {', '.join(found.others)}"] * bool(found.others)
    words += [f"{counted(found.left_out, 'setting')} without these parameters left out"] * bool(
        found.left_out
    )
    return ", ".join(words)


def _scale(found: Heat, problem: str, log: bool | None) -> Mapping[str, Any]:
    """Return the norm of the colours of a problem, and which end of it is open."""
    from matplotlib.colors import LogNorm, Normalize

    medians = np.concatenate([each.median.ravel() for each in found.panels if each.problem == problem])
    finite = medians[np.isfinite(medians)]
    on_log = values_prefer_log([finite]) if log is None else log
    low, high = visible_medians(finite, found.maximize, log=on_log)
    if low == high:
        low, high = (low or 1.0) - 0.5 * abs(low or 1.0), (high or 1.0) + 0.5 * abs(high or 1.0)
    beyond = bool((finite < low).any()), bool((finite > high).any())
    return {"norm": (LogNorm if on_log else Normalize)(low, high, clip=True), "extend": EXTEND[beyond]}


def _draw(
    axes: Any, found: Heat, panel: HeatPanel, scale: Mapping[str, Any], look: Look, columns: int
) -> Any:
    edges = [_edges(axis) for axis in (found.x, found.y)]
    colours = "viridis" if found.maximize else "viridis_r"
    finite = np.ma.masked_invalid(panel.median)
    mesh = axes.pcolormesh(*edges, finite, cmap=colours, norm=scale["norm"], rasterized=True)
    axes.set_facecolor(EMPTY)
    for cells, cell_look in zip(_hatched(panel), (DIVERGED, MISSED), strict=True):
        for y, x in np.argwhere(cells):
            corner = (edges[0][x], edges[1][y])
            size = edges[0][x + 1] - corner[0], edges[1][y + 1] - corner[1]
            axes.add_patch(_rectangle(corner, *size, cell_look))
    middles = [_middles(axis, each) for axis, each in zip((found.x, found.y), edges, strict=True)]
    some = np.argwhere((panel.bad > 0) & np.isfinite(panel.median))
    axes.plot(middles[0][some[:, 1]], middles[1][some[:, 0]], **CROSS, linestyle="none")
    if np.isfinite(panel.median).any():
        known = np.where(np.isfinite(panel.median), panel.median, -np.inf if found.maximize else np.inf)
        best = np.unravel_index(known.argmax() if found.maximize else known.argmin(), known.shape)
        axes.plot([middles[0][best[1]]], [middles[1][best[0]]], **STAR, linestyle="none")
    axes.grid(False)
    for axis, which, most in ((found.x, axes.xaxis, MOST_TICKS / columns), (found.y, axes.yaxis, MOST_TICKS)):
        if axis.binned:
            which.axes.set(**{f"{which.axis_name}scale": "log" if axis.log else "linear"})
        else:
            _write_values(which, axis, ceil(axis.count / max(2, round(most * look.characters / 84))))
    axes.set_xlim(edges[0][0], edges[0][-1])
    axes.set_ylim(edges[1][0], edges[1][-1])
    return mesh


CROSS: dict[str, Any] = {"marker": "x", "color": "black", "markersize": 4}
STAR: dict[str, Any] = {"marker": "*", "color": "#FFD000", "markersize": 13, "markeredgecolor": "black"}


def _edges(axis: HeatAxis) -> Array:
    return axis.values if axis.binned else np.arange(axis.count + 1) - 0.5


def _middles(axis: HeatAxis, edges: Array) -> Array:
    return np.sqrt(edges[1:] * edges[:-1]) if axis.binned and axis.log else (edges[1:] + edges[:-1]) / 2


def _write_values(which: Any, axis: HeatAxis, every: int) -> None:
    places = np.arange(axis.count)[::every]
    which.set_ticks(places, labels([float(f"{value:.3g}") for value in axis.values[places]]))


def _hatched(panel: HeatPanel) -> tuple[Array, Array]:
    """Return which cells without a finite median have half or more diverged runs, and which have not."""
    gone, diverged = np.isinf(panel.median), 2 * panel.diverged >= panel.runs
    return gone & diverged, gone & ~diverged


def _rectangle(corner: tuple[float, float], width: float, height: float, look: Mapping[str, Any]) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, **look)


def _legend(picture: "Picture", found: Heat, title: str) -> None:
    axes = picture.axes[0]
    handles: list[Any] = []
    names: list[str] = []
    bad = [(panel.bad > 0) & np.isfinite(panel.median) for panel in found.panels]
    if any(np.isfinite(panel.median).any() for panel in found.panels):
        handles += axes.plot([], [], linestyle="none", **STAR)
        names.append("best")
    for place, (look, name) in enumerate(((DIVERGED, "diverged"), (MISSED, "missed"))):
        if any(_hatched(panel)[place].any() for panel in found.panels):
            handles.append(_rectangle((0, 0), 1, 1, look))
            names.append(f"half or more {name}")
    if any(each.any() for each in bad):
        handles += axes.plot([], [], linestyle="none", **CROSS)
        names.append(f"some {worst(found.metric)}")
    if any((panel.runs == 0).any() for panel in found.panels):
        handles.append(_rectangle((0, 0), 1, 1, {"facecolor": EMPTY}))
        names.append("no result")
    legend_above(picture, handles, names, title=title)
