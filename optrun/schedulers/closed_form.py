"""Schedules with a closed form."""

from typing import Any

import numpy as np

from optrun.arrays import power
from optrun.registry import Fraction, NonNegative, NonNegativeSteps, Steps
from optrun.schedulers.scheduler import LRScheduler


def between(start: Any, end: Any, done: Any) -> Any:
    """Return what lies between two values when this fraction of the way is done: both ends are themselves exactly."""
    way = end - start
    return np.where(done < 0.5, start + way * done, end - way * (1.0 - done))


def half_wave(start: Any, end: Any, done: Any) -> Any:
    """Return what lies between two values on half a cosine wave: both ends are themselves exactly."""
    return between(end, start, (1.0 + np.cos(np.pi * done)) / 2)


class ConstantLR(LRScheduler):
    """A fraction of the rate until a step, all of it from then on.

    η(t) = f · η₀ for t < total_iters,  η₀ from then on;  f is factor

    With total_iters = 0 it is η₀ throughout, where torch stays at f · η₀.
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, factor: Fraction = 1 / 3, total_iters: NonNegativeSteps = 5) -> Any:
        return base * np.where(t < total_iters, factor, 1.0)


class LinearLR(LRScheduler):
    """A straight line between two fractions of the rate; a start of 0 is allowed.

    η(t) = η₀ · (a + (b - a) · min(t / total_iters, 1));  a is start_factor, b end_factor

    With total_iters = 0 it is b · η₀ throughout, where torch stays at a · η₀.
    """

    @staticmethod
    def value(
        t: Any,
        base: Any,
        /,
        *,
        start_factor: Fraction = 1 / 3,
        end_factor: Fraction = 1.0,
        total_iters: NonNegativeSteps = 5,
    ) -> Any:
        done = np.minimum(t / total_iters, 1.0) if total_iters else 1.0
        return base * between(start_factor, end_factor, done)


class StepLR(LRScheduler):
    """A factor every so many steps.

    η(t) = η₀ · γ^⌊t / step_size⌋
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, step_size: Steps, gamma: NonNegative = 0.1) -> Any:
        return base * power(gamma, t // step_size)


class ExponentialLR(LRScheduler):
    """A factor every step.

    η(t) = η₀ · γᵗ
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, gamma: NonNegative) -> Any:
        return base * power(gamma, t)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine wave from the rate to eta_min, Loshchilov & Hutter (2017), arXiv:1608.03983.

    η(t) = η_min + (η₀ - η_min) · (1 + cos(π t / T_max)) / 2

    Past T_max the wave goes up again, as torch's does.
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, T_max: Steps, eta_min: NonNegative = 0.0) -> Any:
        return half_wave(base, eta_min, t % (2 * T_max) / T_max)
