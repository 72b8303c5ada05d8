"""Schedules made of schedules."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from copy import copy
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from annotated_types import MinLen

from optrun.arrays import Array
from optrun.errors import ConfigError
from optrun.registry import Steps
from optrun.schedulers.closed_form import ConstantLR
from optrun.schedulers.scheduler import LRScheduler

Members = Annotated[list[LRScheduler], MinLen(1)]


class _Composite(LRScheduler):
    @property
    def members(self) -> Sequence[LRScheduler]:
        """The schedules that this one is made of."""
        members: list[LRScheduler] = self._options["schedulers"]
        return members

    def _owned(self, options: dict[str, Any]) -> dict[str, Any]:
        # A member that stands in two places would be told every metric twice.
        return {**options, "schedulers": [_twin(member) for member in options["schedulers"]]}

    def momentum(self) -> tuple[str, LRScheduler] | None:
        """Return the same composite of what its members do to the momentum; those that do nothing hold it."""
        found = [member.momentum() for member in self.members]
        if not any(found):
            return None
        fields = [f"schedulers.{i}.{each[0]}" for i, each in enumerate(found) if each]
        twin = copy(self)
        held = [each[1] if each else ConstantLR(factor=1.0) for each in found]
        twin._options = {**self._options, "schedulers": held}
        return fields[0], twin


def _twin(schedule: LRScheduler) -> LRScheduler:
    """Return a schedule of the same options, with members of its own."""
    twin = copy(schedule)
    twin._options = schedule._owned(schedule._options)
    return twin


class SequentialLR(_Composite):
    """One schedule after another, each counting from its own first step.

    η(t) = ηᵢ(t - mᵢ) for mᵢ ≤ t < mᵢ₊₁;  m₀ = 0, the other mᵢ are the milestones
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, schedulers: Members, milestones: list[Steps]) -> Any:
        turns = np.searchsorted(milestones, t[:, 0], side="right")
        parts = {}
        for turn in np.unique(turns).tolist():
            rows = turns == turn
            begun = base[rows] if np.ndim(base) == 2 and len(base) > 1 else base
            begun = _begun(schedulers, milestones, turn, begun)
            parts[turn] = rows, schedulers[turn].at(t[rows, 0] - [0, *milestones][turn], begun)
        rates = np.empty((len(t), max(values.shape[1] for _, values in parts.values())))
        for rows, values in parts.values():
            rates[rows] = values
        return rates

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError for milestones that do not separate the schedulers in order."""
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
        """Return the initial values from which it has come to these ones: through the member whose turn it is."""
        starts, t = [0, *self._options["milestones"]], t // (self._divisor or 1)
        turn = bisect_right(starts, t) - 1
        values = self.members[turn].base_for(t - starts[turn], values)
        # What continues has begun where the member before it had come to.
        while self.members[turn].continues and turn:
            turn -= 1
            values = self.members[turn].base_for(starts[turn + 1] - starts[turn], values)
        result: Array = values
        return result

    def _hear(self, t: int, metrics: Array) -> bool:
        starts = [0, *self._options["milestones"]]
        turn = bisect_right(starts, t) - 1
        return self.members[turn].hear(t - starts[turn], metrics)


def _begun(schedulers: Sequence[LRScheduler], milestones: Sequence[int], turn: int, base: Any) -> Any:
    """Return what the member whose turn it is starts from: what the one before it has come to, where it continues."""
    if not turn or not schedulers[turn].continues:
        return base
    length, count = milestones[turn - 1] - [0, *milestones][turn - 1], len(base) if np.ndim(base) == 2 else 1
    return schedulers[turn - 1].at([length] * count, _begun(schedulers, milestones, turn - 1, base))


class ChainedScheduler(_Composite):
    """Schedules on top of each other: what one makes of the rate is the initial rate of the next.

    η(t) = ηₙ(t, … η₂(t, η₁(t, η₀)))

    For schedules that are a factor of the rate it is their product, as in torch. One that has a rate of its own,
    such as CyclicLR, makes nothing of what stands before it.
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, schedulers: Members) -> Any:
        for scheduler in schedulers:
            base = scheduler.at(t, base)
        return base

    def base_for(self, t: float, values: Any) -> Array:
        """Return the initial values from which it has come to these ones: through all members, from the last one."""
        for member in reversed(self.members):
            values = member.base_for(t // (self._divisor or 1), values)
        result: Array = np.asarray(values)
        return result

    def _hear(self, t: int, metrics: Array) -> bool:
        heard = [member.hear(t, metrics) for member in self.members]
        return any(heard)
