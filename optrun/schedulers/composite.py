"""Schedules made of schedules."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from annotated_types import MinLen

from optrun.errors import ConfigError
from optrun.registry import PositiveInt
from optrun.schedulers.scheduler import LRScheduler


class SequentialLR(LRScheduler):
    """One schedule after another, each counting from its own first step.

    η(t) = ηᵢ(t - mᵢ) for mᵢ ≤ t < mᵢ₊₁;  m₀ = 0, the other mᵢ are the milestones
    """

    @staticmethod
    def value(
        t: Any,
        base: Any,
        /,
        *,
        schedulers: Annotated[list[LRScheduler], MinLen(1)],
        milestones: list[PositiveInt],
    ) -> Any:
        rates = schedulers[0].at(t, base)
        for scheduler, milestone in zip(schedulers[1:], milestones, strict=True):
            rates = np.where(t >= milestone, scheduler.at(np.maximum(t - milestone, 0), base), rates)
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
