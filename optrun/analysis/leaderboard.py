"""Rank the settings of a sweep, within each problem, by the median of a metric over the repeats (seeds)."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from optrun.analysis.problem_labels import labels_of_settings
from optrun.arrays import Array
from optrun.config.goal import Goal, goal_of
from optrun.config.sweep.rules import GRID
from optrun.errors import StoreError, counted
from optrun.store import RunState, Status, Store
from optrun.store.event_names import PLAN, PLUGINS
from optrun.store.setting_columns import SettingColumns
from optrun.store.states import States
from optrun.store.types import TO_TARGET
from optrun.training.curve_figures import with_figure

QUARTILES = (25, 50, 75)


@dataclass(frozen=True)
class Standing:
    """The result of one setting: median and quartiles of the metric over its ended runs; divergence is the worst value.

    A quantile that falls on diverged runs is None; all are None if no run has ended, or if all have failed.
    """

    setting: Mapping[str, Any]
    first: int
    """The number of its first run."""
    runs: int
    diverged: int
    failed: int
    lacking: int
    """Runs that ended before the metric had a value, e.g. before averaging began."""
    pruned: int | None
    """The step at which the setting was pruned, if it was; its metric is that of this step."""
    waiting: int
    """Runs that have not ended."""
    median: float | None
    lower: float | None
    """The first quartile."""
    upper: float | None
    """The third quartile."""
    reached: int = 0
    """Runs that ended at `stop.target`."""
    steps_to_target: float | None = None
    """The median number of steps to the target; None if it was missed by half of the ended runs or more."""
    problem: str | None = None
    """The label of its problem; None if the sweep has one problem."""
    missed: int = 0
    """How many of `diverged` only missed their target."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class SweepPlan:
    """The plan of a sweep, as its store has it."""

    settings: Sequence[Mapping[str, Any]]
    repeats: int
    metric: str
    maximize: bool
    runs: int = 0
    """The planned number of runs, if the sweep method has yet to propose some of them; else 0."""
    method: str = ""
    """The sweep method; empty in stores of older versions."""
    plugins: tuple[str, ...] = ()
    """The plugins that the sweep was started with."""
    problems: Sequence[str] = ()
    """The label of each setting's problem; empty if the sweep has one problem."""
    crossed: Sequence[str] = ()
    """The paths of whose values every drawn setting has each."""

    @property
    def goal(self) -> Goal:
        """Which end of the metric is the better one."""
        return "maximize" if self.maximize else "minimize"

    def goal_of(self, name: str) -> Goal:
        """Return the goal of a figure of the runs."""
        return goal_of(name, self.metric, self.goal)

    @property
    def is_drawn(self) -> bool:
        """Whether its method draws settings, in place of every combination of values; halving counts as drawing."""
        return self.method not in ("", GRID)

    def setting(self, run: int) -> Mapping[str, Any]:
        """Return the setting of a run."""
        return self.settings[run // self.repeats]


def worst(metric: str) -> str:
    """Return what a run has done whose metric is the worst: it diverged, or missed its target."""
    return "missed" if metric in TO_TARGET else "diverged"


def states_of(store: Store, plan: SweepPlan) -> States:
    """Return the states of all runs, with the metric of the plan."""
    return with_figure(store.states(), store, plan.metric, plan.goal_of)


def plan_of(store: Store) -> SweepPlan | None:
    """Return the plan of a sweep, None for a single run; StoreError if it is damaged."""
    plans = [event.details for event in store.events(PLAN)]
    if not plans:
        return None
    # A plan event with a digest replaces all earlier ones; one without adds settings to them.
    plans = plans[max((i for i, details in enumerate(plans) if "digest" in details), default=0) :]
    try:
        settings = _settings_of(store, [details["settings"] for details in plans])
        repeats, metric = plans[0]["repeats"], plans[0]["metric"]
        runs = int(plans[-1].get("runs", 0))
        plan = SweepPlan(
            settings,
            int(repeats),
            str(metric["name"]),
            metric["goal"] == "maximize",
            runs,
            str(plans[0].get("method", "")),
            tuple(map(str, plans[0].get("plugins", ()))),
            crossed=tuple(map(str, plans[0].get("crossed", ()))),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{store.path}: the plan of the sweep is damaged: {error!r}") from error
    if len(plan.settings) * plan.repeats != store.size:
        raise StoreError(f"{store.path}: the plan of the sweep is not one of {counted(store.size, 'run')}")
    return replace(
        plan,
        problems=labels_of_settings(plan.settings, lambda setting: store.run(setting * plan.repeats).config),
    )


def _settings_of(store: Store, parts: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
    """Return the settings that events list, or of which they say how many there are."""
    if not any(isinstance(part, int) for part in parts):
        return [dict(setting) for part in parts for setting in part]
    found: list[SettingColumns] = []
    for part in parts:
        first = sum(map(len, found))
        is_count = isinstance(part, int)
        own = store.settings(first, part) if is_count else SettingColumns.of([dict(each) for each in part])
        found += [own] if len(own) else []
    return found[0] if len(found) == 1 else SettingColumns.joined(found)


def paths_of(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the paths of settings, in the order in which they come."""
    if isinstance(settings, SettingColumns):
        return settings.paths
    return list(dict.fromkeys(path for setting in settings for path in setting))


def plugins_of(store: Store) -> tuple[str, ...]:
    """Return the plugins with which a run or a sweep was started."""
    plan = plan_of(store)
    if plan is not None:
        return plan.plugins
    noted = [event.details.get("plugins") for event in store.events(PLUGINS)]
    return tuple(map(str, noted[0])) if noted and isinstance(noted[0], list) else ()


def is_sweep(path: Path) -> bool:
    """Whether a directory holds a sweep rather than a single run; StoreError if it holds neither."""
    with Store.open(path) as store:
        return plan_of(store) is not None


def single(store: Store, run: int | None) -> int:
    """Return the number of the chosen run; StoreError if the store holds a sweep and no run is chosen."""
    if run is None and store.size > 1:
        example = f"{store.path}:0"
        raise StoreError(
            f"{store.path}: a sweep of {counted(store.size, 'run')}: name one of them, such as {example}"
        )
    return store.run(run or 0).run


def leaderboard(plan: SweepPlan, states: Sequence[RunState]) -> "Standings":
    """Return the settings, the best median first; those of several problems one problem after the other.

    A diverged run counts as the worst value. Settings with a run that failed or lacks the metric come after all
    others; among the rest, a setting that was pruned comes after all that ran for more steps. Problems are in the
    order of the plan: a metric of one problem is neither better nor worse than that of another.
    """
    return Standings(plan, states if isinstance(states, States) else States.of(states))


class Standings(Sequence[Standing]):
    """The ranking of the settings of a sweep, of which a standing is made when it is asked for."""

    def __init__(self, plan: SweepPlan, states: States, places: Array | None = None) -> None:
        self._plan, self._states = plan, states
        if places is None:
            self._quartiles, places = _ranked(plan, states)
        self._places = places
        """The numbers of the settings, the best first."""

    @property
    def reached(self) -> bool:
        """Whether a run ended at its target."""
        repeats = self._plan.repeats
        reached = self._states.are(Status.TARGET_REACHED)[: len(self._plan.settings) * repeats]
        return bool(reached.reshape(-1, repeats)[self._places].any())

    @property
    def settings(self) -> Sequence[Mapping[str, Any]]:
        """Its settings, in any order; of a part, those in its order."""
        settings = self._plan.settings
        return settings if len(self) == len(settings) else [settings[place] for place in self._places]

    def by_problem(self) -> "dict[str | None, Standings]":
        """Return the settings of each problem, each problem's best first; the one problem of a sweep is None."""
        if not self._plan.problems:
            return {None: self} if len(self) else {}
        found: dict[str | None, list[int]] = {}
        for place, setting in enumerate(self._places.tolist()):
            found.setdefault(self._plan.problems[setting], []).append(place)
        return {problem: self._part(np.array(places)) for problem, places in found.items()}

    @overload
    def __getitem__(self, index: int) -> Standing: ...
    @overload
    def __getitem__(self, index: slice) -> "Standings": ...
    def __getitem__(self, index: int | slice) -> "Standing | Standings":
        if isinstance(index, slice):
            return self._part(index)
        plan, setting = self._plan, int(self._places[index])
        first = setting * plan.repeats
        states = list(self._states[first : first + plan.repeats])
        lower, median, upper = (float(of) if math.isfinite(of) else None for of in self._quartiles[setting])
        problem = plan.problems[setting] if plan.problems else None
        return _standing(plan.settings[setting], first, states, plan.metric, lower, median, upper, problem)

    def __len__(self) -> int:
        return len(self._places)

    def __eq__(self, other: object) -> bool:
        return [*self] == [*other] if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def _part(self, places: slice | Array) -> "Standings":
        found = Standings(self._plan, self._states, self._places[places])
        found._quartiles = self._quartiles
        return found


def _ranked(plan: SweepPlan, states: States) -> tuple[Array, Array]:
    """Return the quartiles ``[settings, 3]`` of the metric, NaN for none, and the settings, the best first."""
    count, repeats = len(plan.settings), plan.repeats
    worst = -math.inf if plan.maximize else math.inf
    values, counts = states.values(plan.metric)
    ended = states.ended
    values = np.where(np.isnan(values), worst, values)[: count * repeats].reshape(count, repeats)
    is_in = (counts & ended & ~states.are(Status.FAILED))[: count * repeats].reshape(count, repeats)
    quartiles = np.full((count, len(QUARTILES)), np.nan)
    sizes = is_in.sum(axis=1)
    for size in np.flatnonzero(np.bincount(sizes[sizes > 0])):
        own = sizes == size
        quartiles[own] = _percentiles(values[own][is_in[own]].reshape(-1, int(size)))
    quartiles[~np.isfinite(quartiles)] = np.nan
    median = quartiles[:, 1]
    by_setting = {
        "waiting": ~ended,
        "failed": ended & states.are(Status.FAILED),
        "lacking": ended & ~counts,
        "bad": ended & counts & ~states.are(Status.FAILED) & ~np.isfinite(states.values(plan.metric)[0]),
    }
    number = {
        name: of[: count * repeats].reshape(count, repeats).sum(axis=1) for name, of in by_setting.items()
    }
    of_step = np.where(states.are(Status.PRUNED), states.steps, math.inf)[: count * repeats]
    last = of_step.reshape(count, repeats).min(axis=1, initial=math.inf)
    has_none = np.isnan(median)
    of_none = -(repeats - number["bad"] - number["failed"] - number["lacking"] - number["waiting"]) / repeats
    order = {problem: place for place, problem in enumerate(dict.fromkeys(plan.problems))}
    keys = (
        np.where(has_none, of_none, -median if plan.maximize else median),
        np.where(has_none, 0.0, -last),
        np.where(has_none, True, number["failed"] + number["lacking"] > 0),
        has_none,
        np.array([order[problem] for problem in plan.problems] or [0] * count),
    )
    return quartiles, np.lexsort(keys)


def by_problem(standings: Sequence[Standing]) -> Mapping[str | None, Sequence[Standing]]:
    """Return the settings of each problem, each problem's best first; the one problem of a sweep is None."""
    if isinstance(standings, Standings):
        return dict(standings.by_problem())
    found: dict[str | None, list[Standing]] = {}
    for each in standings:
        found.setdefault(each.problem, []).append(each)
    return found


def any_reached(standings: Sequence[Standing]) -> bool:
    """Whether a run of settings ended at its target."""
    if isinstance(standings, Standings):
        return standings.reached
    return any(each.reached for each in standings)


def settings_in(standings: Sequence[Standing]) -> Sequence[Mapping[str, Any]]:
    """Return the settings of standings, in any order."""
    return standings.settings if isinstance(standings, Standings) else [each.setting for each in standings]


def first_of_each(standings: Sequence[Standing], most: int) -> list[Standing]:
    """Return at most so many settings of each problem; 0: all."""
    return [each for own in by_problem(standings).values() for each in own[: most or None]]


def best_of(standings: Sequence[Standing]) -> list[Standing]:
    """Return the best setting of each problem, where its median is finite."""
    return [first for first, *_ in by_problem(standings).values() if first.median is not None]


def metric_values(states: Sequence[RunState], metric: str, worst: float) -> list[float]:
    """Return the metric of the ended runs, ``worst`` for diverged ones; runs that failed or lack it are left out."""
    ended = [state for state in states if state.status.final and state.status is not Status.FAILED]
    values = [(state.figure(metric), state.has_figure(metric)) for state in ended]
    return [worst if value is None else value for value, counts in values if counts]


def _standing(
    setting: Mapping[str, Any],
    first: int,
    states: Sequence[RunState],
    metric: str,
    lower: float | None,
    median: float | None,
    upper: float | None,
    problem: str | None,
) -> Standing:
    if len(states) == 1 and median is not None and states[0].status is Status.COMPLETED:
        # One seed that came to its end: most settings of the largest sweeps.
        return Standing(setting, first, 1, 0, 0, 0, None, 0, median, lower, upper, problem=problem)
    ended = [state for state in states if state.status.final]
    failed = sum(state.status is Status.FAILED for state in ended)
    lacking = sum(not state.has_figure(metric) for state in ended)
    finite = sum(state.figure(metric) is not None for state in ended)
    missed = sum(state.status is not Status.DIVERGED for state in ended if missed_target(state, metric))
    reached = [state.steps for state in ended if state.status is Status.TARGET_REACHED]
    steps = sorted([*reached, *[math.inf] * (len(ended) - len(reached))])
    to_target = statistics.median(steps) if reached else math.inf
    return Standing(
        setting,
        first,
        len(states),
        len(ended) - failed - lacking - finite,
        failed,
        lacking,
        min((state.steps for state in ended if state.status is Status.PRUNED), default=None),
        len(states) - len(ended),
        median,
        lower,
        upper,
        len(reached),
        to_target if math.isfinite(to_target) else None,
        problem,
        missed,
    )


def missed_target(state: RunState, metric: str) -> bool:
    """Whether a run ended, or diverged, without reaching the target that a metric counts to."""
    counts = state.status.final and state.status is not Status.FAILED and state.has_figure(metric)
    return metric in TO_TARGET and counts and state.figure(metric) is None


def _percentiles(values: Array) -> Array:
    """Return the quartiles ``[n, 3]`` of each row; a quartile is not finite if a value beside it is not."""
    with np.errstate(invalid="ignore"):
        found = np.percentile(values, QUARTILES, axis=1)
    if not np.isfinite(values).all():
        # NumPy interpolates also with weight 0, and 0 · inf is NaN.
        lower, upper = (
            np.percentile(values, QUARTILES, axis=1, method=method) for method in ("lower", "higher")
        )
        found = np.where(lower == upper, lower, found)
    return found.T
