"""Schedules with a closed form."""

from typing import Any

import numpy as np

from optrun.kernels.deferred import power
from optrun.registry import Fraction, NonNegative, NonNegativeSteps, Steps
from optrun.schedulers.scheduler import LRScheduler


def between(start: Any, end: Any, done: Any) -> Any:
    """Interpolate linearly between two values, ``done`` from 0 to 1; both ends are exact."""
    way = end - start
    return np.where(done < 0.5, start + way * done, end - way * (1.0 - done))


def half_wave(start: Any, end: Any, done: Any) -> Any:
    """Interpolate between two values by a half cosine, ``done`` from 0 to 1; both ends are exact."""
    return between(end, start, (1.0 + np.cos(np.pi * done)) / 2)


class ConstantLR(LRScheduler):
    """Multiply the learning rate by a factor until step total_iters.

    η(t) = f · η₀ for t < total_iters, then η₀;  f is factor

    With total_iters = 0 it is always η₀, where torch stays at f · η₀.
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, factor: Fraction = 1 / 3, total_iters: NonNegativeSteps = 5) -> Any:
        return base * np.where(t < total_iters, factor, 1.0)


class LinearLR(LRScheduler):
    """Change the factor of the learning rate linearly; a start_factor of 0 is allowed.

    η(t) = η₀ · (a + (b - a) · min(t / total_iters, 1));  a is start_factor, b end_factor

    With total_iters = 0 it is always b · η₀, where torch stays at a · η₀.
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
    """Multiply the learning rate by gamma every step_size steps.

    η(t) = η₀ · γ^⌊t / step_size⌋
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, step_size: Steps, gamma: NonNegative = 0.1) -> Any:
        return base * power(gamma, t // step_size)


class ExponentialLR(LRScheduler):
    """Multiply the learning rate by gamma every step.

    η(t) = η₀ · γᵗ
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, gamma: NonNegative) -> Any:
        return base * power(gamma, t)


class CosineAnnealingLR(LRScheduler):
    """Cosine annealing to eta_min without restarts, Loshchilov & Hutter (2017), arXiv:1608.03983.

    η(t) = η_min + (η₀ - η_min) · (1 + cos(π t / T_max)) / 2

    After T_max the learning rate rises again, as in torch.
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, T_max: Steps, eta_min: NonNegative = 0.0) -> Any:
        return half_wave(base, eta_min, t % (2 * T_max) / T_max)
