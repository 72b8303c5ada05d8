"""Stochastic gradient descent."""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le

from optrun.errors import ConfigError
from optrun.optim.ops import where
from optrun.optim.optimizer import Optimizer
from optrun.registry import NonNegative


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, Sutskever et al., ICML 2013, in the form in which torch has it.

        g ← g + λ θ
        b ← μ b + (1 - τ) g          b₁ = g
        θ ← θ - lr · b               with nesterov: θ - lr · (g + μ b);  without momentum: θ - lr · g

    λ weight_decay, μ momentum, τ dampening. Nesterov momentum needs μ > 0 and τ = 0.
    """

    @staticmethod
    def update(
        p: Any,
        g: Any,
        t: Any,
        /,
        momentum_buffer: Any,
        *,
        lr: NonNegative = 1e-3,
        momentum: NonNegative = 0.0,
        dampening: Annotated[float, Ge(0), Le(1)] = 0.0,
        weight_decay: NonNegative = 0.0,
        nesterov: bool = False,
    ) -> None:
        g = g + weight_decay * p
        moved = where(t == 1, g, momentum * momentum_buffer + (1 - dampening) * g)
        momentum_buffer[:] = where(momentum > 0, moved, 0.0)
        step = g + momentum * moved if nesterov else moved
        p -= lr * where(momentum > 0, step, g)

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError for nesterov without momentum or with dampening."""
        if options["nesterov"] and not np.all(np.asarray(options["momentum"]) > 0):
            raise ConfigError("SGD: nesterov needs momentum > 0", field="momentum")
        if options["nesterov"] and np.any(np.asarray(options["dampening"]) != 0):
            raise ConfigError("SGD: nesterov needs dampening = 0", field="dampening")
