"""Schedules that raise the rate and lower it again, and the momentum the other way round."""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, ClassVar, Literal

import numpy as np

from optrun.arrays import Array, power
from optrun.errors import ConfigError
from optrun.registry import Epochs, Fraction, NonNegative, Positive, PositiveInt, Rate, Steps
from optrun.schedulers.annealing import Strategy, anneal
from optrun.schedulers.closed_form import between
from optrun.schedulers.expression import Expression
from optrun.schedulers.scheduler import LRScheduler


class _Cycle(LRScheduler):
    """A schedule with one of the momentum beside it."""

    momentum_value: ClassVar[Callable[..., Any]]
    """Returns the momentum at the steps t, of the same options."""

    def momentum(self) -> tuple[str, LRScheduler] | None:
        """Return what cycles the momentum, where that is on, and the option that turns it off."""
        if not self._options["cycle_momentum"]:
            return None
        twin = copy(self)
        twin._function = self.momentum_value
        return "cycle_momentum", twin


class CyclicLR(_Cycle):
    """Up and down between two rates, Smith (2017), arXiv:1506.01186; the momentum goes down and up.

    η(t) = base_lr + (max_lr - base_lr) · h(t) · s;  h rises from 0 to 1 and falls to 0 again

    s is 1 for triangular, ½ⁿ⁻¹ in the n-th cycle for triangular2 and γᵗ for exp_range; scale_fn takes its place, a
    function of n, or of t with scale_mode iterations. The optimizer's own rate has no effect.
    """

    @staticmethod
    def value(
        t: Any,
        _base: Any,
        /,
        *,
        base_lr: Rate,
        max_lr: Rate,
        step_size_up: Steps = 2000,
        step_size_down: Steps | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: NonNegative = 1.0,
        scale_fn: Expression | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Fraction = 0.8,
        max_momentum: Fraction = 0.9,
    ) -> Any:
        height = _height(t, step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode)
        return between(base_lr, max_lr, height)

    @staticmethod
    def momentum_value(
        t: Any,
        _base: Any,
        /,
        *,
        step_size_up: int,
        step_size_down: int | None,
        mode: str,
        gamma: Any,
        scale_fn: Expression | None,
        scale_mode: str,
        base_momentum: Any,
        max_momentum: Any,
        **_others: Any,
    ) -> Any:
        """Return the momentum at the steps t."""
        height = _height(t, step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode)
        return between(max_momentum, base_momentum, height)


def _height(
    t: Array,
    up: int,
    down: int | None,
    mode: str,
    gamma: Any,
    scale_fn: Expression | None,
    scale_mode: str,
) -> Any:
    """Return how far from the lower to the upper value the steps are."""
    length = up + (down or up)
    cycle = t // length
    since = t - cycle * length
    height = np.where(since <= up, since / up, (length - since) / (length - up))
    if scale_fn is not None:
        return height * scale_fn(cycle + 1 if scale_mode == "cycle" else t)
    if mode == "triangular2":
        return height * power(0.5, cycle)
    return height * power(gamma, t) if mode == "exp_range" else height


class OneCycleLR(_Cycle):
    """Up to max_lr and down to almost nothing, once, Smith & Topin (2019), arXiv:1708.07120; the momentum down and up.

    η(t) goes from max_lr / div_factor to max_lr at step pct_start · T - 1, and from there to
    max_lr / (div_factor · final_div_factor) at step T - 1, on lines or half cosine waves;  T is total_steps

    With three_phase it goes back to where it began first, in as many steps as it went up. T is epochs times
    steps_per_epoch where total_steps is not given. From step T - 1 on it stays, where torch at step T goes up again
    or below zero; a phase of no length is passed over. The optimizer's own rate has no effect.
    """

    @staticmethod
    def value(
        t: Any,
        _base: Any,
        /,
        *,
        max_lr: Rate,
        total_steps: Steps | None = None,
        epochs: Epochs | None = None,
        steps_per_epoch: PositiveInt | None = None,
        pct_start: Fraction = 0.3,
        anneal_strategy: Strategy = "cos",
        cycle_momentum: bool = True,
        base_momentum: Fraction = 0.85,
        max_momentum: Fraction = 0.95,
        div_factor: Positive = 25.0,
        final_div_factor: Positive = 1e4,
        three_phase: bool = False,
    ) -> Any:
        total = total_steps or (epochs or 1) * (steps_per_epoch or 1)
        first = max_lr / div_factor
        values = [first, max_lr, first, first / final_div_factor]
        return _one_cycle(t, total, pct_start, values, anneal_strategy, three_phase=three_phase)

    @staticmethod
    def momentum_value(
        t: Any,
        _base: Any,
        /,
        *,
        total_steps: int | None,
        epochs: int | None,
        steps_per_epoch: int | None,
        pct_start: Any,
        anneal_strategy: Strategy,
        base_momentum: Any,
        max_momentum: Any,
        three_phase: bool,
        **_others: Any,
    ) -> Any:
        """Return the momentum at the steps t."""
        total = total_steps or (epochs or 1) * (steps_per_epoch or 1)
        values = [max_momentum, base_momentum, max_momentum, max_momentum]
        return _one_cycle(t, total, pct_start, values, anneal_strategy, three_phase=three_phase)

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError where the number of steps is not given, or given in two ways."""
        total, epochs, per_epoch = (options[name] for name in ("total_steps", "epochs", "steps_per_epoch"))
        if total is None and (epochs is None or per_epoch is None):
            raise ConfigError(
                "OneCycleLR: how long is it? Give total_steps, or epochs and steps_per_epoch",
                field="total_steps",
            )
        if total is not None and epochs is not None:
            raise ConfigError("OneCycleLR: total_steps and epochs are both set", field="epochs")
        if total is None and options["interval"] == "epoch":
            raise ConfigError(
                "OneCycleLR: with interval epoch, give the number of epochs as total_steps",
                field="total_steps",
            )


def _one_cycle(
    t: Array, total: int, pct_start: Any, values: list[Any], strategy: Strategy, *, three_phase: bool
) -> Any:
    """Return what goes through the values, the third one for three phases only, and stays at the last one."""
    if three_phase:
        ends = [pct_start * total - 1.0, 2 * pct_start * total - 2.0, total - 1.0]
    else:
        ends, values = [pct_start * total - 1.0, total - 1.0], [*values[:2], values[3]]
    starts = [0.0, *ends[:-1]]
    t = np.minimum(t, total - 1.0)
    result: Any = None
    for i in reversed(range(len(ends))):
        length = np.asarray(ends[i] - starts[i], np.float64)
        done = np.where(length == 0, 1.0, (t - starts[i]) / np.where(length == 0, 1.0, length))
        now = anneal(values[i], values[i + 1], done, strategy)
        result = now if result is None else np.where(t <= ends[i], now, result)
    return result
