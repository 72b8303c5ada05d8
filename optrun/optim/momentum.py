"""Momentum of several speeds, and steps from where the run began."""

from typing import Any, ClassVar

from optrun.ops import abs, lerp, maximum, sqrt, where
from optrun.optim.optimizer import Optimizer
from optrun.registry import Decay, Fraction, NonNegative, Positive


class QHM(Optimizer):
    """Quasi-hyperbolic momentum, Ma & Yarats (2018), arXiv:1810.06801: a mean of SGD's step and of momentum's.

        g ← g + λ θ
        b ← β b + (1 - β) g
        θ ← θ - lr · [(1 - ν) g + ν b]

    β momentum, ν nu, λ weight_decay. b is a mean, so lr is 1 / (1 - β) times what it is for SGD with momentum.

    Example:

        optimizer: {name: QHM, lr: 5e-3, momentum: 0.95}
    """

    search_space: ClassVar = {
        "lr": {"loguniform": [1e-4, 10.0]},
        "momentum": {"uniform": [0.8, 0.999]},
        "nu": {"uniform": [0.0, 1.0]},
    }

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, momentum_buffer: Any, *, lr: NonNegative = 1e-3, momentum: Decay = 0.999,
               nu: Fraction = 0.7, weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        g = g + weight_decay * p
        momentum_buffer[:] = lerp(momentum_buffer, g, 1 - momentum)
        p -= lr * ((1 - nu) * g + nu * momentum_buffer)


class AggMo(Optimizer):
    """Aggregated momentum, Lucas et al. (2018), arXiv:1804.00325: the mean of three momenta of different speeds.

        g ← g + λ θ
        bᵢ ← βᵢ bᵢ + g                 for i = 1, 2, 3
        θ ← θ - lr / 3 · (b₁ + b₂ + b₃)

    λ weight_decay. As by default in the paper there are three, with βᵢ = 1 - 10¹⁻ⁱ.

    Example:

        optimizer: {name: AggMo, lr: 1e-3}
    """

    tuples: ClassVar = {"betas": ("beta1", "beta2", "beta3")}
    search_space: ClassVar = {"lr": {"loguniform": [1e-4, 1.0]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, buffer1: Any, buffer2: Any, buffer3: Any, *, lr: NonNegative = 1e-3,
               beta1: Decay = 0.0, beta2: Decay = 0.9, beta3: Decay = 0.99,
               weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        g = g + weight_decay * p
        buffer1[:] = beta1 * buffer1 + g
        buffer2[:] = beta2 * buffer2 + g
        buffer3[:] = beta3 * buffer3 + g
        p -= lr / 3 * (buffer1 + buffer2 + buffer3)


class MADGRAD(Optimizer):
    """MADGRAD, Algorithm 1 of Defazio & Jelassi (2021), arXiv:2101.11075: dual averaging with a cube root and momentum.

        g ← g + λ θ
        s ← s + lr √t g
        v ← v + lr √t g²
        z = θ₀ - s / (∛v + ε)
        θ ← μ θ + (1 - μ) z

    μ momentum, λ weight_decay, θ₀ the parameters before the first step. The authors' code and optax add ε to lr.

    Example:

        optimizer: {name: MADGRAD, lr: 0.03}
    """

    search_space: ClassVar = {"lr": {"loguniform": [1e-5, 1.0]}, "momentum": {"uniform": [0.0, 0.99]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, grad_sum: Any, grad_sum_sq: Any, start: Any, *, lr: NonNegative = 1e-2,
               momentum: Decay = 0.9, eps: NonNegative = 1e-6, weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        g = g + weight_decay * p
        start[:] = where(t == 1, p, start)
        grad_sum[:] = grad_sum + lr * sqrt(t) * g
        grad_sum_sq[:] = grad_sum_sq + lr * sqrt(t) * (g * g)
        target = start - grad_sum / (grad_sum_sq ** (1 / 3) + eps)
        p -= (1 - momentum) * (p - target)


class COCOB(Optimizer):
    """COCOB-Backprop, Algorithm 2 of Orabona & Tommasi (2017), arXiv:1705.07795: bets coins, without a learning rate.

        g ← g + λ θ
        L ← max(L, |g|),  G ← G + |g|            L₀ = ε
        R ← max(R - g (θ - θ₀), 0)
        s ← s + g
        θ ← θ - lr · [θ - θ₀ + s (L + R) / (L max(G + L, α L))]

    λ weight_decay, θ₀ the parameters before the first step. The paper has no lr: 1 is its algorithm, and less goes only
    that part of the way. optax multiplies g by lr instead, to which all of this is indifferent. ε is there for
    gradients of 0, which the paper does not treat.

    Example:

        optimizer: {name: COCOB, lr: 0.5, alpha: 10}
    """

    finds_rate = True
    search_space: ClassVar = {"alpha": {"loguniform": [10.0, 1000.0]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, grad_sum: Any, size_sum: Any, largest: Any, reward: Any, start: Any, *,
               lr: NonNegative = 1.0, alpha: Positive = 100.0, eps: Positive = 1e-8,
               weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        g = g + weight_decay * p
        start[:] = where(t == 1, p, start)
        largest[:] = maximum(where(t == 1, eps, largest), abs(g))
        size_sum[:] = size_sum + abs(g)
        reward[:] = maximum(reward - g * (p - start), 0.0)
        grad_sum[:] = grad_sum + g
        bet = grad_sum / (largest * maximum(size_sum + largest, alpha * largest)) * (largest + reward)
        p -= lr * (p - (start - bet))
