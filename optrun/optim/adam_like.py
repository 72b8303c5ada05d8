"""Adam with another second moment, another order of its operations, or bounds."""

from typing import Any, ClassVar

from optrun.ops import clip, debias, lerp, maximum, sign, sqrt, where
from optrun.optim.adam import BETAS, MOMENTS_SPACE
from optrun.optim.optimizer import Optimizer
from optrun.registry import Decay, NonNegative, Positive


class ADOPT(Optimizer):
    """ADOPT, Algorithm 2 of Taniguchi et al. (2024), arXiv:2411.02853: g is divided by the moment before it.

        first step: v = g², and θ stays
        m ← β₁ m + (1 - β₁) clip(g / max(√v, ε), ±(t - 1)^¼)
        θ ← (1 - lr λ) θ - lr · m
        v ← β₂ v + (1 - β₂) g²

    λ weight_decay, decoupled; in the authors' code it is added to g unless told otherwise. Without clip this is
    Algorithm 1, the authors' first version.

    Example:

        optimizer: {name: ADOPT, lr: 0.05, beta2: 0.99}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = {**MOMENTS_SPACE, "beta2": {"uniform": [0.8, 0.9999]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, *, lr: NonNegative = 1e-3, beta1: Decay = 0.9,
               beta2: Decay = 0.9999, eps: NonNegative = 1e-6, weight_decay: NonNegative = 0.0,
               clip_updates: bool = True) -> None:  # fmt: skip
        scaled = g / maximum(sqrt(exp_avg_sq), eps)
        limit = (t - 1) ** 0.25
        scaled = clip(scaled, -limit, limit) if clip_updates else scaled
        exp_avg[:] = where(t == 1, 0.0, lerp(exp_avg, scaled, 1 - beta1))
        exp_avg_sq[:] = where(t == 1, g * g, beta2 * exp_avg_sq + (1 - beta2) * (g * g))
        p *= where(t == 1, 1.0, 1 - lr * weight_decay)
        p -= lr * exp_avg


class NAdamW(Optimizer):
    """Adam with Nesterov momentum and decoupled weight decay, Dozat (2016), without NAdam's schedule of β₁.

        m ← β₁ m + (1 - β₁) g
        v ← β₂ v + (1 - β₂) g²         v̂ = v / (1 - β₂ᵗ)
        θ ← (1 - lr λ) θ - lr · [(1 - β₁) / (1 - β₁ᵗ) · g + β₁ / (1 - β₁ᵗ⁺¹) · m] / (√v̂ + ε)

    λ weight_decay. As in optax; the baseline of Dahl et al. (2023), arXiv:2306.07179, divides both terms by 1 - β₁ᵗ.

    Example:

        optimizer: {name: NAdamW, lr: 0.03, weight_decay: 0}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = {**MOMENTS_SPACE, "weight_decay": {"loguniform": [1e-5, 1e-1]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, *, lr: NonNegative = 1e-3, beta1: Decay = 0.9,
               beta2: Decay = 0.999, eps: NonNegative = 1e-8, weight_decay: NonNegative = 1e-4) -> None:  # fmt: skip
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (g * g)
        ahead = (1 - beta1) / debias(beta1, t) * g + beta1 / debias(beta1, t + 1) * exp_avg
        p *= 1 - lr * weight_decay
        p -= lr * ahead / (sqrt(exp_avg_sq) / sqrt(debias(beta2, t)) + eps)


class LaProp(Optimizer):
    """LaProp, Algorithm 1 of Ziyin et al. (2020), arXiv:2002.04839: momentum of gradients that are already divided.

        v ← β₂ v + (1 - β₂) g²         v̂ = v / (1 - β₂ᵗ)
        m ← β₁ m + (1 - β₁) g / (√v̂ + ε)
        θ ← (1 - lr λ) θ - lr · m / (1 - β₁ᵗ)

    λ weight_decay, decoupled. The authors' code averages lr times the gradient, so that a schedule acts late.

    Example:

        optimizer: {name: LaProp, lr: 0.03}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = MOMENTS_SPACE

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, *, lr: NonNegative = 4e-4, beta1: Decay = 0.9,
               beta2: Decay = 0.999, eps: NonNegative = 1e-15, weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (g * g)
        scaled = g / (sqrt(exp_avg_sq) / sqrt(debias(beta2, t)) + eps)
        exp_avg[:] = lerp(exp_avg, scaled, 1 - beta1)
        p *= 1 - lr * weight_decay
        p -= lr / debias(beta1, t) * exp_avg


class Yogi(Optimizer):
    """Yogi, Algorithm 2 of Zaheer et al. (2018), NeurIPS 31: a second moment that moves by at most (1 - β₂) g².

        m ← β₁ m + (1 - β₁) g                    m̂ = m / (1 - β₁ᵗ)
        v ← v - (1 - β₂) sign(v - g²) g²         v̂ = v / (1 - β₂ᵗ)       v₀ = initial_accumulator_value
        θ ← (1 - lr λ) θ - lr · m̂ / (√v̂ + ε)

    λ weight_decay. The bias corrections are Adam's, which the paper's listing omits. optax begins m with the
    initial value too.

    Example:

        optimizer: {name: Yogi, lr: 0.1}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = MOMENTS_SPACE

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, *, lr: NonNegative = 1e-2, beta1: Decay = 0.9,
               beta2: Decay = 0.999, eps: NonNegative = 1e-3, weight_decay: NonNegative = 0.0,
               initial_accumulator_value: NonNegative = 1e-6) -> None:  # fmt: skip
        v = where(t == 1, initial_accumulator_value, exp_avg_sq)
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        exp_avg_sq[:] = v - (1 - beta2) * (sign(v - g * g) * (g * g))
        p *= 1 - lr * weight_decay
        p -= lr / debias(beta1, t) * exp_avg / (sqrt(exp_avg_sq) / sqrt(debias(beta2, t)) + eps)


class AdaBelief(Optimizer):
    """AdaBelief, Algorithm 2 of Zhuang et al. (2020), arXiv:2010.07468: the second moment is that of surprise.

        m ← β₁ m + (1 - β₁) g                    m̂ = m / (1 - β₁ᵗ)
        s ← β₂ s + (1 - β₂) (g - m)² + ε         ŝ = s / (1 - β₂ᵗ)
        θ ← (1 - lr λ) θ - lr · m̂ / (√ŝ + ε)

    λ weight_decay, decoupled. As in the authors' code the default ε is 10⁻¹⁶: it bounds √ŝ, which is small where g is
    foreseen.

    Example:

        optimizer: {name: AdaBelief, lr: 0.03}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = MOMENTS_SPACE

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_var: Any, *, lr: NonNegative = 1e-3, beta1: Decay = 0.9,
               beta2: Decay = 0.999, eps: NonNegative = 1e-16, weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        surprise = g - exp_avg
        exp_avg_var[:] = beta2 * exp_avg_var + (1 - beta2) * (surprise * surprise) + eps
        p *= 1 - lr * weight_decay
        p -= lr / debias(beta1, t) * exp_avg / (sqrt(exp_avg_var) / sqrt(debias(beta2, t)) + eps)


class AdaBound(Optimizer):
    """AdaBound, Algorithm 2 of Luo et al. (2019), arXiv:1902.09843: Adam's rates within bounds that close in on SGD's.

        g ← g + λ θ
        m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²
        η = clip(lr √(1 - β₂ᵗ) / (1 - β₁ᵗ) / (√v + ε), r - r / (γ t + 1), r + r / (γ t))
        θ ← θ - η · m

    r final_lr, λ weight_decay. Bias correction, ε, γ and the missing 1 / √t are those of the authors' code, which also
    multiplies r by lr / (the first lr): here r has a schedule of its own.

    Example:

        optimizer: {name: AdaBound, lr: 0.05, final_lr: 5e-3}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = {**MOMENTS_SPACE, "final_lr": {"loguniform": [1e-3, 1.0]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, *, lr: NonNegative = 1e-3, beta1: Decay = 0.9,
               beta2: Decay = 0.999, final_lr: NonNegative = 0.1, gamma: Positive = 1e-3, eps: NonNegative = 1e-8,
               weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        g = g + weight_decay * p
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (g * g)
        rate = lr * sqrt(debias(beta2, t)) / debias(beta1, t) / (sqrt(exp_avg_sq) + eps)
        least, most = final_lr - final_lr / (gamma * t + 1), final_lr + final_lr / (gamma * t)
        p -= clip(rate, least, most) * exp_avg
