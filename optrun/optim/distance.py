"""Learning rates from the distance to the start, or from an estimate of the distance to the solution."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from optrun.ops import abs, dot, maximum, norm, sqrt, sum, where
from optrun.optim.adam import BETAS
from optrun.optim.optimizer import Optimizer
from optrun.registry import Decay, NonNegative, Number, Over, Positive

FREE_SPACE: Mapping[str, Mapping[str, Sequence[float]]] = {"lr": {"loguniform": [0.1, 10.0]}}


class DoG(Optimizer):
    """DoG, Ivgi et al. (2023), arXiv:2302.12022: distance over gradients, without a learning rate to tune.

        g ← g + λ θ
        r ← max(r, ‖θ - θ₀‖)                r₀ = α (1 + ‖θ₀‖)
        G ← G + ‖g‖²
        θ ← θ - lr · r / √(G + ε) · g

    α reps_rel, λ weight_decay; lr is to stay 1. With over: tensor each tensor has r and G of its own, which is the
    paper's L-DoG. In the authors' code r and G are those of a parameter group, here unless told otherwise of the run.
    They recommend α = 1e-4 for networks with batch normalization, and to evaluate an average of the parameters. Within
    ScheduleFree or Lookahead θ stays near an average, so that r and the steps grow slowly: α = 1e-3 is better.

    Example:

        optimizer: {name: DoG, reps_rel: 3e-4}
    """

    finds_rate = True
    search_space: ClassVar = FREE_SPACE

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, start: Any, distance: Number, sum: Number, *, lr: NonNegative = 1.0,
               reps_rel: Positive = 1e-6, eps: NonNegative = 1e-8, weight_decay: NonNegative = 0.0,
               over: Over = "run") -> None:  # fmt: skip
        g = g + weight_decay * p
        # In the first step the norm of θ, later that of the way from the start.
        size = norm(where(t == 1, p, p - start), over=over)
        start[:] = where(t == 1, p, start)
        distance[:] = where(t == 1, reps_rel * (1 + size), maximum(distance, size))
        sum[:] = sum + dot(g, g, over=over)
        p -= lr * distance / sqrt(sum + eps) * g


class DoWG(Optimizer):
    """DoWG, Algorithm 1 of Khaled et al. (2023), arXiv:2305.16284: distance over weighted gradients.

        g ← g + λ θ
        r ← max(r, ‖θ - θ₀‖)                r₀ = r_eps
        G ← G + r² ‖g‖²
        θ ← θ - lr · r² / (√G + ε) · g

    λ weight_decay; lr is to stay 1. The paper has no ε. In the authors' code and in optax ε = 1e-4, and r₀ is √ε.

    Example:

        optimizer: DoWG
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    finds_rate = True
    search_space: ClassVar = FREE_SPACE

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, start: Any, distance: Number, sum: Number, *, lr: NonNegative = 1.0,
               r_eps: Positive = 1e-2, eps: NonNegative = 1e-8, weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        g = g + weight_decay * p
        start[:] = where(t == 1, p, start)
        distance[:] = maximum(where(t == 1, r_eps, distance), norm(p - start, over="run"))
        square = distance * distance
        sum[:] = sum + square * dot(g, g, over="run")
        p -= lr * square / (sqrt(sum) + eps) * g


class DAdaptSGD(Optimizer):
    """SGD with D-Adaptation, Defazio & Mishchenko (2023), arXiv:2301.07733: d grows to the distance to the solution.

        g ← g + λ θ
        r ← r + η ⟨g, s⟩                    η = lr d / ‖g₀‖,  d₀ = d0
        s ← s + η g
        d ← max(d, 2 r / ‖s‖)
        θ ← μ θ + (1 - μ) (θ₀ - s)

    g₀ is the first gradient that is not 0, μ momentum, λ weight_decay; lr is to stay 1, and takes a schedule. In the
    authors' code weight decay is not part of ‖g₀‖.

    Example:

        optimizer: DAdaptSGD
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    finds_rate = True
    search_space: ClassVar = FREE_SPACE

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, start: Any, grad_sum: Any, d: Number, numerator: Number, first: Number, *,
               lr: NonNegative = 1.0, momentum: Decay = 0.9, d0: Positive = 1e-6,
               weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        g = g + weight_decay * p
        start[:] = where(t == 1, p, start)
        first[:] = where(first > 0, first, norm(where(lr > 0, 1.0, 0.0) * g, over="run"))
        distance = where(t == 1, d0, d)
        rate = where(first > 0, lr * distance / first, 0.0)
        numerator[:] = numerator + dot(rate * g, grad_sum, over="run")
        grad_sum[:] = grad_sum + rate * g
        length = norm(grad_sum, over="run")
        d[:] = where(length > 0, maximum(distance, 2 * numerator / length), distance)
        p -= (1 - momentum) * ((p - start) + grad_sum)


class DAdaptAdam(Optimizer):
    """AdamW with D-Adaptation, Defazio & Mishchenko (2023), arXiv:2301.07733.

        r ← √β₂ r + (1 - √β₂) η ⟨g, s / (√v + ε)⟩              η = lr d,  d₀ = d0
        m ← β₁ m + (1 - β₁) η g          v ← β₂ v + (1 - β₂) g²
        s ← √β₂ s + (1 - √β₂) η g
        d ← max(d, r / ((1 - √β₂) ‖s‖₁))
        θ ← (1 - η λ) θ - m / (√v + ε)

    λ weight_decay; lr is to stay 1, and takes a schedule. As in the authors' code the product ⟨g, s / (√v + ε)⟩ has the
    v before the step, and m and v have no bias correction; optax multiplies η by √(1 - β₂ᵗ) / (1 - β₁ᵗ). In the
    authors' code weight decay is within g unless told otherwise; that of early preprints estimates d otherwise.

    Example:

        optimizer: DAdaptAdam
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = BETAS
    finds_rate = True
    search_space: ClassVar = FREE_SPACE

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, grad_sum: Any, d: Number, numerator: Number,
               *, lr: NonNegative = 1.0, beta1: Decay = 0.9, beta2: Decay = 0.999, d0: Positive = 1e-6,
               eps: Positive = 1e-8, weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        distance, kept = where(t == 1, d0, d), sqrt(beta2)
        rate = lr * distance
        product = dot(rate * g, grad_sum / (sqrt(exp_avg_sq) + eps), over="run")
        numerator[:] = kept * numerator + (1 - kept) * product
        exp_avg[:] = beta1 * exp_avg + (1 - beta1) * rate * g
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (g * g)
        grad_sum[:] = kept * grad_sum + (1 - kept) * rate * g
        size = sum(abs(grad_sum), over="run")
        d[:] = where(size > 0, maximum(distance, numerator / ((1 - kept) * size)), distance)
        p *= 1 - rate * weight_decay
        p -= exp_avg / (sqrt(exp_avg_sq) + eps)


class Prodigy(Optimizer):
    """Prodigy, Algorithm 4 of Mishchenko & Defazio (2023), arXiv:2306.06101: AdamW whose rate grows faster than d.

        r ← √β₂ r + η d ⟨g, θ₀ - θ⟩                      η = lr d,  d₀ = d0
        s ← √β₂ s + η d g                                with safeguard_warmup d² for η d
        m ← β₁ m + (1 - β₁) d g          v ← β₂ v + (1 - β₂) d² g²
        θ ← (1 - η λ) θ - η m / (√v + d ε)
        d ← max(d, c r / ‖s‖₁)

    c d_coef, by which to tune it; λ weight_decay; lr is to stay 1, and takes a schedule. As in the authors' code r and
    s lack a factor 1 - √β₂ of the paper, which cancels. Their code and optax multiply ε by the new d, and optax η by
    √(1 - β₂ᵗ) / (1 - β₁ᵗ).

    Example:

        optimizer: Prodigy
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = {"d_coef": {"loguniform": [0.1, 10.0]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, start: Any, exp_avg: Any, exp_avg_sq: Any, grad_sum: Any, d: Number,
               numerator: Number, *, lr: NonNegative = 1.0, beta1: Decay = 0.9, beta2: Decay = 0.999,
               d0: Positive = 1e-6, d_coef: Positive = 1.0, eps: NonNegative = 1e-8, weight_decay: NonNegative = 0.0,
               safeguard_warmup: bool = False) -> None:  # fmt: skip
        start[:] = where(t == 1, p, start)
        distance, kept = where(t == 1, d0, d), sqrt(beta2)
        rate = lr * distance
        # Divided by d0, which cancels, so that no product is too small for the dtype.
        weight = distance / d0 * rate
        numerator[:] = kept * numerator + dot(weight * g, start - p, over="run")
        warm = where(lr > 0, distance / d0 * distance, 0.0)  # parameters that are not trained count nowhere
        grad_sum[:] = kept * grad_sum + (warm if safeguard_warmup else weight) * g
        size = sum(abs(grad_sum), over="run")
        exp_avg[:] = beta1 * exp_avg + (1 - beta1) * distance * g
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * distance * distance * (g * g)
        p *= 1 - rate * weight_decay
        p -= rate * exp_avg / (sqrt(exp_avg_sq) + distance * eps)
        d[:] = where(size > 0, maximum(distance, d_coef * numerator / size), distance)
