"""How a metric depends on one swept parameter: median and quartiles, one line per setting of the other parameters."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from optrun.analysis.figure_names import figures_in, lacking
from optrun.analysis.leaderboard import Standing, SweepPlan, by_problem, leaderboard
from optrun.analysis.problem_labels import chosen_problem, several_problems
from optrun.analysis.run_difference import differing_labels
from optrun.arrays import Array
from optrun.config.same_problem import tells_problem
from optrun.config.yaml.writer import rounded
from optrun.errors import ConfigError, did_you_mean
from optrun.store import RunState
from optrun.training.curve_figures import Evaluated, with_figure

RATE = "lr"
"""The default parameter if several numbers vary."""

LEAST_RATIO = 10.0
"""The least ratio of two values for a log axis."""

SPREADS_ON_LOG, SPREADS = 1.5, 20.0
"""How far beyond the better half a median is still shown, in units of the range of that half."""

PRUNED = "pruned (stopped earlier)"

NO_VALUE = {"diverged": "diverged", "failed": "failed", "missed": "missed the target", "lacking": "no value"}
"""Why runs have no value of the metric, and how a legend says it; each has a mark of its own."""

NOT_POSITIVE = "0 or less, below the log axis"

LONGEST_SETTING = 75
"""The most characters of the best setting in a heading."""

LEAST_POINTS = 2
"""The least mean number of points per line; with fewer, settings that differ in other numbers share a line."""


@dataclass(frozen=True)
class Line:
    """The settings that differ only in the parameter, sorted by its values; arrays are ``[n]``."""

    label: str
    setting: Mapping[str, Any]
    """The values of the other swept parameters that its settings share."""
    standings: Sequence[Standing]
    x: Array
    joined: bool
    """Whether the points form one curve; False if its settings differ in other numbers too."""

    @cached_property
    def median(self) -> Array:
        """The median of the metric over the seeds; NaN if it falls on diverged runs, or if all failed."""
        return self._values("median")

    @cached_property
    def lower(self) -> Array:
        """The first quartile."""
        return self._values("lower")

    @cached_property
    def upper(self) -> Array:
        """The third quartile."""
        return self._values("upper")

    @cached_property
    def without_value(self) -> Mapping[str, Array]:
        """The fraction of the runs without a value, by the keys of NO_VALUE; only those that occur."""
        counts = [no_value(each) for each in self.standings]
        runs = np.array([each.runs for each in self.standings])
        found = {why: np.array([of[why] for of in counts]) / runs for why in NO_VALUE}
        return {why: shares for why, shares in found.items() if shares.any()}

    @cached_property
    def pruned(self) -> Array:
        """Whether each setting was pruned, so that its metric is that of an earlier step; bool."""
        return np.array([each.pruned is not None for each in self.standings])

    def _values(self, name: str) -> Array:
        values = [getattr(each, name) for each in self.standings]
        return np.array([np.nan if value is None else value for value in values])


@dataclass(frozen=True)
class Sensitivity:
    """The metric of a sweep against one of its parameters; the best line comes first."""

    parameter: str
    metric: str
    maximize: bool
    lines: Sequence[Line]
    repeats: int
    best: Standing | None
    """The best setting; None if no median is finite yet, or if the parameter is one of the problem."""
    left_out: int = 0
    """The number of settings without the parameter."""
    problem: str | None = None
    """The label of its problem; None if the sweep has one problem."""

    @property
    def log(self) -> bool:
        """Whether the parameter needs a log axis."""
        return needs_log(np.concatenate([line.x for line in self.lines]))

    @property
    def repeated(self) -> bool:
        """Whether settings have several seeds, hence quartiles."""
        return self.repeats > 1


def sensitivity(
    plan: SweepPlan,
    states: Sequence[RunState],
    parameter: str | None = None,
    problem: str | None = None,
) -> Sensitivity:
    """Return how a metric depends on a numeric parameter, by default the learning rate or the only one that varies.

    The metric is that of the plan, which the states have; ``problem`` is one of the sweep's problems, or a part of its
    label. Raises ConfigError if the sweep has no such parameter or problem, if no number varies, or if there are
    several problems and none is chosen.
    """
    found = sensitivities(plan, states, parameter, problem)
    if len(found) > 1:
        raise several_problems(plan.problems, "a sensitivity")
    return found[0]


def sensitivities(
    plan: SweepPlan,
    states: Sequence[RunState],
    parameter: str | None = None,
    problem: str | None = None,
) -> list[Sensitivity]:
    """Return the sensitivity of each problem of which a run has ended; arguments and errors as for `sensitivity`.

    Over a parameter of the problem, there is one for all values of that parameter.
    """
    path = chosen_parameter(plan, parameter)
    every: Sequence[Standing] = leaderboard(plan, states)
    if problem is not None:
        chosen = chosen_problem(plan.problems, problem)
        every = [each for each in every if each.problem == chosen]
    blocks = _without(path, every) if tells_problem(path) else by_problem(every)
    found = [_of_problem(plan, path, label, own) for label, own in blocks.items()]
    if not (drawn := [each for each in found if each is not None]):
        raise ConfigError("nothing to draw yet: no run has ended")
    return drawn


def _without(path: str, standings: Sequence[Standing]) -> dict[str | None, list[Standing]]:
    """Return the settings by their problems, told apart by all parameters but one."""
    groups: dict[str, list[Standing]] = {}
    parts: dict[str, dict[str, Any]] = {}
    for each in standings:
        part = {key: value for key, value in each.setting.items() if tells_problem(key) and key != path}
        groups.setdefault(repr(part), []).append(each)
        parts[repr(part)] = part
    if len(groups) == 1:
        return {None: list(standings)}
    return dict(zip(differing_labels(list(parts.values())), groups.values(), strict=True))


def _of_problem(
    plan: SweepPlan, path: str, problem: str | None, every: Sequence[Standing]
) -> Sensitivity | None:
    standings = [each for each in every if each.setting.get(path) is not None]
    if not (ended := [each for each in standings if each.waiting < each.runs]):
        return None
    groups = _grouped(ended, path)
    labels = differing_labels([others for others, _ in groups])
    lines = []
    for label, (others, members) in zip(labels, groups, strict=True):
        members = sorted(members, key=lambda each: (float(each.setting[path]), each.first))
        x = np.array([float(each.setting[path]) for each in members])
        alone = all(len(each.setting) == len(others) + 1 for each in members)
        lines.append(Line(label, others, members, x, joined=alone and bool((x[1:] > x[:-1]).all())))
    best = None if standings[0].median is None or tells_problem(path) else standings[0]
    left_out = len(every) - len(standings)
    return Sensitivity(path, plan.metric, plan.maximize, lines, plan.repeats, best, left_out, problem)


def needs_log(values: Array) -> bool:
    """Whether the values of a parameter need a log axis: their ratios vary less than their differences."""
    x = np.unique(values)
    if x.size < 2 or x[0] <= 0:
        return False
    if x.size == 2:
        return bool(x[1] >= LEAST_RATIO * x[0])
    by_ratio, by_difference = (
        float(np.std(gaps) / np.mean(gaps)) for gaps in (np.diff(np.log(x)), np.diff(x))
    )
    return by_ratio < by_difference


def heading(found: Sensitivity) -> str:
    """Return what the lines show, and the best setting."""
    best = best_text(found)
    return seeds_text(found) + (f"\n{best}" if found.best is not None else f", {best}" if best else "")


def no_value(of: Standing) -> dict[str, int]:
    """Return how many ended runs of a setting have no value of the metric, by the keys of NO_VALUE."""
    return {
        "diverged": of.diverged - of.missed,
        "failed": of.failed,
        "missed": of.missed,
        "lacking": of.lacking,
    }


def seeds_text(found: Sensitivity) -> str:
    """Return over which seeds the lines are."""
    return f"median and quartiles of {found.repeats} seeds" if found.repeated else "one seed"


def best_text(found: Sensitivity) -> str:
    """Return the best setting, or that there is none; nothing where the lines are over several problems."""
    if found.best is None or found.best.median is None:
        is_finite = any(np.isfinite(line.median).any() for line in found.lines)
        return "" if is_finite else "none finite"
    counts = no_value(found.best)
    words = [f"{counts[why]} of {found.best.runs} {text}" for why, text in NO_VALUE.items() if counts[why]]
    gone = f" ({', '.join(words)})" if words else ""
    return f"★ {_best_setting(found, found.best)}: {found.metric} {found.best.median:.4g}{gone}"


def _best_setting(found: Sensitivity, best: Standing) -> str:
    """Return the best setting: its line, the parameter, and the other varying parameters, as many as fit."""
    words = [found.lines[0].label] if len(found.lines) > 1 else []
    words.append(f"{found.parameter}={rounded(float(best.setting[found.parameter]), 4)}")
    others = [path for path in best.setting if path != found.parameter and path not in found.lines[0].setting]
    for index, path in enumerate(others):
        value = best.setting[path]
        text = f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
        longer = [*words, f"{path}={text}"]
        left = len(others) - index
        if len(", ".join(longer)) > LONGEST_SETTING:
            return f"{', '.join(words)} and {left} more"
        words = longer
    return ", ".join(words)


def visible_range(found: Sensitivity, *, log: bool) -> tuple[float, float]:
    """Return the range of `visible_medians` of all lines."""
    return visible_medians(np.concatenate([line.median for line in found.lines]), found.maximize, log=log)


def beyond(found: Sensitivity, line: Line, *, log: bool) -> tuple[Array, Array]:
    """Return which medians of a line are far worse than the visible range, and which a log axis cannot show."""
    low, high = visible_range(found, log=log)
    hidden = (line.median <= 0) & log & (not found.maximize)
    worse = line.median < low if found.maximize else line.median > high
    return np.asarray(worse & ~hidden), np.asarray(hidden)


def visible_medians(medians: Array, maximize: bool, *, log: bool) -> tuple[float, float]:
    """Return the least and the greatest median to show; medians far worse than the better half are cut off.

    Otherwise they would compress the rest of the plot. Both are 0 if no median is finite (on a ``log`` axis: positive).
    """
    known = medians[np.isfinite(medians) & ((medians > 0) | (not log))]
    if not known.size:
        return 0.0, 0.0
    cost = np.log10(known) if log else known
    cost = -cost if maximize else cost
    middle = np.median(cost)
    edge = middle + (SPREADS_ON_LOG if log else SPREADS) * (middle - cost.min())
    seen = known[cost <= edge] if cost.min() < middle else known
    return float(seen.min()), float(seen.max())


def numeric_parameters(plan: SweepPlan) -> list[str]:
    """Return the paths of the numeric swept parameters with more than one value."""
    values: dict[str, set[Any]] = {}
    for setting in plan.settings:
        for path, value in setting.items():
            if value is not None:  # null turns a parameter off; such settings are not drawn
                values.setdefault(path, set()).add(value if is_number(value) else None)
    return [path for path, found in values.items() if None not in found and len(found) > 1]


def is_number(value: Any) -> bool:
    """Whether a value of a config is a finite number."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # of most integers there is no float
        return False


def default_parameter(plan: SweepPlan) -> str | None:
    """Return the path of the learning rate or of the only number that varies; None if the choice is ambiguous."""
    paths = numeric_parameters(plan)
    rates = [path for path in paths if path.rpartition(".")[2] == RATE]
    return next((found[0] for found in (rates, paths) if len(found) == 1), None)


def chosen_parameter(plan: SweepPlan, parameter: str | None) -> str:
    """Return the path that a name or the end of one means; ConfigError unless it is that of one number that varies."""
    paths = numeric_parameters(plan)
    if not paths:
        varying = ", ".join({path: None for setting in plan.settings for path in setting}) or "the seed"
        raise ConfigError(f"no number varies in this sweep, only {varying}")
    among = f"of the numbers that vary: {', '.join(paths)}"
    if parameter is None:
        if (path := default_parameter(plan)) is None:
            raise ConfigError(f"over which parameter? Name one {among}", field="over")
        return path
    short = [path for path in paths if f".{path}".endswith(f".{parameter}")]
    named = [parameter] if parameter in paths else short
    if len(named) != 1:
        hint = did_you_mean(parameter, paths)
        raise ConfigError(f"{parameter!r} is not one {among}{hint and '.' + hint}", field="over")
    return named[0]


class Ranked(Evaluated, Protocol):
    """A store, or a sweep in memory."""

    def states(self) -> Sequence[RunState]: ...


def ranked_by(plan: SweepPlan, source: Ranked, metric: str | None) -> tuple[SweepPlan, Sequence[RunState]]:
    """Return a plan whose settings are ranked by another metric, by default its own, and the states of its runs.

    Raises ConfigError if no run has the metric.
    """
    states = source.states()
    if metric is None or metric == plan.metric:
        return plan, with_figure(states, source, plan.metric, plan.goal_of)
    states = with_figure(states, source, metric, plan.goal_of)
    if metric not in (known := figures_in(states)):
        there = f"there are {', '.join(known)}" if known else "no run has ended yet"
        hint = lacking(metric, known) if known else ""
        more = f".{hint}" if hint and not hint.startswith(" There are") else ""
        raise ConfigError(f"no metric {metric!r}: {there}{more}", field="metric")
    return replace(plan, metric=metric, maximize=plan.goal_of(metric) == "maximize"), states


def _grouped(standings: Sequence[Standing], path: str) -> list[tuple[dict[str, Any], list[Standing]]]:
    """Group the settings into lines: the values they share, and the settings; the line with the best one first."""
    groups = _by_others(standings, {path})
    if len(standings) < LEAST_POINTS * len(groups):
        numbers = {other for each in standings for other, value in each.setting.items() if is_number(value)}
        coarser = _by_others(standings, {path, *numbers})
        # Unless names differ in every setting: then the lines have one point either way.
        groups = coarser if len(coarser) < len(groups) else groups
    return groups


def _by_others(
    standings: Sequence[Standing], without: set[str]
) -> list[tuple[dict[str, Any], list[Standing]]]:
    groups: dict[str, tuple[dict[str, Any], list[Standing]]] = {}
    for each in standings:
        others = {path: value for path, value in each.setting.items() if path not in without}
        groups.setdefault(json.dumps(others, sort_keys=True), (others, []))[1].append(each)
    return list(groups.values())
