"""Matplotlib figure of the metric of a sweep against a parameter."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optrun.analysis.sensitivity import (
    NO_VALUE,
    NOT_POSITIVE,
    PRUNED,
    Line,
    Sensitivity,
    best_text,
    beyond,
    heading,
    seeds_text,
    visible_range,
)
from optrun.plots.figure import legend_above, legend_shape, new_picture, wrapped_label
from optrun.plots.look import COLOURS, GREY, Look
from optrun.plots.panels import inches_of, panel_axes
from optrun.plots.ticks import values_prefer_log

if TYPE_CHECKING:
    from optrun.plots.picture import Picture

BAND = 0.18
"""The opacity (alpha) of the band between the quartiles."""

FAINT = 0.45
"""The opacity (alpha) of pruned settings."""

MARGIN = 0.07
"""The margin at either end of the y axis, as a fraction of the range of the medians."""

BESIDE = 0.31
"""The part of a picture's width that labels beside the axes take at most; longer ones go above the axes."""

MARKS: Mapping[str, Mapping[str, Any]] = {
    "diverged": {"marker": "x"},
    "failed": {"marker": "+", "markersize": 8},
    "missed": {"marker": "s", "markerfacecolor": "none"},
    "lacking": {"marker": "1", "markersize": 8},
}
"""The marks of settings with runs without a value, by the keys of NO_VALUE."""

STAR: Mapping[str, Any] = {
    "marker": "*",
    "color": "#FFD000",
    "markersize": 15,
    "markeredgecolor": "black",
    "linestyle": "none",
}
"""The mark of the best setting."""

MARKS_APART = 0.022
"""The distance between the marks of lines that diverge at the same value, as a fraction of the axes' height."""


def sensitivity_figure(
    found: Sensitivity | Sequence[Sensitivity],
    *,
    name: str,
    log: bool | None = None,
    look: Look | None = None,
) -> "Picture":
    """Draw the median and the quartiles of each line, each of several problems in axes of its own.

    A line connects the settings that were not pruned; pruned ones are hollow markers. Marks at the worse edge are
    settings with runs without a value (MARKS), their opacity the fraction of these runs. Medians outside
    `visible_range` are marked at the edge. ``log`` chooses the scale of the metric's axis.
    """
    look = look or Look()
    panels = [found] if isinstance(found, Sensitivity) else list(found)
    if len(panels) > 1:
        return _panels(panels, name, log, look)
    (found,) = panels
    colours = _colours(panels)
    rest = len(found.lines) - len(colours)
    labels = list(colours)
    above = len(labels) > 1 and max(map(len, labels)) > BESIDE * look.characters
    with new_picture(look, look.inches(5, above * legend_shape(labels, look)[1])) as picture:
        axes = picture.subplots()
        edges = _fill(axes, found, colours, log)
        axes.set_xlabel(wrapped_label(found.parameter))
        axes.set_ylabel(wrapped_label(found.metric))
        what = f" on {found.problem}" if found.problem else ""
        title = look.named(f"{name}{what}: {heading(found)}")
        if title and not above:
            shown = wrapped_label(title, look.characters)
            picture.suptitle(shown, x=0.01, ha="left", fontsize=look.font)
        _explain(axes, panels, rest, edges)
        handles, labels = axes.get_legend_handles_labels()
        if len(found.lines) > 1 and not above:
            picture.legend(handles, labels, loc="outside right center")
        elif above:
            legend_above(picture, handles, labels, title=title)
        elif len(labels) > 1:
            axes.legend(handles[1:], labels[1:])
    return picture


def _panels(panels: Sequence[Sensitivity], name: str, log: bool | None, look: Look) -> "Picture":
    colours = _colours(panels)
    rest = len({line.label for found in panels for line in found.lines}) - len(colours)
    with new_picture(look, inches_of(look, len(panels), legend_shape(list(colours), look)[1] + 3)) as picture:
        titles = [f"{found.problem}\n{_best_line(found)}" for found in panels]
        drawn = panel_axes(picture, titles)
        edges = {
            label: marker
            for found, axes in zip(panels, drawn, strict=True)
            for label, marker in _fill(axes, found, colours, log).items()
        }
        picture.supxlabel(wrapped_label(panels[0].parameter), fontsize=look.font)
        picture.supylabel(wrapped_label(panels[0].metric), fontsize=look.font)
        handles = {
            label: drawn[0].plot([], [], color=colour, marker="o", markersize=4)[0]
            for label, colour in colours.items()
        }
        if len(handles) == 1:
            handles.clear()
        title = look.named(f"{name}: {seeds_text(panels[0])}")
        before = len(drawn[0].get_legend_handles_labels()[1])
        _explain(drawn[0], panels, rest, edges)
        of_marks, marks = (each[before:] for each in drawn[0].get_legend_handles_labels())
        labels = [*map(wrapped_label, handles), *marks]
        legend_above(picture, [*handles.values(), *of_marks], labels, title=title)
    return picture


def _best_line(found: Sensitivity) -> str:
    """Return the line and the median of the best setting, which a panel has room for."""
    if found.best is None or found.best.median is None:
        return best_text(found)
    of_line = f"{found.lines[0].label}: " if len(found.lines) > 1 else ""
    return f"★ {of_line}{found.best.median:.4g}"


def _colours(panels: Sequence[Sensitivity]) -> dict[str, str]:
    """Return the colour of each line that has one, by its label; it is the same in all panels."""
    labels = dict.fromkeys(line.label for found in panels for line in found.lines)
    return dict(zip(labels, COLOURS, strict=False))


def _fill(axes: Any, found: Sensitivity, colours: Mapping[str, str], log: bool | None) -> dict[str, str]:
    """Draw the lines of a problem; return the markers of medians beyond the visible range, by what they mean."""
    marked = 0
    for line in found.lines:
        colour = colours.get(line.label)
        if colour is None:
            axes.plot(line.x[~line.pruned], line.median[~line.pruned], color=GREY, linewidth=0.8, zorder=1)
        else:
            _draw(axes, line, colour, repeated=found.repeated)
        if line.without_value:
            _mark_without(
                axes, line, colour or GREY, marked if colour else len(colours), at_the_top=not found.maximize
            )
            marked += colour is not None
    on_log = values_prefer_log([line.median for line in found.lines]) if log is None else log
    if found.log:
        axes.set_xscale("log")
    if on_log:
        axes.set_yscale("log", nonpositive="clip")
    low, high = visible_range(found, log=on_log)
    if low < high:
        margin = (high / low) ** MARGIN if on_log else MARGIN * (high - low)
        axes.set_ylim(*((low / margin, high * margin) if on_log else (low - margin, high + margin)))
    if not on_log:
        axes.ticklabel_format(axis="y", useOffset=False)  # tick labels without a common offset
    edges = _mark_beyond(axes, found, colours, log=on_log)
    _mark_best(axes, found)
    return edges


def _draw(axes: Any, line: Line, colour: str, *, repeated: bool) -> None:
    ended = ~line.pruned
    style: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 4}
    axes.plot(
        line.x[ended],
        line.median[ended],
        linestyle="-" if line.joined else "none",
        label=wrapped_label(line.label),
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


def _mark_without(axes: Any, line: Line, colour: str, index: int, *, at_the_top: bool) -> None:
    height = 0.5 * MARKS_APART + index * MARKS_APART
    for why, shares in line.without_value.items():
        style = {"markersize": 6, "markeredgewidth": 1.6, "color": colour, **MARKS[why]}
        for x, share in zip(line.x[shares > 0], shares[shares > 0], strict=True):
            axes.plot(
                x,
                1 - height if at_the_top else height,
                alpha=0.3 + 0.7 * share,
                linestyle="none",
                transform=axes.get_xaxis_transform(),
                clip_on=False,
                zorder=4,
                **style,
            )


def _mark_beyond(axes: Any, found: Sensitivity, colours: Mapping[str, str], *, log: bool) -> dict[str, str]:
    """Mark the medians beyond the visible range at the edge; return the markers by what they mean."""
    marked: dict[str, str] = {}
    worse = ("v", "far worse, below the plot") if found.maximize else ("^", "far worse, above the plot")
    for line in found.lines:
        colour = colours.get(line.label, GREY)
        for there, (marker, meaning) in zip(
            beyond(found, line, log=log), (worse, ("v", NOT_POSITIVE)), strict=True
        ):
            x = line.x[there]
            if (
                not x.size
            ):  # unclipped and empty, it would widen the margins of the axes to the picture's corner
                continue
            marked[meaning] = marker
            axes.plot(
                x,
                [0.99 if marker == "^" else 0.01] * len(x),
                marker=marker,
                markersize=6,
                color=colour,
                linestyle="none",
                transform=axes.get_xaxis_transform(),
                clip_on=False,
                zorder=4,
            )
    return marked


def _mark_best(axes: Any, found: Sensitivity) -> None:
    if found.best is not None:
        point = (found.best.setting[found.parameter], found.best.median)
        axes.plot(*point, zorder=5, **STAR)


def _explain(axes: Any, panels: Sequence[Sensitivity], rest: int, edges: Mapping[str, str]) -> None:
    """Add what marks and grey lines mean to the legend."""
    lines = [line for found in panels for line in found.lines]
    style: dict[str, Any] = {"linestyle": "none", "color": GREY}
    if rest:
        axes.plot([], [], color=GREY, linewidth=0.8, label=f"{rest} others")
    if any(line.pruned.any() for line in lines):
        axes.plot([], [], marker="o", markersize=4, markerfacecolor="none", label=PRUNED, **style)
    for why, words in NO_VALUE.items():
        if any(why in line.without_value for line in lines):
            axes.plot([], [], label=words, **style, **MARKS[why])
    for meaning, marker in edges.items():
        axes.plot([], [], marker=marker, label=meaning, **style)
