"""Adam and its variants, with first and second moments of the gradient."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from optrun.errors import ConfigError
from optrun.ops import abs, debias, lerp, maximum, sqrt, where
from optrun.optim.optimizer import Optimizer
from optrun.registry import Decay, NonNegative, Number, Positive

BETAS = {"betas": ("beta1", "beta2")}
MOMENTS_SPACE: Mapping[str, Mapping[str, Sequence[float]]] = {
    "lr": {"loguniform": [1e-4, 1.0]},
    "beta1": {"uniform": [0.5, 0.999]},
    "beta2": {"uniform": [0.8, 0.999]},
}
"""In the manner of Schmidt et al. (2021), arXiv:2007.01547."""


class Adam(Optimizer):
    """Adam, Algorithm 1 of Kingma & Ba (2015), arXiv:1412.6980; amsgrad of Reddi et al. (2018), arXiv:1904.09237.

        g ← g + λ θ                    decoupled: θ ← (1 - lr λ) θ
        m ← β₁ m + (1 - β₁) g          m̂ = m / (1 - β₁ᵗ)
        v ← β₂ v + (1 - β₂) g²         v̂ = v / (1 - β₂ᵗ)      amsgrad: v̂ = (max of all v) / (1 - β₂ᵗ)
        θ ← θ - lr · m̂ / (√v̂ + ε)

    λ weight_decay.

    Example:

        optimizer: {name: Adam, lr: 0.1}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = MOMENTS_SPACE

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, max_exp_avg_sq: Any, *, lr: NonNegative = 1e-3,
               beta1: Decay = 0.9, beta2: Decay = 0.999, eps: NonNegative = 1e-8, weight_decay: NonNegative = 0.0,
               amsgrad: bool = False, decoupled_weight_decay: bool = False) -> None:  # fmt: skip
        if decoupled_weight_decay:
            p *= 1 - lr * weight_decay
        else:
            g = g + weight_decay * p
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (g * g)
        max_exp_avg_sq[:] = maximum(max_exp_avg_sq, exp_avg_sq) if amsgrad else max_exp_avg_sq
        v = max_exp_avg_sq if amsgrad else exp_avg_sq
        p -= lr / debias(beta1, t) * exp_avg / (sqrt(v) / sqrt(debias(beta2, t)) + eps)


class AdamW(Optimizer):
    """AdamW, Algorithm 2 of Loshchilov & Hutter (2019), arXiv:1711.05101: Adam with decoupled weight decay.

    θ ← (1 - lr λ) θ, then Adam's step;  λ weight_decay

    Example:

        optimizer: {name: AdamW, lr: 0.03, weight_decay: 1e-4}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = {**MOMENTS_SPACE, "weight_decay": {"loguniform": [1e-5, 1e-1]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, max_exp_avg_sq: Any, *, lr: NonNegative = 1e-3,
               beta1: Decay = 0.9, beta2: Decay = 0.999, eps: NonNegative = 1e-8, weight_decay: NonNegative = 1e-2,
               amsgrad: bool = False) -> None:  # fmt: skip
        p *= 1 - lr * weight_decay
        moments = (exp_avg, exp_avg_sq, max_exp_avg_sq)
        Adam.update(p, g, t, *moments, lr=lr, beta1=beta1, beta2=beta2, eps=eps, amsgrad=amsgrad)


class Adamax(Optimizer):
    """Adamax, Algorithm 2 of Kingma & Ba (2015), arXiv:1412.6980: Adam with the infinity norm as second moment.

        g ← g + λ θ
        m ← β₁ m + (1 - β₁) g          m̂ = m / (1 - β₁ᵗ)
        u ← max(β₂ u, |g| + ε)
        θ ← θ - lr · m̂ / u

    λ weight_decay.

    Example:

        optimizer: {name: Adamax, lr: 0.1}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = MOMENTS_SPACE

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_inf: Any, *, lr: NonNegative = 2e-3, beta1: Decay = 0.9,
               beta2: Decay = 0.999, eps: NonNegative = 1e-8, weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        g = g + weight_decay * p
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        exp_inf[:] = maximum(beta2 * exp_inf, abs(g) + eps)
        p -= lr / debias(beta1, t) * exp_avg / exp_inf


class NAdam(Optimizer):
    """Adam with Nesterov momentum and a momentum schedule, Dozat (2016), openreview:OM0jvwB8jIp57ZJjtNEZ.

        g ← g + λ θ                    decoupled: θ ← (1 - lr λ) θ
        μₜ = β₁ (1 - ½ · 0.96^(t ψ))   Π ← Π μₜ
        m ← β₁ m + (1 - β₁) g
        v ← β₂ v + (1 - β₂) g²         v̂ = v / (1 - β₂ᵗ)
        θ ← θ - lr · [(1 - μₜ) / (1 - Π) · g + μₜ₊₁ / (1 - Π μₜ₊₁) · m] / (√v̂ + ε)

    ψ momentum_decay, λ weight_decay.

    Example:

        optimizer: {name: NAdam, lr: 0.03}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = MOMENTS_SPACE

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, mu_product: Number, *, lr: NonNegative = 2e-3,
               beta1: Decay = 0.9, beta2: Decay = 0.999, eps: NonNegative = 1e-8, weight_decay: NonNegative = 0.0,
               momentum_decay: NonNegative = 4e-3, decoupled_weight_decay: bool = False) -> None:  # fmt: skip
        if decoupled_weight_decay:
            p *= 1 - lr * weight_decay
        else:
            g = g + weight_decay * p
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
        mu_product[:] = where(t == 1, 1.0, mu_product) * mu
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (g * g)
        denominator = sqrt(exp_avg_sq) / sqrt(debias(beta2, t)) + eps
        p -= lr * (1 - mu) / (1 - mu_product) * g / denominator
        p -= lr * mu_next / (1 - mu_product * mu_next) * exp_avg / denominator


class RAdam(Optimizer):
    """Rectified Adam, Liu et al. (2020), arXiv:1908.03265: no adaptive step size while the variance of v is large.

        g ← g + λ θ                    decoupled: θ ← (1 - lr λ) θ
        m ← β₁ m + (1 - β₁) g          m̂ = m / (1 - β₁ᵗ)
        v ← β₂ v + (1 - β₂) g²
        ρ∞ = 2 / (1 - β₂) - 1          ρ = ρ∞ - 2 t β₂ᵗ / (1 - β₂ᵗ)
        r = √[(ρ - 4) (ρ - 2) ρ∞ / ((ρ∞ - 4) (ρ∞ - 2) ρ)]
        θ ← θ - lr · m̂ · r √(1 - β₂ᵗ) / (√v + ε)   where ρ > 5,  else θ - lr · m̂

    λ weight_decay.

    Example:

        optimizer: {name: RAdam, lr: 0.03}
        scheduler: {name: LinearLR, start_factor: 0.0, total_iters: 100}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = MOMENTS_SPACE

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, *, lr: NonNegative = 1e-3, beta1: Decay = 0.9,
               beta2: Decay = 0.999, eps: NonNegative = 1e-8, weight_decay: NonNegative = 0.0,
               decoupled_weight_decay: bool = False) -> None:  # fmt: skip
        if decoupled_weight_decay:
            p *= 1 - lr * weight_decay
        else:
            g = g + weight_decay * p
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (g * g)
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / debias(beta2, t)
        r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        rectified = r * sqrt(debias(beta2, t)) / (sqrt(exp_avg_sq) + eps)
        p -= lr / debias(beta1, t) * exp_avg * where(rho > 5, rectified, 1.0)


class SparseAdam(Optimizer):
    """Adam for sparse gradients: an element and its moments do not change where the gradient is 0.

        m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²
        θ ← θ - lr √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε)       only where g ≠ 0

    As in torch, ε is added before the bias correction, and must not be 0, nor may an unscheduled learning rate.
    torch's rule updates the indices of a sparse gradient instead.

    Example:

        optimizer: {name: SparseAdam, lr: 0.1}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = MOMENTS_SPACE

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, *, lr: NonNegative = 1e-3, beta1: Decay = 0.9,
               beta2: Decay = 0.999, eps: Positive = 1e-8) -> None:  # fmt: skip
        exp_avg[:] = where(g != 0, lerp(exp_avg, g, 1 - beta1), exp_avg)
        exp_avg_sq[:] = where(g != 0, lerp(exp_avg_sq, g * g, 1 - beta2), exp_avg_sq)
        step = lr * sqrt(debias(beta2, t)) / debias(beta1, t) * exp_avg / (sqrt(exp_avg_sq) + eps)
        p[:] = where(g != 0, p - step, p)

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError for an unscheduled learning rate of 0."""
        if np.any(np.asarray(options["lr"]) <= 0):
            raise ConfigError("SparseAdam: lr must be > 0 where nothing schedules it", field="lr")
