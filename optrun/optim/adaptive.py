"""Learning rates per element, adapted to the size or the sign of past gradients."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt, Lt

from optrun.errors import ConfigError
from optrun.ops import lerp, maximum, minimum, sign, sqrt, where
from optrun.optim.optimizer import Optimizer
from optrun.registry import Fraction, NonNegative, Positive


class Adagrad(Optimizer):
    """Adagrad, Duchi et al. (2011), JMLR 12: the learning rate falls with the sum of squared gradients.

        g ← g + λ θ
        s ← s + g²                   s₀ = initial_accumulator_value
        θ ← θ - lr / (1 + (t - 1) κ) · g / (√s + ε)

    κ lr_decay, λ weight_decay.

    Example:

        optimizer: {name: Adagrad, lr: 1.0}
    """

    search_space: ClassVar = {"lr": {"loguniform": [1e-4, 1.0]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, sum: Any, *, lr: NonNegative = 1e-2, lr_decay: NonNegative = 0.0,
               weight_decay: NonNegative = 0.0, initial_accumulator_value: NonNegative = 0.0,
               eps: NonNegative = 1e-10) -> None:  # fmt: skip
        g = g + weight_decay * p
        sum[:] = where(t == 1, initial_accumulator_value, sum) + g * g
        p -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(sum) + eps)


class Adadelta(Optimizer):
    """Adadelta, Zeiler (2012), arXiv:1212.5701: updates have the units of the parameters.

        g ← g + λ θ
        v ← ρ v + (1 - ρ) g²
        δ = √(u + ε) / √(v + ε) · g
        u ← ρ u + (1 - ρ) δ²
        θ ← θ - lr · δ

    λ weight_decay; u is `acc_delta`.

    Example:

        optimizer: {name: Adadelta}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    search_space: ClassVar = {"lr": {"loguniform": [1e-3, 10.0]}, "rho": {"uniform": [0.8, 0.999]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, square_avg: Any, acc_delta: Any, *, lr: NonNegative = 1.0,
               rho: Fraction = 0.9, eps: NonNegative = 1e-6, weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        g = g + weight_decay * p
        square_avg[:] = rho * square_avg + (1 - rho) * (g * g)
        delta = sqrt(acc_delta + eps) / sqrt(square_avg + eps) * g
        acc_delta[:] = rho * acc_delta + (1 - rho) * (delta * delta)
        p -= lr * delta


class RMSprop(Optimizer):
    """RMSprop, Tieleman & Hinton (2012), lecture 6.5 of their course; centered, Graves (2013), arXiv:1308.0850.

        g ← g + λ θ
        v ← α v + (1 - α) g²
        a ← α a + (1 - α) g          centered: v̂ = max(v - a², 0), else v̂ = v
        b ← μ b + g / (√v̂ + ε)
        θ ← θ - lr · b

    λ weight_decay, μ momentum. A variance made negative by rounding counts as 0, where torch's square root is NaN.

    Example:

        optimizer: {name: RMSprop, momentum: 0.9}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    search_space: ClassVar = {"lr": {"loguniform": [1e-4, 1.0]}, "alpha": {"uniform": [0.8, 0.999]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, square_avg: Any, momentum_buffer: Any, grad_avg: Any, *,
               lr: NonNegative = 1e-2, alpha: Fraction = 0.99, eps: NonNegative = 1e-8, weight_decay: NonNegative = 0.0,
               momentum: NonNegative = 0.0, centered: bool = False) -> None:  # fmt: skip
        g = g + weight_decay * p
        square_avg[:] = alpha * square_avg + (1 - alpha) * (g * g)
        grad_avg[:] = lerp(grad_avg, g, 1 - alpha)
        v = maximum(square_avg - grad_avg * grad_avg, 0.0) if centered else square_avg
        moved = momentum * momentum_buffer + g / (sqrt(v) + eps)
        momentum_buffer[:] = where(momentum > 0, moved, momentum_buffer)
        p -= lr * moved


class Rprop(Optimizer):
    """Resilient backpropagation without backtracking, iRprop⁻ of Igel & Hüsken (2000).

        Δ ← min(max(η Δ, Δmin), Δmax)     η = η⁺ where g keeps its sign, η⁻ where it changes, 1 where either is 0
        g ← 0                             where it changes its sign
        θ ← θ - sign(g) Δ

    η⁻ η⁺ etas, Δmin Δmax step_sizes. lr is only the initial Δ, so scheduling it has no effect. As in torch, the sign of
    NaN is 0, so elements with a NaN gradient do not change.

    Example:

        optimizer: {name: Rprop}
    """

    tuples: ClassVar = {"etas": ("eta_minus", "eta_plus"), "step_sizes": ("step_size_min", "step_size_max")}
    search_space: ClassVar = {"lr": {"loguniform": [1e-4, 1e-1]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, prev: Any, step_size: Any, *, lr: NonNegative = 1e-2,
               eta_minus: Annotated[float, Gt(0), Lt(1)] = 0.5, eta_plus: Annotated[float, Gt(1)] = 1.2,
               step_size_min: Positive = 1e-6, step_size_max: Positive = 50.0) -> None:  # fmt: skip
        turn = g * prev
        factor = where(turn > 0, eta_plus, where(turn < 0, eta_minus, 1.0))
        step_size[:] = minimum(maximum(where(t == 1, lr, step_size) * factor, step_size_min), step_size_max)
        prev[:] = where(turn < 0, 0.0, g)
        # Only NaN is unequal to itself.
        p -= where(prev == prev, sign(prev), 0.0) * step_size

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError if step_size_min exceeds step_size_max."""
        if np.any(np.asarray(options["step_size_min"]) > np.asarray(options["step_size_max"])):
            raise ConfigError("Rprop: step_size_min must be ≤ step_size_max", field="step_size_min")
