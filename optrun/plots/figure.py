"""Matplotlib figures: how they begin, their legends, how they are saved; a metric above the learning rate."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from math import ceil
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, BinaryIO

from optrun.arrays import Array
from optrun.errors import ConfigError, did_you_mean, printable
from optrun.plots.look import GREY, WIDEST, Look, matplotlib_in_style, series_style
from optrun.plots.ticks import prefers_log

if TYPE_CHECKING:
    from optrun.analysis.setting_curves import Curves
    from optrun.plots.picture import Picture

FORMATS = ("png", "svg", "pdf")
MOST_COLUMNS = 5
"""The most columns of a legend."""

MARGIN = 7
"""The width of a line and the gaps beside a label of a legend, in characters."""

SHARE = 0.35
"""The largest part of a picture of a given size that a legend takes."""

MOST_EVALUATED = 3
"""The most runs whose evaluations are drawn with the loss; with more, no line can be followed."""

EVALUATIONS: dict[str, dict[str, Any]] = {
    "val_loss": {"linestyle": ":", "marker": "s", "markersize": 3},
    "test_loss": {"linestyle": "--", "marker": "o", "markersize": 3},
}
"""The evaluations that are drawn with the loss."""
# No dates or versions, so that the same runs give the same bytes.
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


def format_of(path: Path) -> str:
    """Return the format of a file name's suffix; ConfigError for an unknown one."""
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in FORMATS:
        raise ConfigError(f"{path}: a picture ends in .{', .'.join(FORMATS)}.{did_you_mean(suffix, FORMATS)}")
    return suffix


@contextmanager
def new_picture(look: Look, inches: tuple[float, float]) -> Iterator["Picture"]:
    """Yield an empty figure, to be filled meanwhile; MissingExtraError without Matplotlib."""
    with matplotlib_in_style(look):
        from optrun.plots.picture import Picture

        yield Picture(look, inches)


def save(picture: "Picture", stream: BinaryIO, format: str) -> None:
    """Write a picture into a stream; the same picture gives the same bytes.

    Raises ConfigError if a given size has no room for it.
    """
    picture.savefig(stream, format=format, metadata=METADATA[format])
    if picture.crowded:
        width, height = picture.get_size_inches()
        letters = f"letters of {picture.look.font:g} points"
        raise ConfigError(f"{width:g} x {height:g} inches are too small for this picture with {letters}")


def curves_figure(
    runs: Sequence["Curves"],
    *,
    metric: str = "loss",
    log: bool | None = None,
    caption: str = "",
    smooth: int = 1,
    look: Look | None = None,
) -> "Picture":
    """Draw a metric and the learning rate of runs; evaluations are dashed or dotted, quartiles shaded.

    The evaluations of more than MOST_EVALUATED runs are left out, which the title says.

    ``smooth`` is what the curves were smoothed by. Raises MissingExtraError without Matplotlib.
    """
    look = look or Look()
    shown = len(runs) <= MOST_EVALUATED
    others = dict.fromkeys(name for run in runs for name in evaluations_of(metric, run.evaluations))
    if others and not shown:
        caption = f"{caption}\n".lstrip() + f"not drawn: {', '.join(others)} (draw one as the metric)"
    caption = look.named(caption)
    labels = [run.label for run in runs]
    with new_picture(look, look.inches(5.5, legend_shape(labels, look)[1])) as picture:
        upper, lower = picture.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        evaluated: dict[str, str] = {}
        for index, run in enumerate(runs):
            style = series_style(index)
            colour = style["color"]
            label = legend_label(run.label, look)
            upper.plot(*run.points(metric), label=label, alpha=0.9, **marked_if_alone(style, run, metric))
            shade(upper, run, metric, colour)
            for name in evaluations_of(metric, run.evaluations) if shown else ():
                upper.plot(run.evaluations["step"], run.evaluations[name], color=colour, **EVALUATIONS[name])
                evaluated[name] = GREY if len(runs) > 1 else colour
            lower.plot(run.curves["step"], run.curves["lr"], **marked_if_alone(style, run, "lr"))
        for axes, name in ((upper, metric), (lower, "lr")):
            if prefers_log(name, [run.points(name)[1] for run in runs]) if log is None else log:
                axes.set_yscale("log")
        upper.set_ylabel(wrapped_label(metric))
        lower.set_ylabel("learning rate")
        lower.set_xlabel(steps_label(metric, smooth))
        lower.margins(x=0.01)
        for name, colour in evaluated.items():
            upper.plot([], [], color=colour, label=name, **EVALUATIONS[name])
        if len(runs) > 1 or evaluated or (caption and look.title is None):
            legend_above(picture, *upper.get_legend_handles_labels(), title=caption)
        elif title := look.named(runs[0].label):
            upper.set_title(wrapped_label(title, look.characters), loc="left")
    return picture


def steps_label(metric: str, smooth: int) -> str:
    """Return the label of an axis of steps, which says what a metric was smoothed by."""
    escaped = wrapped_label(metric)
    return "step" if smooth == 1 else f"step ({escaped}: running mean over {smooth} recorded steps)"


def marked_if_alone(style: Mapping[str, Any], run: "Curves", metric: str) -> dict[str, Any]:
    """Return a style with a marker for a metric of a single point, of which a line would show nothing."""
    return {**style, "marker": "o", "markevery": None} if len(run.points(metric)[0]) == 1 else {**style}


def shade(axes: Any, run: "Curves", metric: str, colour: str) -> None:
    """Draw the band of a metric, if it has one."""
    if metric in run.bands:
        axes.fill_between(run.points(metric)[0], *run.bands[metric], color=colour, alpha=0.18, linewidth=0)


def evaluations_of(metric: str, evaluations: Mapping[str, Array]) -> list[str]:
    """Return the evaluations to draw in the axes of a metric: those on held-out data with the loss."""
    return [name for name in EVALUATIONS if metric == "loss" and name in evaluations]


def wrapped_label(label: str, widest: int = WIDEST) -> str:
    """Return a label wrapped to the width of a figure and escaped for Matplotlib."""
    # Matplotlib parses `$` as TeX, and hides labels that begin with `_`.
    lines = [line for part in label.split("\n") for line in wrap(printable(part), widest)]
    return "\n".join(lines).replace("$", r"\$").lstrip("_") or "run"


def legend_label(label: str, look: Look) -> str:
    """Return a label wrapped to the width of a legend."""
    return wrapped_label(label, look.characters - MARGIN)


def legend_shape(labels: Sequence[str], look: Look) -> tuple[int, int]:
    """Return the number of columns and of lines of a legend with these labels."""
    lines = [legend_label(label, look).split("\n") for label in labels]
    longest = max((len(line) for of in lines for line in of), default=0)
    columns = max(1, min(MOST_COLUMNS, look.characters // (longest + MARGIN)))
    return columns, ceil(sum(map(len, lines)) / columns)


def legend_above(
    picture: "Picture",
    handles: Sequence[Any],
    labels: Sequence[str],
    *,
    title: str = "",
) -> None:
    """Place a legend above all axes; in a picture of a given size, as many entries as leave room for the curves."""
    look = picture.look
    columns, lines = legend_shape(labels, look)
    heading = wrapped_label(title, look.characters) if title else None
    above = 1 + heading.count("\n") if heading else 0
    room = max(1, int(SHARE * picture.get_figheight() / look.line) - above) if look.size else lines
    if lines > room:
        heights = accumulate(1 + legend_label(label, look).count("\n") for label in labels)
        kept = max(1, sum(height < room * columns for height in heights))
        (blank,) = picture.axes[0].plot([], [], linestyle="none")
        handles, labels = [*handles[:kept], blank], [*labels[:kept], f"… and {len(labels) - kept} more"]
    picture.legend(handles, labels, loc="outside upper left", ncols=columns, title=heading, alignment="left")
