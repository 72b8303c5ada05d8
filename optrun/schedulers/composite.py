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
from optrun.registry import PositiveInt
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
    def value(t: Any, base: Any, /, *, schedulers: Members, milestones: list[PositiveInt]) -> Any:
        rates, begun = schedulers[0].at(t, base), base
        pairs = zip(pairwise(schedulers), pairwise([0, *milestones]), strict=True)
        for (before, scheduler), (start, milestone) in pairs:
            # A table for each step, as the base may be one.
            begun = before.at(np.full_like(t, milestone - start), begun) if scheduler.continues else base
            rates = np.where(t >= milestone, scheduler.at(np.maximum(t - milestone, 0), begun), rates)
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

    def _hear(self, t: int, metrics: Array) -> bool:
        starts = [0, *self._options["milestones"]]
        turn = bisect_right(starts, t) - 1
        return self.members[turn].hear(t - starts[turn], metrics)


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

    def _hear(self, t: int, metrics: Array) -> bool:
        heard = [member.hear(t, metrics) for member in self.members]
        return any(heard)
