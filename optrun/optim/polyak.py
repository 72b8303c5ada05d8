"""Learning rates from the value of the loss, after Polyak."""

from typing import Any, ClassVar

from optrun.ops import debias, dot, lerp, maximum, minimum, sqrt, where
from optrun.optim.adam import BETAS
from optrun.optim.optimizer import Optimizer
from optrun.registry import Decay, NonNegative, Number, Positive


class PolyakSGD(Optimizer):
    """SGD with Polyak's step, SPS_max of Loizou et al. (2021), arXiv:2002.10542: as long as the loss is high.

        θ ← θ - min(lr, max(f - f*, 0) / (c ‖g‖²)) · g          no step where g is 0

    f is the loss of the batch, f* f_min, a lower bound of it, c scaling: 1 for convex problems, 1/2 for strongly convex
    ones, and 0.2 in the paper's experiments with networks. ‖g‖ is over all parameters of the run. In optax's sps a loss
    below f* is a step up, in its sps+ it is none; its scaling multiplies the step.

    Example:

        optimizer: PolyakSGD
    """

    search_space: ClassVar = {"lr": {"loguniform": [1e-2, 100.0]}, "scaling": {"loguniform": [0.1, 1.0]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, loss: Any, /, *, lr: NonNegative = 1.0, f_min: float = 0.0,
               scaling: Positive = 1.0) -> None:  # fmt: skip
        square = dot(g, g, over="run")
        p -= where(square == 0, 0.0, minimum(lr, maximum(loss - f_min, 0.0) / (scaling * square))) * g


class MoMo(Optimizer):
    """MoMo, Algorithm 1 of Schaipp et al. (2023), arXiv:2305.07583: momentum with Polyak's step, by a model of f.

        d ← β d + (1 - β) g        f̄ ← β f̄ + (1 - β) f        γ ← β γ + (1 - β) ⟨g, θ⟩        first step: g, f, ⟨g, θ⟩
        h = (1 + lr λ) (f̄ - f* - γ) + ⟨d, θ⟩
        θ ← (θ - min(lr, max(h, 0) / ‖d‖²) · d) / (1 + lr λ)          no step where d is 0

    f is the loss of the batch, f* lower_bound, β momentum, λ weight_decay. Sums are over all parameters of the run.
    optax does not divide the step by 1 + lr λ. With adapt_lower_bound f* is estimated, from lower_bound on and never
    below it, which is the paper's MoMo*.

    Example:

        optimizer: MoMo
    """

    search_space: ClassVar = {"lr": {"loguniform": [1e-2, 100.0]}, "momentum": {"uniform": [0.0, 0.99]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, loss: Any, /, exp_avg: Any, loss_avg: Number, dot_avg: Number, bound: Number, *,
               lr: NonNegative = 1.0, momentum: Decay = 0.9, lower_bound: float = 0.0,
               weight_decay: NonNegative = 0.0, adapt_lower_bound: bool = False) -> None:  # fmt: skip
        kept = where(t == 1, 0.0, momentum)
        exp_avg[:] = lerp(exp_avg, g, 1 - kept)
        loss_avg[:] = kept * loss_avg + (1 - kept) * loss
        dot_avg[:] = kept * dot_avg + (1 - kept) * dot(g, p, over="run")
        square, along, decay = (
            dot(exp_avg, exp_avg, over="run"),
            dot(exp_avg, p, over="run"),
            1 + lr * weight_decay,
        )
        model, low = decay * (loss_avg - dot_avg) + along, lower_bound
        if adapt_lower_bound:
            low = _lowered(where(t == 1, lower_bound, bound), model, decay, lower_bound)
        step = where(square == 0, 0.0, minimum(lr, maximum(model - decay * low, 0.0) / square))
        if adapt_lower_bound:
            bound[:] = maximum(loss_avg - dot_avg + along - step * square / 2, lower_bound)
        p -= step * exp_avg
        p /= decay


class MoMoAdam(Optimizer):
    """MoMo-Adam, Algorithm 2 of Schaipp et al. (2023), arXiv:2305.07583: Adam with Polyak's step, by a model of f.

        m ← β₁ m + (1 - β₁) g          f̄ ← β₁ f̄ + (1 - β₁) f          γ ← β₁ γ + (1 - β₁) ⟨g, θ⟩
        v ← β₂ v + (1 - β₂) g²         D = √(v / (1 - β₂ᵗ)) + ε          ρ = 1 - β₁ᵗ
        h = (1 + lr λ) (f̄ - ρ f* - γ) + ⟨m, θ⟩
        θ ← (θ - min(lr / ρ, max(h, 0) / ⟨m, m / D⟩) · m / D) / (1 + lr λ)          no step where m is 0

    f is the loss of the batch, f* lower_bound, λ weight_decay. Sums are over all parameters of the run. optax does not
    divide the step by 1 + lr λ. adapt_lower_bound is that of MoMo.

    Example:

        optimizer: {name: MoMoAdam, lr: 0.1}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = {
        "lr": {"loguniform": [1e-4, 1.0]},
        "beta1": {"uniform": [0.5, 0.99]},
        "beta2": {"uniform": [0.8, 0.999]},
    }

    @staticmethod
    def update(p: Any, g: Any, t: Any, loss: Any, /, exp_avg: Any, exp_avg_sq: Any, loss_avg: Number, dot_avg: Number,
               bound: Number, *, lr: NonNegative = 1e-2, beta1: Decay = 0.9, beta2: Decay = 0.999,
               eps: NonNegative = 1e-8, lower_bound: float = 0.0, weight_decay: NonNegative = 0.0,
               adapt_lower_bound: bool = False) -> None:  # fmt: skip
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (g * g)
        loss_avg[:] = beta1 * loss_avg + (1 - beta1) * loss
        dot_avg[:] = beta1 * dot_avg + (1 - beta1) * dot(g, p, over="run")
        moved = exp_avg / (sqrt(exp_avg_sq) / sqrt(debias(beta2, t)) + eps)
        square, along, decay = (
            dot(exp_avg, moved, over="run"),
            dot(exp_avg, p, over="run"),
            1 + lr * weight_decay,
        )
        model, low, part = decay * (loss_avg - dot_avg) + along, lower_bound, debias(beta1, t)
        if adapt_lower_bound:
            low = _lowered(where(t == 1, lower_bound, bound), model, decay * part, lower_bound)
        step = where(square == 0, 0.0, minimum(lr / part, maximum(model - decay * part * low, 0.0) / square))
        if adapt_lower_bound:
            bound[:] = maximum((loss_avg - dot_avg + along - step * square / 2) / part, lower_bound)
        p -= step * moved
        p /= decay


def _lowered(bound: Any, model: Any, part: Any, least: Any) -> Any:
    """Return a lower bound of the loss, halved where the model of the loss lies below it."""
    return where(model < part * bound, maximum(model / (2 * part), least), bound)
