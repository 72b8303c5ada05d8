"""How a metric depends on two swept numbers: the median in each cell of a grid, or in bins of drawn values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optrun.analysis.leaderboard import SweepPlan, metric_values, missed_target
from optrun.analysis.run_difference import differing_labels
from optrun.analysis.selection import SEED
from optrun.analysis.sensitivity import chosen_parameter, is_number, needs_log
from optrun.arrays import Array
from optrun.config.same_problem import tells_problem
from optrun.errors import ConfigError
from optrun.store import RunState, Status

FILLED = 0.5
"""The least part of the cells of a grid that has settings; with fewer, the values are binned."""

MOST_BINS = 16
"""The most bins of a parameter."""

MOST_PANELS = 24
"""The most panels of a picture."""


@dataclass(frozen=True)
class HeatAxis:
    """The cells along a parameter: its values, or bins of them."""

    parameter: str
    values: Array
    """The value of each cell `[n]`, or the edges of the bins `[n + 1]`."""
    binned: bool
    log: bool
    """Whether the edges are equally spaced on a log scale."""

    @property
    def count(self) -> int:
        """The number of cells."""
        return len(self.values) - self.binned

    def place(self, value: float) -> int:
        """Return the number of the cell of a value."""
        if self.binned:
            return int(np.clip(np.searchsorted(self.values, value, side="right") - 1, 0, self.count - 1))
        return int(np.searchsorted(self.values, value))


@dataclass(frozen=True)
class HeatPanel:
    """The cells of the settings that share what is not a number; arrays are ``[y, x]``."""

    label: str
    problem: str
    """What tells its problem, the same for panels whose values can be compared."""
    median: Array
    """The median over the runs of a cell; infinite where that diverged (or minus that, if the highest is the best)."""
    runs: Array
    """The number of runs with a result."""
    bad: Array
    """The number of runs that diverged, or missed their target."""
    diverged: Array
    """The number of those that diverged."""


@dataclass(frozen=True)
class Heat:
    """The metric of a sweep over two of its parameters."""

    metric: str
    maximize: bool
    x: HeatAxis
    y: HeatAxis
    panels: Sequence[HeatPanel]
    others: Sequence[str]
    """The other numbers that vary, whose values are mixed in each cell."""
    left_out: int
    """The number of settings without one of the parameters."""


def heat_of(plan: SweepPlan, states: Sequence[RunState], over: Sequence[str]) -> Heat:
    """Return the medians of the metric over two numeric parameters; other numbers are mixed, other parameters panels.

    Values of a grid are cells; where most of these would be empty, as in a random search, values are binned. Raises
    ConfigError unless there are two such parameters, and runs that have ended.
    """
    if len(over) != 2:
        raise ConfigError(
            f"a heat map is over two parameters, such as optimizer.lr, not {len(over)}", field="over"
        )
    paths = [chosen_parameter(plan, each) for each in over]
    if paths[0] == paths[1]:
        raise ConfigError(f"a heat map is over two parameters, not twice over {paths[0]}", field="over")
    given = [index for index, setting in enumerate(plan.settings) if _has(setting, paths)]
    points = [each for each in (_Point(plan, states, index, paths) for index in given) if each.values]
    if not points:
        raise ConfigError("nothing to draw yet: no run has ended")
    x, y = _axes(paths, np.array([each.at for each in points]))
    shared = [
        path for path in dict.fromkeys(path for each in points for path in each.setting) if path not in paths
    ]
    names = [path for path in shared if path != SEED and _names(path, points)]
    groups: dict[str, list[_Point]] = {}
    for each in points:
        groups.setdefault(repr(each.part(names)), []).append(each)
    if len(groups) > MOST_PANELS:
        raise ConfigError(
            f"{len(groups)} panels, one for each {', '.join(names)}: a heat map has at most {MOST_PANELS}"
        )
    members = list(groups.values())
    labels = differing_labels([of[0].part(names) for of in members]) if len(members) > 1 else [""]
    problems = [path for path in names if tells_problem(path)]
    panels = [
        _panel(label, repr(of[0].part(problems)), of, x, y) for label, of in zip(labels, members, strict=True)
    ]
    return Heat(
        plan.metric,
        plan.maximize,
        x,
        y,
        panels,
        [path for path in shared if path not in (*names, SEED)],
        len(plan.settings) - len(given),
    )


class _Point:
    """A setting: where it is, and what its runs have come to."""

    def __init__(self, plan: SweepPlan, states: Sequence[RunState], index: int, paths: Sequence[str]) -> None:
        self.setting = plan.settings[index]
        self.at = [float(self.setting[path]) for path in paths]
        own = states[index * plan.repeats : (index + 1) * plan.repeats]
        self.values = metric_values(own, plan.metric, -math.inf if plan.maximize else math.inf)
        bad = sum(map(math.isinf, self.values))
        missed = sum(
            state.status is not Status.DIVERGED for state in own if missed_target(state, plan.metric)
        )
        self.diverged = bad - missed

    def part(self, names: Sequence[str]) -> dict[str, Any]:
        return {path: self.setting[path] for path in names if path in self.setting}


def _has(setting: Mapping[str, Any], paths: Sequence[str]) -> bool:
    return all(setting.get(path) is not None for path in paths)


def _names(path: str, points: Sequence[_Point]) -> bool:
    values = [each.setting.get(path) for each in points]
    return tells_problem(path) or not all(value is None or is_number(value) for value in values)


def _axes(paths: Sequence[str], at: Array) -> tuple[HeatAxis, HeatAxis]:
    cells = len(np.unique(at, axis=0))
    distinct = [np.unique(column) for column in at.T]
    sparse = cells < FILLED * len(distinct[0]) * len(distinct[1])
    bins = min(MOST_BINS, max(2, round(math.sqrt(cells))))
    x, y = (
        _axis(path, values, bins if sparse and len(values) > bins else None)
        for path, values in zip(paths, distinct, strict=True)
    )
    return x, y


def _axis(path: str, values: Array, bins: int | None) -> HeatAxis:
    log = needs_log(values)
    if bins is None:
        return HeatAxis(path, values, False, log)
    spaced = np.geomspace if log else np.linspace
    return HeatAxis(path, np.asarray(spaced(values[0], values[-1], bins + 1)), True, log)


def _panel(label: str, problem: str, points: Sequence[_Point], x: HeatAxis, y: HeatAxis) -> HeatPanel:
    cells: dict[tuple[int, int], list[float]] = {}
    median, (runs, bad, diverged) = np.full((y.count, x.count), np.nan), np.zeros((3, y.count, x.count), int)
    for each in points:
        place = y.place(each.at[1]), x.place(each.at[0])
        cells.setdefault(place, []).extend(each.values)
        diverged[place] += each.diverged
    for place, values in cells.items():
        median[place] = np.median(values)
        runs[place], bad[place] = len(values), int(np.isinf(values).sum())
    return HeatPanel(label, problem, median, runs, bad, diverged)
