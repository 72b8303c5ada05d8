"""Figures of the evaluations of a run, computed when they are asked for: any sweep can be ranked by them later."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, overload

import numpy as np

from optrun.arrays import Array
from optrun.config.goal import TEST, VALIDATION, GoalOf, on_data
from optrun.store import RunState, Status
from optrun.store.states import States
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

    def value(self, rows: Mapping[str, Array], goals: GoalOf) -> float | None:
        """Return the value, given the columns ``[n]`` and the goals of series; None if it is not finite."""
        steps, values = rows["step"], rows[self.series]
        if self.kind == "last":
            found = values[-self.count :].mean()
        elif self.kind == "area":
            span = steps[-1] - steps[0]
            found = np.trapezoid(values, steps) / span if span else values[-1]
        else:
            best_of = self.other or self.series
            ranked = rows[best_of]
            costs = np.where(np.isfinite(ranked), -ranked if goals(best_of) == "maximize" else ranked, np.inf)
            place = int(np.argmin(costs))
            found = values[place] if np.isfinite(costs[place]) else math.nan
        return float(found) if np.isfinite(found) else None


class Evaluated(Protocol):
    """A store, or memory."""

    def series(self, names: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Array]]]: ...
    def seconds(self) -> Mapping[int, float | None]: ...


@overload
def with_figure(states: States, source: Evaluated, name: str, goals: GoalOf) -> States: ...
@overload
def with_figure(states: Sequence[State], source: Evaluated, name: str, goals: GoalOf) -> Sequence[State]: ...
def with_figure(
    states: Sequence[State] | States, source: Evaluated, name: str, goals: GoalOf
) -> Sequence[State] | States:
    """Return the states of all runs, each with the figure of this name if it is to be computed.

    That is a figure of a series of evaluations, or the time to the target. A run that lacks the series is unchanged.
    """
    figure = CurveFigure.named(name)
    if figure is None and name != TIME_TO_TARGET:
        return states
    known = name in states.names or name in states.derived if isinstance(states, States) else None
    if known or (known is None and any(name in state.figures for state in states)):
        return states
    found = _times(states, source) if figure is None else _values(source, figure, goals)
    if isinstance(states, States):
        states = states.copy()
        states.derived[name] = found
        return states
    return [
        replace(state, derived={**state.derived, name: found[run]}) if run in found else state
        for run, state in enumerate(states)
    ]


def _values(source: Evaluated, figure: CurveFigure, goals: GoalOf) -> dict[int, float | None]:
    with np.errstate(all="ignore"):
        return {
            run: figure.value(rows, goals) for run, rows in source.series(figure.columns) if _is_series(rows)
        }


def _is_series(rows: Mapping[str, Array]) -> bool:
    """Whether a run was evaluated during its steps, and not at its end alone."""
    return len(rows["step"]) > 1 or int(rows["step"][-1]) == 0


def expected_figures(
    names: Iterable[str],
    state: RunState,
    evaluations: Callable[[], Mapping[str, Array]],
    goals: GoalOf,
) -> Mapping[str, float | None]:
    """Return the summary of a run that has ended, and those of these figures that are of its evaluations or steps.

    ``goals`` are those of the series.
    """
    found = dict(state.summary)
    for name in names:
        if name == STEPS_TO_TARGET:
            found[name] = state.figure(name)
        elif name not in found and (figure := CurveFigure.named(name)) is not None:
            rows = evaluations()
            if rows.keys() >= set(figure.columns) and _is_series(rows):
                found[name] = figure.value(rows, goals)
    return found


def _times(states: Sequence[RunState], source: Evaluated) -> dict[int, float | None]:
    """Return the seconds to the target, None where it was missed; empty if a run that reached it was not timed.

    Runs that shared a pack are not timed. Without them, those that missed the target would decide.
    """
    seconds = source.seconds()
    reached = {run for run, state in enumerate(states) if state.status is Status.TARGET_REACHED}
    if any(seconds.get(run) is None for run in reached):
        return {}
    return {
        run: seconds[run] if run in reached else None
        for run, state in enumerate(states)
        if state.status.final
    }


def names_of(evaluated: Sequence[str]) -> list[str]:
    """Return the figures of evaluated series; there is one `last_K_…` for every K."""
    return [f"{kind}_{name}" for kind in ("best", "last_5", "area") for name in evaluated]


def reported_name(metric: str) -> str:
    """Return the figure to report where settings are selected by another one: that of the test data, if it has one.

    The best value of the validation data becomes the value of the test data at the same evaluation: the best value of
    the test data would be selected on them.
    """
    on_test, figure = on_data(metric, VALIDATION, TEST), CurveFigure.named(metric)
    if figure is None or figure.kind != "best" or on_test == metric:
        return on_test
    return f"{on_data(figure.series, VALIDATION, TEST)}_at_best_{figure.series}"
