"""Schedules through given factors."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from optrun.errors import ConfigError
from optrun.registry import NonNegative, NonNegativeSteps
from optrun.schedulers.closed_form import between, half_wave
from optrun.schedulers.scheduler import LRScheduler


class PiecewiseLR(LRScheduler):
    """Go through given factors of the initial learning rate, in steps or interpolated.

    η(t) = η₀ · fᵢ for bᵢ ≤ t < bᵢ₊₁;  b are the boundaries, f the factors; η₀ before b₁

    With interpolation linear or cosine it goes from each factor to the next, and is constant after the last boundary.
    With an lr of 1 the factors are the rates themselves. Implementations disagree: the scales of optax's
    piecewise_constant_schedule and piecewise_interpolate_schedule, and gamma of MultiStepLR, multiply what is before
    them; Keras' PiecewiseConstantDecay changes one step later.

    Example: {name: PiecewiseLR, boundaries: [0, 100, 900], factors: [0, 1, 0.1], interpolation: linear}
    """

    @staticmethod
    def value(
        t: Any,
        base: Any,
        /,
        *,
        boundaries: list[NonNegativeSteps],
        factors: list[NonNegative],
        interpolation: Literal["constant", "linear", "cosine"] = "constant",
    ) -> Any:
        starts_at_once = boundaries[:1] == [0]
        knots = np.array(boundaries if starts_at_once else [0, *boundaries], np.float64)
        levels = np.array(factors if starts_at_once else [1.0, *factors], np.float64)
        at = np.searchsorted(knots, t, side="right") - 1
        if interpolation == "constant":
            return base * levels[at]
        coming = np.minimum(at + 1, len(knots) - 1)
        done = np.where(
            coming > at, (t - knots[at]) / np.where(coming > at, knots[coming] - knots[at], 1.0), 1.0
        )
        between_two = between if interpolation == "linear" else half_wave
        return base * between_two(levels[at], levels[coming], done)

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError unless the boundaries increase and each has a factor."""
        boundaries, factors = options["boundaries"], options["factors"]
        if len(factors) != len(boundaries):
            raise ConfigError(
                f"{cls.__name__}: there is one factor for each of the boundaries, {len(boundaries)} "
                f"(got {len(factors)})",
                field="factors",
            )
        for i, (earlier, later) in enumerate(pairwise(boundaries), 1):
            if later <= earlier:
                raise ConfigError(
                    f"{cls.__name__}: boundaries must increase (got {later} after {earlier})",
                    field=f"boundaries.{i}",
                )
