"""Stochastic gradient descent: plain, with momentum, and averaged."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from optrun.errors import ConfigError
from optrun.ops import maximum, where
from optrun.optim.optimizer import Optimizer
from optrun.registry import Fraction, NonNegative, Number


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, Sutskever et al., ICML 2013, in torch's form.

        g ← g + λ θ
        b ← μ b + (1 - τ) g          first step: b = g
        θ ← θ - lr · b               with nesterov: θ - lr · (g + μ b)

    λ weight_decay, μ momentum, τ dampening. With μ = 0, b does not change and θ ← θ - lr · g. Nesterov momentum needs
    μ > 0 and τ = 0, unless they are scheduled.

    Example:

        optimizer: {name: SGD, lr: 3e-3, momentum: 0.9}
    """

    search_space: ClassVar = {"lr": {"loguniform": [1e-4, 1.0]}, "momentum": {"uniform": [0.0, 0.99]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, momentum_buffer: Any, *, lr: NonNegative = 1e-3, momentum: NonNegative = 0.0,
               dampening: Fraction = 0.0, weight_decay: NonNegative = 0.0,
               nesterov: bool = False) -> None:  # fmt: skip
        g = g + weight_decay * p
        moved = where(t == 1, g, momentum * momentum_buffer + (1 - dampening) * g)
        momentum_buffer[:] = where(momentum > 0, moved, momentum_buffer)
        step = g + momentum * moved if nesterov else moved
        p -= lr * where(momentum > 0, step, g)

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError for nesterov without momentum, or with dampening."""
        if options["nesterov"] and not np.all(np.asarray(options["momentum"]) > 0):
            raise ConfigError("SGD: nesterov needs momentum > 0", field="momentum")
        if options["nesterov"] and np.any(np.asarray(options["dampening"]) != 0):
            raise ConfigError("SGD: nesterov needs dampening = 0", field="dampening")


class ASGD(Optimizer):
    """Averaged stochastic gradient descent, Polyak & Juditsky (1992), doi:10.1137/0330046, with a decaying step size.

        g ← g + w θ
        θ ← (1 - λ ηₜ) θ - ηₜ g            η₁ = lr,  ηₜ₊₁ = lr / (1 + λ lr t)^α
        θ̄ ← θ̄ + (θ - θ̄) / max(1, t - 1 - t0)

    λ lambd, α alpha, w weight_decay; θ̄ is `ax`. As in torch, a changed lr takes effect one step late.

    Example:

        optimizer: {name: ASGD, lr: 3e-3}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    average = "ax"
    search_space: ClassVar = {"lr": {"loguniform": [1e-4, 1.0]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, ax: Any, eta: Number, *, lr: NonNegative = 1e-2, lambd: NonNegative = 1e-4,
               alpha: NonNegative = 0.75, t0: NonNegative = 1e6, weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        g = g + weight_decay * p
        rate = where(t == 1, lr, eta)
        p *= 1 - lambd * rate
        p -= rate * g
        mu = 1 / maximum(t - 1 - t0, 1.0)
        ax[:] = where(mu == 1, p, ax + mu * (p - ax))
        eta[:] = lr / (1 + lambd * lr * t) ** alpha
