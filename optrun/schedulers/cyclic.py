"""Schedules that cycle the learning rate, and the momentum inversely."""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, ClassVar, Literal

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError
from optrun.kernels.deferred import power
from optrun.registry import Epochs, Fraction, NonNegative, Positive, PositiveInt, Rate, Steps
from optrun.schedulers.annealing import Strategy, anneal
from optrun.schedulers.closed_form import between
from optrun.schedulers.function_of_time import FunctionOfTime
from optrun.schedulers.scheduler import LRScheduler
from optrun.schedulers.warmup import WARMUP_START


class _Cycle(LRScheduler):
    """A learning rate schedule with an optional momentum schedule."""

    momentum_value: ClassVar[Callable[..., Any]]
    """Returns the momentum at the steps t, given the same options as `value`."""

    def momentum(self) -> tuple[str, LRScheduler] | None:
        """Return the option that turns momentum cycling off and the momentum schedule, or None if it is off."""
        if not self._options["cycle_momentum"]:
            return None
        copied = copy(self)
        copied._function = self.momentum_value
        # It does not rise with the rate: it keeps its first value so long.
        copied._options = {**self._options, WARMUP_START.name: 1.0}
        return "cycle_momentum", copied


class CyclicLR(_Cycle):
    """Cycle the learning rate between two bounds, and the momentum inversely, Smith (2017), arXiv:1506.01186.

    η(t) = base_lr + (max_lr - base_lr) · h(t) · s;  h rises from 0 to 1 and falls back to 0

    s is 1 for triangular, ½ⁿ⁻¹ in cycle n for triangular2 and γᵗ for exp_range; or with scale_fn any function of n, or
    of t with scale_mode iterations. The optimizer's own learning rate has no effect.
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
        scale_fn: FunctionOfTime | None = None,
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
        scale_fn: FunctionOfTime | None,
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
    scale_fn: FunctionOfTime | None,
    scale_mode: str,
) -> Any:
    """Return the position of each step between the lower (0) and the upper (1) bound."""
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
    """One cycle up to max_lr and down to nearly 0, momentum inverse, Smith & Topin (2019), arXiv:1708.07120.

    η(t) goes from max_lr / div_factor to max_lr at step pct_start · T - 1, and from there to
    max_lr / (div_factor · final_div_factor) at step T - 1, linearly or by half cosines;  T is total_steps

    With three_phase it returns to the initial value in as many steps as it rose. Without total_steps, T is epochs ·
    steps_per_epoch. From step T - 1 on the learning rate is constant, where torch at step T rises again or goes below
    zero. A phase of zero length is skipped. The optimizer's own learning rate has no effect.
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
        """Raise ConfigError unless the number of steps is given exactly once."""
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
    """Anneal through the values (the third only with three phases), and keep the last one."""
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
