"""Rules that read a sample of the Hessian's diagonal."""

from typing import Any, ClassVar

from optrun.ops import abs, clip, debias, lerp, maximum, mean, sqrt, where
from optrun.optim.adam import BETAS
from optrun.optim.optimizer import Optimizer
from optrun.registry import Decay, Fraction, NonNegative, PositiveInt


class AdaHessian(Optimizer):
    """AdaHessian, Algorithm 1 of Yao et al. (2021), arXiv:2006.00719: Adam with the Hessian's diagonal for g².

        D = z ⊙ H z                    z random signs, H the Hessian on the batch; of filters |D| averaged over each
        m ← β₁ m + (1 - β₁) g          v ← β₂ v + (1 - β₂) D²
        θ ← (1 - lr λ) θ - lr · m̂ / (v̂^(k/2) + ε)      m̂ = m / (1 - β₁ᵗ),  v̂ = v / (1 - β₂ⁿ)

    k hessian_power, λ weight_decay. D is sampled, and v updated, every update_every steps, n times so far: libraries
    that skip samples correct v by t, or update it with an old D. H z is exact for functions that are formulas, else a
    difference of two gradients on the batch.

    Example:

        optimizer: {name: AdaHessian, lr: 1.0}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = BETAS
    per_tensor = True
    needs_curvature = True
    search_space: ClassVar = {"lr": {"loguniform": [1e-3, 1.0]}, "hessian_power": {"uniform": [0.5, 1.0]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, h: Any, /, exp_avg: Any, exp_hessian_diag_sq: Any, *, lr: NonNegative = 0.15,
               beta1: Decay = 0.9, beta2: Decay = 0.999, eps: NonNegative = 1e-4, weight_decay: NonNegative = 0.0,
               hessian_power: Fraction = 1.0, update_every: PositiveInt = 1) -> None:  # fmt: skip
        size = abs(h)
        for axis in range(2, p.ndim):
            size = mean(size, axis - p.ndim)
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        is_new, samples = (t - 1) % update_every == 0, (t - 1) // update_every + 1
        seen = lerp(exp_hessian_diag_sq, size * size, 1 - beta2)
        exp_hessian_diag_sq[:] = where(is_new, seen, exp_hessian_diag_sq)
        curvature = (sqrt(exp_hessian_diag_sq) / sqrt(debias(beta2, samples))) ** hessian_power
        p *= 1 - lr * weight_decay
        p -= lr / debias(beta1, t) * exp_avg / (curvature + eps)


class SophiaH(Optimizer):
    """Sophia-H, Algorithm 3 of Liu et al. (2024), arXiv:2305.14342: Newton's step by a diagonal, each element clipped.

        D = z ⊙ H z                    z random signs, H the Hessian on the batch, every update_every steps
        m ← β₁ m + (1 - β₁) g          h ← β₂ h + (1 - β₂) D
        θ ← (1 - lr λ) θ - lr · clip(m / max(γ h, ε), -ρ, ρ)

    γ gamma, ρ clip_threshold, λ weight_decay. The paper draws z from a normal distribution; signs have the least
    variance. optax corrects the bias of m, and reads h before D is added to it; pytorch_optimizer has the first
    version's γ = 1, and its ρ for 1. H z is exact for functions that are formulas, else a difference of two gradients
    on the batch.

    Example:

        optimizer: {name: SophiaH, lr: 0.1, gamma: 0.3, weight_decay: 0}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = BETAS
    needs_curvature = True
    search_space: ClassVar = {"lr": {"loguniform": [1e-5, 1e-1]}, "gamma": {"loguniform": [1e-3, 1.0]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, h: Any, /, exp_avg: Any, hessian: Any, *, lr: NonNegative = 1e-3,
               beta1: Decay = 0.96, beta2: Decay = 0.99, gamma: NonNegative = 0.01, eps: NonNegative = 1e-12,
               clip_threshold: NonNegative = 1.0, weight_decay: NonNegative = 0.2, update_every: PositiveInt = 10
               ) -> None:  # fmt: skip
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        hessian[:] = where((t - 1) % update_every == 0, lerp(hessian, h, 1 - beta2), hessian)
        p *= 1 - lr * weight_decay
        p -= lr * clip(exp_avg / maximum(gamma * hessian, eps), -clip_threshold, clip_threshold)
