"""Matplotlib figures of runs: a metric above the learning rate, several runs in one figure."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from textwrap import wrap
from typing import Any, BinaryIO

from optrun.analysis.setting_curves import Curves
from optrun.arrays import Array
from optrun.errors import ConfigError, MissingExtraError, did_you_mean, install, printable
from optrun.forks import renew_after_fork
from optrun.plots.ticks import prefers_log

FORMATS = ("png", "svg", "pdf")
# Okabe & Ito (2008): distinguishable for colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "svg.hashsalt": "optrun",  # ids in SVG are random otherwise
    "svg.fonttype": "none",
}
WIDEST = 84
"""The number of characters across a figure."""

LINE = 0.23
"""The height of a line of a legend in inches."""

EVALUATIONS: dict[str, dict[str, Any]] = {
    "val_loss": {"linestyle": ":", "marker": "s", "markersize": 3},
    "test_loss": {"linestyle": "--", "marker": "o", "markersize": 3},
}
"""The evaluations that are drawn with the loss."""
GREY = "#909090"
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


def save_figure(
    runs: Sequence[Curves],
    stream: BinaryIO,
    format: str,
    *,
    metric: str = "loss",
    log: bool | None = None,
    title: str = "",
) -> None:
    """Draw a metric and the learning rate of runs into a stream; evaluations are dashed or dotted, quartiles shaded.

    The same runs give the same bytes. Raises MissingExtraError without Matplotlib.
    """
    labels = [run.label for run in runs]
    columns = 2 if max(map(len, labels)) <= WIDEST / 2 else 1
    with figure_into(stream, format, (8, 5.5 + height_of(labels, columns))) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        evaluated: dict[str, str] = {}
        for run, colour in zip(runs, cycle(COLOURS), strict=False):
            label = wrapped_label(run.label)
            upper.plot(*run.points(metric), color=colour, label=label, alpha=0.9, marker=_mark(run, metric))
            _shade(upper, run, metric, colour)
            for name in evaluations_of(metric, run.evaluations):
                upper.plot(run.evaluations["step"], run.evaluations[name], color=colour, **EVALUATIONS[name])
                evaluated[name] = GREY if len(runs) > 1 else colour
            lower.plot(run.curves["step"], run.curves["lr"], color=colour)
        for axes, name in ((upper, metric), (lower, "lr")):
            if prefers_log(name, [run.points(name)[1] for run in runs]) if log is None else log:
                axes.set_yscale("log")
        upper.set_ylabel(metric)
        lower.set_ylabel("learning rate")
        lower.set_xlabel("step")
        lower.margins(x=0.01)
        for name, colour in evaluated.items():
            upper.plot([], [], color=colour, label=name, **EVALUATIONS[name])
        if len(runs) > 1 or evaluated or title:
            handles = upper.get_legend_handles_labels()
            style = {"ncols": columns, "title": wrapped_label(title) if title else None, "alignment": "left"}
            figure.legend(*handles, loc="outside upper left", **style)
        else:
            upper.set_title(wrapped_label(runs[0].label), loc="left")


_drawing = threading.Lock()
"""Matplotlib's settings count for all threads."""
renew_after_fork(globals(), "_drawing")


@contextmanager
def figure_into(stream: BinaryIO, format: str, inches: tuple[float, float]) -> Iterator[Any]:
    """Yield an empty figure in optrun's style, and save it at the end; MissingExtraError without Matplotlib."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(f"pictures need Matplotlib: {install('matplotlib')}") from error
    settings: Any = {**mpl.rcParamsDefault, **STYLE}
    with _drawing, mpl.rc_context(settings):
        figure = Figure(figsize=inches, layout="constrained", dpi=150)
        yield figure
        figure.savefig(stream, format=format, metadata=METADATA[format])


def _mark(run: Curves, metric: str) -> str:
    """Return a marker for a metric of a single point, of which a line would show nothing."""
    return "o" if len(run.points(metric)[0]) == 1 else ""


def _shade(axes: Any, run: Curves, metric: str, colour: str) -> None:
    if metric in run.bands:
        axes.fill_between(run.points(metric)[0], *run.bands[metric], color=colour, alpha=0.18, linewidth=0)


def evaluations_of(metric: str, evaluations: Mapping[str, Array]) -> list[str]:
    """Return the evaluations to draw in the axes of a metric: those on held-out data with the loss."""
    return [name for name in EVALUATIONS if metric == "loss" and name in evaluations]


def wrapped_label(label: str) -> str:
    """Return a label wrapped to the width of a figure and escaped for Matplotlib."""
    # Matplotlib parses `$` as TeX, and hides labels that begin with `_`.
    lines = [line for part in label.split("\n") for line in wrap(printable(part), WIDEST)]
    return "\n".join(lines).replace("$", r"\$").lstrip("_") or "run"


def height_of(labels: Sequence[str], columns: int = 1) -> float:
    """Return the approximate height of a legend with these labels, in inches."""
    return LINE * sum(1 + wrapped_label(label).count("\n") for label in labels) / columns
