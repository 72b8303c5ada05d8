"""Schedules that anneal the learning rate to a final value."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError
from optrun.kernels import deferred
from optrun.registry import Added, NonNegative, NonNegativeSteps, PositiveInt, Rate, Steps
from optrun.schedulers.closed_form import between, half_wave
from optrun.schedulers.scheduler import LRScheduler

Strategy = Literal["cos", "linear"]


def anneal(start: Any, end: Any, done: Any, strategy: Strategy) -> Any:
    """Interpolate between two values, linearly or by a half cosine; ``done`` is the fraction, 0 … 1."""
    return (between if strategy == "linear" else half_wave)(start, end, done)


class MultiStepLR(LRScheduler):
    """Multiply the learning rate by gamma at each milestone; a milestone listed twice multiplies twice.

    η(t) = η₀ · γⁿ;  n is the number of milestones ≤ t
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, milestones: list[NonNegativeSteps], gamma: NonNegative = 0.1) -> Any:
        passed = np.searchsorted(np.array(milestones, np.float64), t, side="right")
        return base * deferred.power(gamma, passed)

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError if the milestones decrease."""
        if any(later < earlier for earlier, later in pairwise(options["milestones"])):
            raise ConfigError(
                f"MultiStepLR: milestones must not decrease (got {options['milestones']})", field="milestones"
            )


class PolynomialLR(LRScheduler):
    """Decay the learning rate to zero by a power of the remaining time.

    η(t) = η₀ · (1 - min(t / total_iters, 1))ᵖ;  p is power

    With total_iters = 0 the learning rate is 0 from the start.
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, total_iters: NonNegativeSteps = 5, power: NonNegative = 1.0) -> Any:
        done = np.minimum(t / total_iters, 1.0) if total_iters else np.ones_like(t)
        return base * deferred.power(1.0 - done, power)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosine annealing to eta_min with restarts, Loshchilov & Hutter (2017), arXiv:1608.03983.

    η(t) = η_min + (η₀ γⁱ - η_min) · (1 + cos(π τ / Tᵢ)) / 2,  Tᵢ = T_0 · T_multⁱ

    τ is the time since the i-th restart, the last one. Torch has no gamma, the factor of the peak at each restart; it
    is m_mul of Keras' CosineDecayRestarts, and optax's sgdr_schedule lists the peaks.
    """

    takes_fractions = True

    @staticmethod
    def value(
        t: Any,
        base: Any,
        /,
        *,
        T_0: Steps,
        T_mult: PositiveInt = 1,
        eta_min: NonNegative = 0.0,
        gamma: Annotated[NonNegative, Added(), "factor of the peak at each restart"] = 1.0,
    ) -> Any:
        restarts, start, length = _cycle(t, T_0, T_mult)
        return half_wave(base * deferred.power(gamma, restarts), eta_min, (t - start) / length)


def _cycle(t: Array, first: int, factor: int) -> tuple[Array, Array, Array]:
    """Return the number, the start and the length of the cycle of each step, integers and so exact in float64."""
    if factor == 1:
        return t // first, t // first * first, np.full_like(t, first)
    starts, length = [0], first
    while starts[-1] <= t.max():
        starts.append(starts[-1] + length)
        length *= factor
    bounds = np.array(starts, np.float64)
    index = np.searchsorted(bounds, t, side="right")
    return index - 1.0, bounds[index - 1], bounds[index] - bounds[index - 1]


class SWALR(LRScheduler):
    """Anneal to the constant learning rate of weight averaging, Izmailov et al. (2018), arXiv:1803.05407.

    η(t) = η₀ + (swa_lr - η₀) · a(min(t / anneal_epochs, 1));  a is linear or a half cosine

    As a later member of a SequentialLR it starts from the final learning rate of the previous member, like torch
    code that replaces one scheduler by another. With anneal_epochs = 0 it is swa_lr from the start.
    """

    continues = True

    @staticmethod
    def value(
        t: Any,
        base: Any,
        /,
        *,
        swa_lr: Rate,
        anneal_epochs: NonNegativeSteps = 10,
        anneal_strategy: Strategy = "cos",
    ) -> Any:
        done = np.minimum(t / anneal_epochs, 1.0) if anneal_epochs else np.ones_like(t)
        return anneal(base, swa_lr, done, anneal_strategy)
