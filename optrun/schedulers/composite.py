"""Schedulers composed of other schedulers."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from copy import copy
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from annotated_types import MinLen

from optrun.arrays import Array
from optrun.errors import ConfigError
from optrun.kernels.deferred import Deferred, NotDeferredError
from optrun.registry import Steps
from optrun.schedulers.closed_form import ConstantLR
from optrun.schedulers.scheduler import LRScheduler
from optrun.schedulers.warmup import WARMUP_START

Members = Annotated[list[LRScheduler], MinLen(1)]


class _Composite(LRScheduler):
    @property
    def members(self) -> Sequence[LRScheduler]:
        """The schedulers that the composite is made of."""
        members: list[LRScheduler] = self._options["schedulers"]
        return members

    def _with_own_members(self, options: dict[str, Any]) -> dict[str, Any]:
        # A member listed twice would observe every metric twice.
        return {**options, "schedulers": [_copy(member) for member in options["schedulers"]]}

    def momentum(self) -> tuple[str, LRScheduler] | None:
        """Return a composite of the members' momentum schedules; a member without one keeps the momentum constant."""
        found = [member.momentum() for member in self.members]
        if not any(found):
            return None
        fields = [f"schedulers.{i}.{each[0]}" for i, each in enumerate(found) if each]
        copied = copy(self)
        held = [each[1] if each else ConstantLR(factor=1.0) for each in found]
        copied._options = {**self._options, "schedulers": held, WARMUP_START.name: 1.0}
        return fields[0], copied


def _copy(schedule: LRScheduler) -> LRScheduler:
    """Return a copy of the schedule whose members are copies, too."""
    copied = copy(schedule)
    copied._options = schedule._with_own_members(schedule._options)
    return copied


class SequentialLR(_Composite):
    """Run schedulers one after another; each counts steps from its own start.

    η(t) = ηᵢ(t - mᵢ) for mᵢ ≤ t < mᵢ₊₁;  m₀ = 0, the other mᵢ are the milestones
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, schedulers: Members, milestones: list[Steps]) -> Any:
        turns = np.searchsorted(milestones, t[:, 0], side="right")
        if isinstance(base, Deferred):
            turn, count = int(turns[0]), int(np.argmin(turns == turns[0])) or len(turns)
            if count == 1 < len(turns):
                raise NotDeferredError("a single step of this turn")
            initial = _initial_values(schedulers, milestones, turn, base)
            values = schedulers[turn].at(t[:count, 0] - [0, *milestones][turn], initial)
            # So many of them, also where they do not differ.
            return np.where(np.ones((count, 1), bool), values, values) if count < len(turns) else values
        parts = {}
        for turn in np.unique(turns).tolist():
            rows = turns == turn
            initial = base[rows] if np.ndim(base) == 2 and len(base) > 1 else base
            initial = _initial_values(schedulers, milestones, turn, initial)
            parts[turn] = rows, schedulers[turn].at(t[rows, 0] - [0, *milestones][turn], initial)
        rates = np.empty((len(t), max(values.shape[1] for _, values in parts.values())))
        for rows, values in parts.values():
            rates[rows] = values
        return rates

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError unless there is one increasing milestone between each pair of schedulers."""
        schedulers, milestones = options["schedulers"], options["milestones"]
        if len(milestones) != len(schedulers) - 1:
            raise ConfigError(
                f"SequentialLR: {len(schedulers)} schedulers need {len(schedulers) - 1} milestones between them "
                f"(got {len(milestones)})",
                field="milestones",
            )
        if any(later <= earlier for earlier, later in pairwise(milestones)):
            raise ConfigError(
                f"SequentialLR: milestones must increase (got {milestones})", field="milestones"
            )

    def base_for(self, t: float, values: Any) -> Array:
        """Return the initial values that give ``values`` at step t, through the member active at t."""
        starts, (t, values) = [0, *self._options["milestones"]], self._without_warmup(t, values)
        turn = bisect_right(starts, t) - 1
        values = self.members[turn].base_for(t - starts[turn], values)
        # A member that continues started from the final value of the previous one.
        while self.members[turn].continues and turn:
            turn -= 1
            values = self.members[turn].base_for(starts[turn + 1] - starts[turn], values)
        result: Array = values
        return result

    def _observe_metric(self, t: int, metrics: Array) -> bool:
        member, since = self._active(t)
        return member.observe_metric(t - since, metrics)

    def _observe_figures(self, t: int, figures: Mapping[str, Array]) -> bool:
        member, since = self._active(t)
        return member.observe_figures(t - since, figures)

    def _active(self, t: int) -> tuple[LRScheduler, int]:
        """Return the member whose turn it is at t, and since when."""
        starts = [0, *self._options["milestones"]]
        turn = bisect_right(starts, t) - 1
        return self.members[turn], starts[turn]


def _initial_values(
    schedulers: Sequence[LRScheduler], milestones: Sequence[int], turn: int, base: Any
) -> Any:
    """Return the initial values of the active member: the previous member's final values if it continues."""
    if not turn or not schedulers[turn].continues:
        return base
    length, count = milestones[turn - 1] - [0, *milestones][turn - 1], len(base) if np.ndim(base) == 2 else 1
    return schedulers[turn - 1].at([length] * count, _initial_values(schedulers, milestones, turn - 1, base))


class ChainedScheduler(_Composite):
    """Apply schedulers on top of each other: the output of each is the initial value of the next.

    η(t) = ηₙ(t, … η₂(t, η₁(t, η₀)))

    If every member multiplies the learning rate by a factor, the result is the product, as in torch. A member that
    sets the learning rate itself, such as CyclicLR, ignores the members before it.
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, schedulers: Members) -> Any:
        for scheduler in schedulers:
            base = scheduler.at(t, base)
        return base

    def base_for(self, t: float, values: Any) -> Array:
        """Return the initial values that give ``values`` at step t, by inverting the members from last to first."""
        t, values = self._without_warmup(t, values)
        for member in reversed(self.members):
            values = member.base_for(t, values)
        result: Array = np.asarray(values)
        return result

    def _observe_metric(self, t: int, metrics: Array) -> bool:
        reduced = [member.observe_metric(t, metrics) for member in self.members]
        return any(reduced)

    def _observe_figures(self, t: int, figures: Mapping[str, Array]) -> bool:
        reduced = [member.observe_figures(t, figures) for member in self.members]
        return any(reduced)
