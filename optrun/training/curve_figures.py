"""Figures of the evaluations of a run, computed when they are asked for: any sweep can be ranked by them later."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from optrun.arrays import Array
from optrun.config.goal import TEST, VALIDATION, Goal, goal_of, usual_goal
from optrun.store import RunState, Status
from optrun.store.types import STEPS_TO_TARGET, TIME_TO_TARGET

State = TypeVar("State", bound=RunState)

_FORM = re.compile(r"(?:(best|area)|last_([1-9]\d*))_(.+)")
_AT_BEST = re.compile(r"(.+)_at_best_(.+)")


@dataclass(frozen=True)
class CurveFigure:
    """A figure of one evaluated series, or of one where another is best.

    `best_NAME` is the best value, `last_K_NAME` the mean of the last K (of all, if there are fewer), `area_NAME` the
    area under the series by the trapezoidal rule, divided by its span of steps; `NAME_at_best_OTHER` is the value of
    NAME at the first evaluation at which OTHER is the best.
    """

    kind: str
    series: str
    other: str = ""
    count: int = 0

    @classmethod
    def named(cls, name: str) -> "CurveFigure | None":
        """Return the figure of a name; None for a name of another form."""
        if found := _AT_BEST.fullmatch(name):
            return cls("at_best", found[1], found[2])
        if (found := _FORM.fullmatch(name)) is None:
            return None
        return cls(found[1] or "last", found[3], count=int(found[2] or 0))

    @property
    def columns(self) -> tuple[str, ...]:
        """The evaluated series that it needs."""
        return (self.series, self.other) if self.other else (self.series,)

    def value(self, rows: Mapping[str, Array], goal: Goal) -> float | None:
        """Return the value, given the columns ``[n]`` and the goal of the figure; None if it is not finite."""
        steps, values = rows["step"], rows[self.series]
        if self.kind == "last":
            found = values[-self.count :].mean()
        elif self.kind == "area":
            span = steps[-1] - steps[0]
            found = np.trapezoid(values, steps) / span if span else values[-1]
        else:
            ranked = rows[self.other] if self.other else values
            of_ranked = goal_of(self.other, self.series, goal) if self.other else goal
            costs = np.where(np.isfinite(ranked), -ranked if of_ranked == "maximize" else ranked, np.inf)
            place = int(np.argmin(costs))
            found = values[place] if np.isfinite(costs[place]) else math.nan
        return float(found) if np.isfinite(found) else None


class Evaluated(Protocol):
    """A store, or memory."""

    def series(self, names: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Array]]]: ...
    def seconds(self) -> Mapping[int, float | None]: ...


def with_figure(states: Sequence[State], source: Evaluated, name: str, goal: Goal) -> list[State]:
    """Return the states of all runs, each with a figure of its evaluations or its time, where ``name`` is one of these.

    A run that lacks the series, or the time, is unchanged.
    """
    figure = CurveFigure.named(name)
    if (figure is None and name != TIME_TO_TARGET) or any(name in state.figures for state in states):
        return list(states)
    found = _times(states, source) if figure is None else _values(source, figure, goal)
    return [
        replace(state, derived={**state.derived, name: found[run]}) if run in found else state
        for run, state in enumerate(states)
    ]


def _values(source: Evaluated, figure: CurveFigure, goal: Goal) -> dict[int, float | None]:
    with np.errstate(all="ignore"):
        return {
            run: figure.value(rows, goal) for run, rows in source.series(figure.columns) if _is_series(rows)
        }


def _is_series(rows: Mapping[str, Array]) -> bool:
    """Whether a run was evaluated during its steps, and not at its end alone."""
    return len(rows["step"]) > 1 or int(rows["step"][-1]) == 0


def expected_figures(
    names: Iterable[str], state: RunState, evaluations: Callable[[], Mapping[str, Array]]
) -> Mapping[str, float | None]:
    """Return the summary of a run that has ended, and those of these figures that are of its evaluations or steps."""
    found = dict(state.summary)
    for name in names:
        if name == STEPS_TO_TARGET:
            found[name] = state.figure(name)
        elif name not in found and (figure := CurveFigure.named(name)) is not None:
            rows = evaluations()
            if rows.keys() >= set(figure.columns) and _is_series(rows):
                found[name] = figure.value(rows, usual_goal(name))
    return found


def _times(states: Sequence[RunState], source: Evaluated) -> dict[int, float | None]:
    """Return the seconds to the target, None where it was missed; runs that shared a pack have none."""
    seconds = source.seconds()
    reached = [run for run, state in enumerate(states) if state.status is Status.TARGET_REACHED]
    if reached and all(seconds.get(run) is None for run in reached):
        return {}
    return {
        run: seconds.get(run) if state.status is Status.TARGET_REACHED else None
        for run, state in enumerate(states)
        if state.status.final and (state.status is not Status.TARGET_REACHED or seconds.get(run) is not None)
    }


def names_of(evaluated: Sequence[str]) -> list[str]:
    """Return the figures of evaluated series; there is one `last_K_…` for every K."""
    return [f"{kind}_{name}" for kind in ("best", "last_5", "area") for name in evaluated]


def reported_name(metric: str) -> str:
    """Return the figure of the test data to report where settings are selected by one of the validation data.

    The best value of the test data would be selected on them; it is that where the validation data are at their best.
    """
    figure = CurveFigure.named(metric)
    if figure is not None and figure.kind == "best" and VALIDATION in figure.series:
        return f"{figure.series.replace(VALIDATION, TEST, 1)}_at_best_{figure.series}"
    return metric.replace(VALIDATION, TEST, 1)
