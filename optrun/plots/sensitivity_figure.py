"""The metric of a sweep against a parameter, as a figure."""

from typing import Any, BinaryIO

from optrun.analysis.sensitivity import PRUNED, Line, Sensitivity, heading, visible_range
from optrun.plots.figure import COLOURS, GREY, figure_into, height_of, inert
from optrun.plots.ticks import log_shows_more

BAND = 0.18
"""How opaque the band of quartiles is."""

FAINT = 0.45
"""How opaque what was pruned is."""

MARGIN = 0.07
"""Of the medians' range, beyond them on either side."""

WIDEST_BESIDE = 26
"""The longest label for which there is room beside the axes."""

MARKS_APART = 0.022
"""Of the height of the axes: marks of lines that diverge at the same value stand side by side."""


def save_sensitivity(
    found: Sensitivity, stream: BinaryIO, format: str, *, title: str, log: bool | None = None
) -> None:
    """Draw the median and the quartiles of each line, and write the picture.

    A line goes through the settings that came to their end; those that were pruned are hollow marks beside it.
    Where runs diverged or failed a cross stands at the worse edge, fainter the fewer they are. What is so bad that
    nothing else could be seen lies beyond that edge. ``log`` is that of the metric's axis.
    """
    drawn, rest = found.lines[: len(COLOURS)], found.lines[len(COLOURS) :]
    labels = [line.label for line in drawn]
    below = max(map(len, labels)) > WIDEST_BESIDE
    with figure_into(stream, format, (8, 5 + height_of(labels) * below)) as figure:
        axes = figure.subplots()
        for line in rest:
            axes.plot(line.x[~line.pruned], line.median[~line.pruned], color=GREY, linewidth=0.8, zorder=1)
        marked = 0
        for line, colour in zip(drawn, COLOURS, strict=False):
            _draw(axes, line, colour, repeated=found.repeated)
            if line.bad.any():
                _mark_bad(axes, line, colour, marked, at_the_top=not found.maximize)
                marked += 1
        on_log = log_shows_more([line.median for line in found.lines]) if log is None else log
        if found.log:
            axes.set_xscale("log")
        if on_log:
            axes.set_yscale("log", nonpositive="clip")
        low, high = visible_range(found, log=on_log)
        if low < high:
            margin = (high / low) ** MARGIN if on_log else MARGIN * (high - low)
            axes.set_ylim(*((low / margin, high * margin) if on_log else (low - margin, high + margin)))
        if not on_log:
            axes.ticklabel_format(axis="y", useOffset=False)  # a tick says its number whole
        beyond = _mark_beyond(axes, found, low, high)
        _mark_best(axes, found)
        axes.set_xlabel(inert(found.parameter))
        axes.set_ylabel(inert(found.metric))
        figure.suptitle(inert(f"{title}: {heading(found)}"), x=0.01, ha="left", fontsize=11)
        place = "outside lower left" if below else "outside right center"
        _legend(figure, axes, found, len(rest), place, beyond=beyond)


def _draw(axes: Any, line: Line, colour: str, *, repeated: bool) -> None:
    ended = ~line.pruned
    style: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 4}
    axes.plot(
        line.x[ended],
        line.median[ended],
        linestyle="-" if line.joined else "none",
        label=inert(line.label),
        zorder=3,
        **style,
    )
    hollow = {**style, "alpha": FAINT, "markerfacecolor": "none", "linestyle": "none"}
    axes.plot(line.x[line.pruned], line.median[line.pruned], zorder=2, **hollow)
    if repeated and line.joined:
        lower, upper = line.lower[ended], line.upper[ended]
        axes.fill_between(line.x[ended], lower, upper, color=colour, alpha=BAND, linewidth=0, zorder=2)
    elif repeated:
        lower, upper = line.lower[ended], line.upper[ended]
        axes.vlines(line.x[ended], lower, upper, color=colour, alpha=0.5, linewidth=1, zorder=2)


def _mark_bad(axes: Any, line: Line, colour: str, index: int, *, at_the_top: bool) -> None:
    height = 0.5 * MARKS_APART + index * MARKS_APART
    for x, share in zip(line.x[line.bad > 0], line.bad[line.bad > 0], strict=True):
        axes.plot(
            x,
            1 - height if at_the_top else height,
            marker="x",
            markersize=6,
            markeredgewidth=1.6,
            color=colour,
            alpha=0.3 + 0.7 * share,
            linestyle="none",
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            zorder=4,
        )


def _mark_beyond(axes: Any, found: Sensitivity, low: float, high: float) -> bool:
    """Mark at the edge the medians that are so bad that they lie beyond it; return whether there are any."""
    marked = False
    for line, colour in zip(found.lines, COLOURS, strict=False):
        x = line.x[line.median < low if found.maximize else line.median > high]
        marked |= bool(x.size)
        style = {"marker": "v" if found.maximize else "^", "markersize": 6, "color": colour}
        edge = [0.01 if found.maximize else 0.99] * len(x)
        transform = axes.get_xaxis_transform()
        axes.plot(x, edge, linestyle="none", transform=transform, clip_on=False, zorder=4, **style)
    return marked


def _mark_best(axes: Any, found: Sensitivity) -> None:
    if found.best is not None:
        point = (found.best.setting[found.parameter], found.best.median)
        style = {"marker": "*", "color": "#FFD000", "markersize": 15, "markeredgecolor": "black"}
        axes.plot(*point, linestyle="none", zorder=5, **style)


def _legend(figure: Any, axes: Any, found: Sensitivity, rest: int, place: str, *, beyond: bool) -> None:
    if rest:
        axes.plot([], [], color=GREY, linewidth=0.8, label=f"{rest} others")
    if any(line.pruned.any() for line in found.lines):
        hollow = {"marker": "o", "markersize": 4, "markerfacecolor": "none"}
        axes.plot([], [], linestyle="none", color=GREY, label=PRUNED, **hollow)
    if any(line.bad.any() for line in found.lines):
        axes.plot([], [], linestyle="none", marker="x", color=GREY, label="diverged or failed")
    if beyond:
        mark, edge = ("v", "below") if found.maximize else ("^", "above")
        axes.plot([], [], linestyle="none", marker=mark, color=GREY, label=f"far worse, {edge} the picture")
    handles, labels = axes.get_legend_handles_labels()
    if len(found.lines) > 1:
        figure.legend(handles, labels, loc=place)
    elif len(labels) > 1:
        axes.legend(handles[1:], labels[1:])
