"""The metric of a sweep over a parameter: load it, and plot it in the terminal."""

import sys
from collections.abc import Sequence

import numpy as np

from optrun.analysis.best_run import find_numbered
from optrun.analysis.leaderboard import plan_of
from optrun.analysis.sensitivity import (
    NO_VALUE,
    NOT_POSITIVE,
    PRUNED,
    Line,
    Sensitivity,
    beyond,
    default_parameter,
    heading,
    ranked_by,
    sensitivities,
)
from optrun.cli.text.console import COLOURS, counted, drawn, emit, quoted, suggest_picture
from optrun.cli.views.curves import HEIGHT, columns
from optrun.errors import ConfigError, printable
from optrun.plots.braille import Mark
from optrun.plots.terminal import Series, drawing
from optrun.plots.ticks import axis_of, values_prefer_log
from optrun.store import Store

BEST, STOPPED = "★", "○"
WITHOUT_VALUE = {"diverged": "×", "failed": "+", "missed": "□", "lacking": "Y"}
"""Marks of settings with runs without a value, by the keys of NO_VALUE."""
BELOW, ABOVE = "↓", "↑"
"""Marks at the edge for medians outside the visible range."""


def has_sensitivity(runs: Sequence[str]) -> bool:
    """Whether this is a single sweep with a default parameter for a sensitivity."""
    if len(runs) != 1:
        return False
    path, run = find_numbered(runs[0])
    with Store.open(path) as store:
        plan = plan_of(store) if run is None else None
        return plan is not None and default_parameter(plan) is not None


def sensitivity_of(
    runs: Sequence[str], over: str | None, metric: str | None, problem: str | None = None
) -> tuple[str, list[Sensitivity]]:
    """Return the name of a sweep and the sensitivity on each problem, and print how many settings are left out.

    Raises ConfigError unless ``runs`` is one sweep with such a parameter, metric and problem.
    """
    if len(runs) != 1:
        raise ConfigError(f"a sensitivity plot needs one sweep, not {len(runs)} runs")
    path, run = find_numbered(runs[0])
    with Store.open(path) as store:
        plan = plan_of(store) if run is None else None
        if plan is None:
            raise ConfigError(f"{runs[0]}: a single run: a sensitivity plot needs a sweep")
        name = str(store.run(0).config.get("name", path.name))
        plan, states = ranked_by(plan, store, metric)
        found = sensitivities(plan, states, over, problem)
    if left_out := sum(each.left_out for each in found):
        those = counted(left_out, "setting")
        print(printable(f"note: {those} without {found[0].parameter} left out"), file=sys.stderr)
    return printable(name), found


def print_sensitivity(
    runs: Sequence[str],
    over: str | None,
    metric: str | None,
    log: bool | None,
    width: int | None,
    height: int | None,
    problem: str | None = None,
) -> None:
    """Plot the metric of a sweep over a parameter in the terminal, each problem by itself."""
    name, panels = sensitivity_of(runs, over, metric, problem)
    for index, found in enumerate(panels):
        if index:
            emit("")
        _print(name, found, log, width, height)
    options = f" --over {quoted(over)}" if over else ""
    options += f" -m {quoted(metric)}" if metric else ""
    options += f" --problem {quoted(problem)}" if problem else ""
    suggest_picture(f"plot {quoted(runs[0])}{options} -o sensitivity.png")


def _print(name: str, found: Sensitivity, log: bool | None, width: int | None, height: int | None) -> None:
    medians = [line.median for line in found.lines]
    log = values_prefer_log(medians) if log is None else log
    shown = found.lines[: len(COLOURS)]
    series = [_series(found, line, log=log) for line in shown]
    x = np.concatenate([line.x for line in found.lines])
    on = f" on {printable(found.problem)}" if found.problem else ""
    picture = drawing(
        series,
        width=columns(width),
        height=height or HEIGHT,
        log=log,
        title=f"{name}: {found.metric} over {found.parameter}{on}",
        x_axis=axis_of(x.min(), x.max(), found.log),
    )
    emit(drawn(picture))
    emit(printable_heading(found))
    notes = [
        f"{WITHOUT_VALUE[why]} {words}"
        for why, words in NO_VALUE.items()
        if any(why in line.without_value for line in shown)
    ]
    notes += [f"{STOPPED} {PRUNED}"] * any(line.pruned.any() for line in shown)
    edge = f"{BELOW} far worse, below" if found.maximize else f"{ABOVE} far worse, above"
    worse, hidden = zip(*(beyond(found, line, log=log) for line in shown), strict=True)
    notes += [f"{edge} the plot"] * any(each.any() for each in worse)
    notes += [f"{BELOW} {NOT_POSITIVE}"] * any(each.any() for each in hidden)
    notes += [f"{len(found.lines) - len(shown)} more lines are not drawn"] * (len(found.lines) > len(shown))
    if notes:
        emit(", ".join(notes))


def printable_heading(found: Sensitivity) -> str:
    """Return the heading of a sensitivity without control characters."""
    return "\n".join(map(printable, heading(found).split("\n")))


def _series(found: Sensitivity, line: Line, *, log: bool) -> Series:
    worst = -np.inf if found.maximize else np.inf
    worse, hidden = beyond(found, line, log=log)
    marks = [Mark(x, worst, BELOW if found.maximize else ABOVE) for x in line.x[worse]]
    marks += [Mark(x, -np.inf, BELOW) for x in line.x[hidden]]
    for why, shares in line.without_value.items():
        marks += [Mark(x, worst, WITHOUT_VALUE[why]) for x in line.x[shares > 0]]
    y = np.where(worse | hidden, np.nan, line.median)
    stopped = line.pruned & np.isfinite(y)
    marks += [Mark(*point, STOPPED) for point in zip(line.x[stopped], y[stopped], strict=True)]
    if found.best is not None and found.best in line.standings:
        marks.append(Mark(found.best.setting[found.parameter], found.best.median or 0.0, BEST))
    return Series(line.label, line.x[~line.pruned], y[~line.pruned], marks, line.joined)
