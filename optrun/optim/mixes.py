"""Adam with several averages of the gradient, or with its change."""

from collections.abc import Mapping
from typing import Any, ClassVar

from optrun.ops import debias, exp, lerp, log, maximum, minimum, norm, sqrt, where
from optrun.optim.adam import BETAS, MOMENTS_SPACE
from optrun.optim.optimizer import Optimizer
from optrun.registry import Decay, Fraction, NonNegative

THREE_BETAS: Mapping[str, tuple[str, ...]] = {"betas": ("beta1", "beta2", "beta3")}


class AdEMAMix(Optimizer):
    """AdEMAMix, Algorithm 1 of Pagliardini et al. (2024), arXiv:2409.03137: Adam with a second, slow average.

        m ← β₁ m + (1 - β₁) g          m̂ = m / (1 - β₁ᵗ)
        s ← β₃ₜ s + (1 - β₃ₜ) g
        v ← β₂ v + (1 - β₂) g²         v̂ = v / (1 - β₂ᵗ)
        θ ← (1 - lr λ) θ - lr · (m̂ + αₜ s) / (√v̂ + ε)
        αₜ = α min(t / T_α, 1)
        β₃ₜ = β₃ from T_β on, before it β with 1 / ln β = (1 - t / T_β) / ln β₁ + t / (T_β ln β₃), if less

    T_α alpha_warmup and T_β beta3_warmup are numbers of steps, 0 for none; λ weight_decay. The slow average s has no
    bias correction. optax calls its schedules of α and β₃ with t - 1, the paper with t.

    Example:

        optimizer: {name: AdEMAMix, lr: 0.02, beta3: 0.99, alpha: 2, alpha_warmup: 300, beta3_warmup: 300}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = THREE_BETAS
    search_space: ClassVar = {**MOMENTS_SPACE, "alpha": {"uniform": [0.0, 10.0]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_slow: Any, exp_avg_sq: Any, *, lr: NonNegative = 1e-3,
               beta1: Decay = 0.9, beta2: Decay = 0.999, beta3: Decay = 0.9999, alpha: NonNegative = 5.0,
               eps: NonNegative = 1e-8, weight_decay: NonNegative = 0.0, alpha_warmup: NonNegative = 0.0,
               beta3_warmup: NonNegative = 0.0) -> None:  # fmt: skip
        alpha_now = alpha * minimum(t / maximum(alpha_warmup, 1.0), 1.0)
        done = minimum(t / maximum(beta3_warmup, 1.0), 1.0)
        warm = exp(1 / ((1 - done) / log(beta1) + done / log(beta3)))
        beta3_now = where(done < 1, minimum(warm, beta3), beta3)
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        exp_avg_slow[:] = lerp(exp_avg_slow, g, 1 - beta3_now)
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (g * g)
        mixed = exp_avg / debias(beta1, t) + alpha_now * exp_avg_slow
        p *= 1 - lr * weight_decay
        p -= lr * mixed / (sqrt(exp_avg_sq) / sqrt(debias(beta2, t)) + eps)


class SimplifiedAdEMAMix(Optimizer):
    """AdEMAMix with one average, Morwani et al. (2025), arXiv:2502.02431: its fast average is the gradient itself.

        m ← β₁ m + g
        v ← β₂ v + (1 - β₂) g²         v̂ = v / (1 - β₂ᵗ)
        θ ← (1 - lr λ) θ - lr · (m + α g) / (√v̂ + ε)

    λ weight_decay. m is a sum, so lr is 1 - β₁ times what it is for Adam.

    Example:

        optimizer: {name: SimplifiedAdEMAMix, lr: 1e-3, beta1: 0.9, beta2: 0.99, alpha: 1}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = {
        **MOMENTS_SPACE,
        "lr": {"loguniform": [1e-6, 1e-1]},
        "alpha": {"uniform": [0.0, 100.0]},
    }

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, momentum_buffer: Any, exp_avg_sq: Any, *, lr: NonNegative = 1e-5,
               beta1: Decay = 0.99, beta2: Decay = 0.95, alpha: NonNegative = 0.0, eps: NonNegative = 1e-8,
               weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        momentum_buffer[:] = beta1 * momentum_buffer + g
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (g * g)
        p *= 1 - lr * weight_decay
        p -= lr * (momentum_buffer + alpha * g) / (sqrt(exp_avg_sq) / sqrt(debias(beta2, t)) + eps)


class Adan(Optimizer):
    """Adan, Algorithm 1 of Xie et al. (2022), arXiv:2208.06677: Nesterov momentum by the change of the gradient.

        d = g - (the gradient before), 0 at first
        m ← β₁ m + (1 - β₁) g                  m̂ = m / (1 - β₁ᵗ)
        v ← β₂ v + (1 - β₂) d                  v̂ = v / (1 - β₂ᵗ)
        n ← β₃ n + (1 - β₃) (g + β₂ d)²        n̂ = n / (1 - β₃ᵗ)
        θ ← (θ - lr · (m̂ + β₂ v̂) / (√n̂ + ε)) / (1 + lr λ)

    λ weight_decay. β is what is kept, as in the authors' code; the paper's β is 1 - β. The bias corrections are those
    of their code; the paper begins m and n with the first gradient instead. optax 0.2.8 has 1 - β₂ where this has β₂,
    and subtracts lr λ θ.

    Example:

        optimizer: {name: Adan, lr: 0.05}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = THREE_BETAS
    search_space: ClassVar = {
        "lr": {"loguniform": [1e-4, 1.0]},
        "beta1": {"uniform": [0.8, 0.999]},
        "beta2": {"uniform": [0.8, 0.999]},
        "beta3": {"uniform": [0.8, 0.999]},
    }

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_diff: Any, exp_avg_sq: Any, prev: Any, *,
               lr: NonNegative = 1e-3, beta1: Decay = 0.98, beta2: Decay = 0.92, beta3: Decay = 0.99,
               eps: NonNegative = 1e-8, weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        diff = where(t == 1, 0.0, g - prev)
        ahead = g + beta2 * diff
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        exp_avg_diff[:] = lerp(exp_avg_diff, diff, 1 - beta2)
        exp_avg_sq[:] = beta3 * exp_avg_sq + (1 - beta3) * (ahead * ahead)
        prev[:] = g
        moved = exp_avg / debias(beta1, t) + beta2 / debias(beta2, t) * exp_avg_diff
        p -= lr * moved / (sqrt(exp_avg_sq) / sqrt(debias(beta3, t)) + eps)
        p /= 1 + lr * weight_decay


class QHAdam(Optimizer):
    """Quasi-hyperbolic Adam, Ma & Yarats (2018), arXiv:1810.06801: both moments are mixed with those of the gradient.

        g ← g + λ θ
        m ← β₁ m + (1 - β₁) g          m̂ = m / (1 - β₁ᵗ)
        v ← β₂ v + (1 - β₂) g²         v̂ = v / (1 - β₂ᵗ)
        θ ← θ - lr · [(1 - ν₁) g + ν₁ m̂] / (√[(1 - ν₂) g² + ν₂ v̂] + ε)

    λ weight_decay. Defaults are the paper's recommendation; those of its code, ν₁ = ν₂ = 1 and β₁ = 0.9, are Adam.

    Example:

        optimizer: {name: QHAdam, lr: 0.05, beta1: 0.9}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = {**BETAS, "nus": ("nu1", "nu2")}
    search_space: ClassVar = {**MOMENTS_SPACE, "nu1": {"uniform": [0.0, 1.0]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, *, lr: NonNegative = 1e-3,
               beta1: Decay = 0.995, beta2: Decay = 0.999, nu1: Fraction = 0.7, nu2: Fraction = 1.0,
               eps: NonNegative = 1e-8, weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        g = g + weight_decay * p
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (g * g)
        m = (1 - nu1) * g + nu1 / debias(beta1, t) * exp_avg
        v = (1 - nu2) * (g * g) + nu2 / debias(beta2, t) * exp_avg_sq
        p -= lr * m / (sqrt(v) + eps)


class MARS(Optimizer):
    """MARS-AdamW, Algorithm 2 of Yuan et al. (2024), arXiv:2411.10438: AdamW of gradients with less variance.

        c = g + γ β₁ / (1 - β₁) (g - (the gradient before))         first step: c = g
        c ← c / max(1, ‖c‖)                                         ‖c‖ of each tensor
        m ← β₁ m + (1 - β₁) c          m̂ = m / (1 - β₁ᵗ)
        v ← β₂ v + (1 - β₂) c²         v̂ = v / (1 - β₂ᵗ)
        θ ← (1 - lr λ) θ - lr · m̂ / (√v̂ + ε)

    γ gamma, λ weight_decay. This is the paper's approximate variant, MARS-approx, with one gradient per step; the
    exact one evaluates the gradient of this batch at the parameters before, too.

    Example:

        optimizer: {name: MARS, lr: 0.05, beta1: 0.9}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = {**MOMENTS_SPACE, "gamma": {"uniform": [0.0, 0.1]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, prev: Any, *, lr: NonNegative = 3e-3,
               beta1: Decay = 0.95, beta2: Decay = 0.99, gamma: NonNegative = 0.025, eps: NonNegative = 1e-8,
               weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        corrected = g + gamma * beta1 / (1 - beta1) * where(t == 1, 0.0, g - prev)
        prev[:] = g
        corrected = 1 / maximum(norm(corrected, over="tensor"), 1.0) * corrected
        exp_avg[:] = lerp(exp_avg, corrected, 1 - beta1)
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (corrected * corrected)
        p *= 1 - lr * weight_decay
        p -= lr / debias(beta1, t) * exp_avg / (sqrt(exp_avg_sq) / sqrt(debias(beta2, t)) + eps)
