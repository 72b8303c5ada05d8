"""Schedules of papers that torch has no class for; a rise before any of them is the option `warmup`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np

from optrun.errors import ConfigError
from optrun.kernels.deferred import power as power_of
from optrun.registry import Decay, Fraction, NonNegative, NonNegativeSteps, Positive, Steps
from optrun.schedulers.closed_form import between, half_wave
from optrun.schedulers.scheduler import LRScheduler

Stable = Annotated[Literal["constant", "rsqrt", "power"], "shape of the stable phase"]
Shape = Annotated[Literal["linear", "cosine", "1-sqrt", "power", "exp"], "shape of the decay"]


class WSD(LRScheduler):
    """Keep the learning rate, then let it decay: warmup-stable-decay, Hu et al. (2024), arXiv:2404.06395.

        η(t) = η₀ · l(t) for t < S, then η₀ · l(S) · (f + (1 - f) · g(s)),  s = min((t - S) / D, 1)
        S is stable_steps, D decay_steps, f final_factor
        l(t): constant 1,  rsqrt √(τ / (t + τ)),  power (τ / (t + τ))ᵖ;  τ is timescale, p stable_power
        g(s): linear 1 - s,  cosine (1 + cos(π s)) / 2,  1-sqrt 1 - √s,  power (1 - s)^q;  q is decay_power
        exp: η₀ · l(S) · fˢ, for which f is positive

    Its warm-up is the option warmup. Hägele et al. (2024), arXiv:2405.18392, find 1-sqrt the best decay, of 10 to 20 %
    of the steps; rsqrt is of Zhai et al. (2022), arXiv:2106.04560, power of Shen et al. (2024), arXiv:2408.13359.
    Implementations disagree about f: here it is a fraction of the rate at which the decay begins, in transformers'
    get_wsd_schedule (min_lr_ratio, 0 by default) of the peak; with a constant stable phase they are one. With
    stable_steps 0 it is a decay that stays at its floor: transformers' get_cosine_with_min_lr_schedule_with_warmup
    and get_polynomial_decay_schedule_with_warmup, optax's cosine_decay_schedule (alpha), polynomial_schedule and
    warmup_cosine_decay_schedule, whose decay_steps and num_training_steps count the warm-up too.

    Example: {name: WSD, warmup: 100, stable_steps: 700, decay_steps: 200}
    """

    @staticmethod
    def value(
        t: Any,
        base: Any,
        /,
        *,
        stable_steps: NonNegativeSteps,
        decay_steps: Steps,
        decay: Shape = "1-sqrt",
        decay_power: Positive = 1.0,
        final_factor: Fraction = 0.0,
        stable: Stable = "constant",
        stable_power: NonNegative = 0.5,
        timescale: Steps | None = None,
    ) -> Any:
        done = np.clip((t - stable_steps) / decay_steps, 0.0, 1.0)
        if decay == "exp":
            down = power_of(final_factor, done)
        elif decay == "cosine":
            down = half_wave(1.0, final_factor, done)
        elif decay == "1-sqrt":
            down = between(1.0, final_factor, np.sqrt(done))
        else:
            down = between(final_factor, 1.0, power_of(1.0 - done, decay_power if decay == "power" else 1.0))
        if stable == "constant" or timescale is None:
            return base * down
        exponent = stable_power if stable == "power" else 0.5
        return base * power_of(timescale / (np.minimum(t, stable_steps) + timescale), exponent) * down

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError for an exponential decay to 0, and for a stable phase that lacks its timescale."""
        if options["decay"] == "exp" and not np.all(np.asarray(options["final_factor"]) > 0):
            raise ConfigError(
                f"{cls.__name__}: an exponential decay never reaches 0: give a positive final_factor",
                field="final_factor",
            )
        if options["stable"] != "constant" and options["timescale"] is None:
            raise ConfigError(
                f"{cls.__name__}: the stable phase {options['stable']} needs a timescale", field="timescale"
            )


class InverseSqrtLR(LRScheduler):
    """Decay by the inverse square root of the step, Vaswani et al. (2017), arXiv:1706.03762.

    η(t) = η₀ · √(τ / (t + τ));  τ is timescale

    The paper's schedule, with W warm-up steps up to η₀ and √(W / step) after them, has warmup and timescale of W. There
    η₀ is (d_model · W)^-½, and its steps count from 1. transformers' get_inverse_sqrt_schedule is the same, with a
    timescale of W unless another is given; fairseq's inverse_sqrt starts at warmup_init_lr instead of 0.

    Example: {name: InverseSqrtLR, timescale: 4000, warmup: 4000}
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, timescale: Steps) -> Any:
        return base * np.sqrt(timescale / (t + timescale))


class REXLR(LRScheduler):
    """Decay slowly at first and fast in the end: reflected exponential, Chen et al. (2021), arXiv:2107.04197.

    η(t) = η₀ · (1 - z) / (1 - d z),  z = min(t / total_iters, 1);  d is curvature

    The paper has d = ½, (1 - z) / (½ + ½ (1 - z)); implementations elsewhere use d = 0.9. With d = 0 it is linear.

    Example: {name: REXLR, total_iters: 900, warmup: 100}
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, total_iters: Steps, curvature: Decay = 0.5) -> Any:
        done = np.minimum(t / total_iters, 1.0)
        return base * ((1.0 - done) / (1.0 - curvature * done))


class TanhDecayLR(LRScheduler):
    """Decay along a hyperbolic tangent, HTD, Hsueh et al. (2019), arXiv:1806.01593.

    η(t) = η₀ · (1 - tanh(a + (b - a) · min(t / total_iters, 1))) / 2;  a is lower, b upper

    The defaults are the paper's. It starts at (1 - tanh a) / 2 of η₀, nearly all of it, and ends at (1 - tanh b) / 2,
    which is 0.25 % of it and not 0.

    Example: {name: TanhDecayLR, total_iters: 1000}
    """

    @staticmethod
    def value(t: Any, base: Any, /, *, total_iters: Steps, lower: float = -6.0, upper: float = 3.0) -> Any:
        # (1 - tanh x) / 2, without the cancellation of nearly equal numbers.
        x = between(lower, upper, np.minimum(t / total_iters, 1.0))
        return base / (1.0 + power_of(np.e, 2.0 * x))

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError unless the rate decays."""
        if not np.all(np.asarray(options["lower"]) < np.asarray(options["upper"])):
            raise ConfigError(f"{cls.__name__}: upper must be greater than lower", field="upper")
