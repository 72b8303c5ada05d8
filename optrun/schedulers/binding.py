"""Binding of a schedule to the hyperparameters of an optimizer's parameter groups."""

import math
from collections.abc import Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from optrun.arrays import Array, chunk_length
from optrun.errors import ConfigError, counted, did_you_mean
from optrun.kernels.deferred import FAR, Deferred, Forecast
from optrun.kernels.denormals import denormals
from optrun.kernels.ranges import known_where
from optrun.registry import Option

CHECKED_AT_ONCE = 1 << 16
"""Number of schedule values that are checked in one batch before a run starts, where they cannot be deferred."""


class ScheduledGroup(Protocol):
    """The part of a parameter group that schedules use."""

    @property
    def lanes(self) -> int: ...

    @property
    def options(self) -> Mapping[str, Option]: ...

    @property
    def schedules(self) -> MutableMapping[str, object]:
        """The scheduler of each scheduled hyperparameter, by name."""
        ...

    def __getitem__(self, name: str, /) -> Any: ...

    def __setitem__(self, name: str, value: Any, /) -> None: ...

    def __contains__(self, name: object, /) -> bool: ...

    def set_scheduled(self, name: str, values: Sequence[Any], index: int) -> None:
        """Set a hyperparameter to ``values[index]``; the later values are those of the coming steps."""


class HasGroups(Protocol):
    """The part of an optimizer that schedules use."""

    @property
    def param_groups(self) -> Sequence[ScheduledGroup]: ...


class Schedule(Protocol):
    """A function of the step, optionally with a momentum schedule."""

    @property
    def is_known_ahead(self) -> bool:
        """Whether it can be evaluated at future steps."""
        ...

    def momentum(self) -> "tuple[str, Schedule] | None":
        """Return the option that turns the momentum schedule off, and that schedule; None without one."""

    def at(self, t: Any, base: Any) -> Any:
        """Return the values `[T, 1 or B]` at the steps, deferred if the initial ones are."""

    def base_for(self, t: float, values: Any) -> Array:
        """Return the initial values that give ``values`` at a step."""


class Binding:
    """Evaluates a schedule for many steps in advance, and sets the hyperparameter of the groups step by step.

    Raises ConfigError for a hyperparameter that does not exist, is no float or already has a scheduler, for groups
    that do not exist, and for values out of bounds.
    """

    def __init__(
        self, schedule: Schedule, optimizer: HasGroups, hyperparameter: str, groups: Sequence[int] | None
    ) -> None:
        self._name = type(schedule).__name__
        self._optimizer = optimizer
        self._schedule = schedule
        self._hyperparameter = hyperparameter
        self._chosen = groups
        self._momentum = schedule.momentum()
        if self._momentum is not None and hyperparameter != "lr":
            raise ConfigError(
                f"{self._name}: momentum can only be cycled with the schedule of lr, not of {hyperparameter}: "
                f"set cycle_momentum to false",
                field=self._momentum[0],
            )
        self._seen = 0
        self._now: float | None = None
        self._first: float = 0
        self._end: float | None = None
        """Of the steps of which many are to be known ahead."""
        self._rows = range(0)
        self._table: list[tuple[ScheduledGroup, str, Sequence[Any]]] = []

    def __str__(self) -> str:
        return self._name

    @property
    def hyperparameter(self) -> str:
        return self._hyperparameter

    @property
    def lanes(self) -> int:
        return self._optimizer.param_groups[0].lanes

    def current(self) -> list[Any]:
        """Return the current value of each group."""
        return [group[name] for group, name, _ in self._table if name == self._hyperparameter]

    def invalidate(self) -> None:
        """Discard the table of values, so that the next step evaluates the schedule again."""
        self._rows = range(0)

    def initialize_new_groups(self) -> None:
        """Set the initial value of newly added groups: their current value, traced back to step 0."""
        if self._seen == len(self._optimizer.param_groups):
            return
        for group, name, schedule in self._targets():
            if f"initial_{name}" not in group:
                base = value = group[name]
                if self._now is not None:
                    base = schedule.base_for(self._now, value)
                    # A value that no valid initial value leads to is its own initial value.
                    base = np.where(_within(group.options[name], base), base, value)
                group[f"initial_{name}"] = base
        self._seen = len(self._optimizer.param_groups)
        self.invalidate()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_table": [], "_rows": range(0)}

    def apply(self, step: float) -> None:
        """Set the hyperparameters to their values at a step."""
        row: Any = step - self._first
        if row not in self._rows or self._seen != len(self._optimizer.param_groups):
            row = self.prepare(step)
        for group, name, values in self._table:
            group.set_scheduled(name, values, row)
        self._now = step

    def prepare(self, step: float) -> int:
        """Evaluate the schedule from this step on, and return the table row of the step, which is 0."""
        ahead = chunk_length(self._width(step)) if self._schedule.is_known_ahead else 1
        far = None
        if self._end is not None and ahead < FAR:
            far = self._deferred(step + np.arange(max(1, min(FAR, math.ceil(self._end - step)))))
        self._table = far or self._valid(step + np.arange(ahead), whole=False)
        self._first = step
        # A fractional step needs a table of its own: sums of fractions are rounded.
        is_whole = isinstance(step, int)
        self._rows = range(min(len(values) for _, _, values in self._table) if is_whole else 0)
        return 0

    def _width(self, step: float) -> int:
        """Return how many values a row of the table has: 1 where all lanes share the schedules."""
        self.initialize_new_groups()
        now = np.array([step])
        with denormals(flushed=False):
            rows = [schedule.at(now, group[f"initial_{name}"]) for group, name, schedule in self._targets()]
        return max(int(values.shape[1]) for values in rows)

    def look_far(self, step: float, steps: int) -> None:
        """From this step on, know the values of many of so many steps ahead, where they can be deferred."""
        if self._schedule.is_known_ahead and self._end is None:
            self._end = step + steps
            self.invalidate()
            self.apply(step)

    def check(self, steps: Array) -> None:
        """Raise ConfigError for a value out of bounds at one of the steps."""
        least = max(1, CHECKED_AT_ONCE // self.lanes)
        # Deferred, so many steps take no more memory, however many lanes there are.
        self._check(steps, max(least, FAR), least)

    def _check(self, steps: Array, rows: int, least: int) -> None:
        for first in range(0, len(steps), rows):
            part = steps[first : first + rows]
            table = self._deferred(part)
            known = min((len(values) for *_, values in table), default=0) if table else 0
            if known < len(part) and rows > least:
                self._check(part, least, least)
            elif known < len(part):
                self.table(part)

    def _deferred(self, steps: Array) -> list[tuple[ScheduledGroup, str, Sequence[Any]]] | None:
        """Return the deferred table, as far as it is known to be within bounds; None where it has to be made."""
        self.initialize_new_groups()
        made: list[tuple[ScheduledGroup, str, Sequence[Any]]] = []
        for group, name, schedule in self._targets():
            with denormals(flushed=False), np.errstate(all="ignore"):
                try:
                    values = schedule.at(steps, Deferred.of_lanes(group[f"initial_{name}"]))
                except Exception:  # the table will say what is wrong, if anything is
                    return None
                forecast = _forecast(values, len(steps), group.options[name], self.lanes)
            if forecast is None:
                return None
            made.append((group, name, forecast))
        for group, name, _ in made:
            group.schedules[name] = self
        return made

    def table(self, steps: Array) -> list[tuple[ScheduledGroup, str, Sequence[Any]]]:
        """Return each group, a hyperparameter and its values at the steps.

        Raises ConfigError for a value out of bounds.
        """
        return self._valid(steps, whole=True)

    def independent(self, steps: Array) -> dict[str, list[ScheduledGroup]]:
        """Return the groups, by hyperparameter, whose initial value does not affect the values at the steps."""
        self.initialize_new_groups()
        found: dict[str, list[ScheduledGroup]] = {}
        for group, name, schedule in self._targets():
            base = np.asarray(group[f"initial_{name}"], np.float64)
            if np.array_equal(schedule.at(steps, base), schedule.at(steps, 0.5 * base + 0.125)):
                found.setdefault(name, []).append(group)
        return found

    def _valid(self, steps: Array, *, whole: bool) -> list[tuple[ScheduledGroup, str, Sequence[Any]]]:
        """Return the table; unless ``whole``, it may end before the first value out of bounds."""
        self.initialize_new_groups()
        made: list[tuple[ScheduledGroup, str, Sequence[Any]]] = []
        for group, name, schedule in self._targets():
            base = group[f"initial_{name}"]
            # The same values whoever asks: a run that computes, or the one who builds it.
            with denormals(flushed=False):
                made.append((group, name, self._values(schedule, group.options[name], steps, base, whole)))
        for group, name, _ in made:
            group.schedules[name] = self
        return made

    def _targets(self) -> list[tuple[ScheduledGroup, str, Schedule]]:
        """Return each group, the hyperparameter to set and its schedule."""
        targets: list[tuple[ScheduledGroup, str, Schedule]] = []
        for index in self._indices():
            group = self._optimizer.param_groups[index]
            targets.append((group, self._hyperparameter, self._schedule))
            if self._momentum is not None:
                field, schedule = self._momentum
                name = next((name for name in ("momentum", "beta1") if name in group.options), None)
                if name is None:
                    raise ConfigError(
                        f"{self._name}: the optimizer has neither momentum nor beta1 to cycle: set cycle_momentum to "
                        "false",
                        field=field,
                    )
                if group.schedules.get(name, self) is not self:
                    raise ConfigError(
                        f"{self._name}: {name} has a schedule already, {group.schedules[name]}: it cannot be cycled",
                        field=field,
                    )
                targets.append((group, name, schedule))
        return targets

    def _indices(self) -> list[int]:
        groups, name = self._optimizer.param_groups, self._hyperparameter
        options = {each: option for group in groups for each, option in group.options.items()}
        floats = [each for each, option in options.items() if option.is_float]
        if name not in floats:
            hint = did_you_mean(name, floats) or f" There are: {', '.join(floats)}."
            what = "is no float and cannot be scheduled" if name in options else "is no hyperparameter"
            raise ConfigError(f"{self._name}: {name!r} {what}.{hint}", field="hyperparameter")
        having = [index for index, group in enumerate(groups) if name in group.options]
        chosen = having if self._chosen is None else self._chosen
        if not chosen:
            raise ConfigError(f"{self._name}: the list of groups is empty", field="groups")
        for index in chosen:
            if not 0 <= index < len(groups):
                raise ConfigError(
                    f"{self._name}: there is no group {index}; they are 0 … {len(groups) - 1}", field="groups"
                )
            if index not in having:
                raise ConfigError(f"{self._name}: group {index} has no {name}", field="groups")
        taken = [index for index in chosen if groups[index].schedules.get(name, self) is not self]
        free = [index for index in chosen if index not in taken]
        if not free or (taken and self._chosen is not None):
            raise ConfigError(
                f"{self._name}: {name} has a scheduler already, {groups[taken[0]].schedules[name]}; combine them "
                "in a SequentialLR or a ChainedScheduler, whose members are created without the optimizer",
                field=name,
            )
        return free

    def _values(self, schedule: Schedule, option: Option, steps: Array, base: Any, whole: bool) -> list[Any]:
        """Return the value at each step: a float, or `[B]` if it differs between lanes."""
        values, lanes = schedule.at(steps, base), self.lanes
        if values.shape[1] not in (1, lanes):
            raise ConfigError(
                f"{self._name}: its options are for {counted(values.shape[1], 'lane')}, not {lanes}"
            )
        within = _within(option, values)
        wrong: Array = np.flatnonzero(~within.all(axis=1))
        if wrong.size and (whole or wrong[0] == 0):
            first, bounds = wrong[0], " and ".join([*map(str, option.bounds), "finite"])
            value = values[first][~within[first]][0]
            raise ConfigError(
                f"{self._name}: {option.name} must be {bounds} (got {value} at step {steps[first]})"
            )
        if wrong.size:  # the run may end before that step
            values = values[: wrong[0]]
        return values[:, 0].tolist() if values.shape[1] == 1 else list(values)


def _within(option: Option, values: Array) -> Array:
    """Return where the values are finite and within the bounds of a hyperparameter."""
    within = np.isfinite(values)
    for bound in option.bounds:
        within &= bound.holds(values)
    return within


def _forecast(values: Any, steps: int, option: Option, lanes: int) -> Sequence[Any] | None:
    """Return values as far as they are known to be within bounds; None where they are not at first, or do not fit.

    A single one is the same at all steps.
    """
    if np.shape(values)[-1] > 1 if not isinstance(values, Deferred) else values.shape[1] not in (1, lanes):
        return None
    length = steps if len(values) == 1 else len(values)
    if isinstance(values, Deferred) and values.shape[1] > 1:
        within = known_where(values, lambda known: known.is_within(partial(_within, option)), length)
    else:
        numbers = values.dense() if isinstance(values, Deferred) else values
        values = np.broadcast_to(numbers, (length, 1))
        within = _within(option, values)[:, 0]
    count = length if within.all() else int(np.argmin(within))
    if not count:
        return None
    return Forecast(values, count) if isinstance(values, Deferred) else values[:count, 0].tolist()
