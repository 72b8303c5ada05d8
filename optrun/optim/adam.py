"""Adam and its decoupled form."""

from typing import Any, ClassVar

from optrun.optim.ops import debias, lerp, maximum, sqrt
from optrun.optim.optimizer import Optimizer
from optrun.registry import Decay, NonNegative


class Adam(Optimizer):
    """Adam, Algorithm 1 of Kingma & Ba (2015), arXiv:1412.6980; amsgrad of Reddi et al. (2018), arXiv:1904.09237.

        g ← g + λ θ                    decoupled: θ ← (1 - lr λ) θ
        m ← β₁ m + (1 - β₁) g          m̂ = m / (1 - β₁ᵗ)
        v ← β₂ v + (1 - β₂) g²         v̂ = v / (1 - β₂ᵗ)      amsgrad: v̂ = max of all v / (1 - β₂ᵗ)
        θ ← θ - lr · m̂ / (√v̂ + ε)

    λ weight_decay.
    """

    tuples: ClassVar = {"betas": ("beta1", "beta2")}

    @staticmethod
    def update(
        p: Any,
        g: Any,
        t: Any,
        /,
        exp_avg: Any,
        exp_avg_sq: Any,
        max_exp_avg_sq: Any,
        *,
        lr: NonNegative = 1e-3,
        beta1: Decay = 0.9,
        beta2: Decay = 0.999,
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.0,
        amsgrad: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if decoupled_weight_decay:
            p *= 1 - lr * weight_decay
        else:
            g = g + weight_decay * p
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (g * g)
        max_exp_avg_sq[:] = maximum(max_exp_avg_sq, exp_avg_sq)
        v = max_exp_avg_sq if amsgrad else exp_avg_sq
        p -= lr / debias(beta1, t) * exp_avg / (sqrt(v) / sqrt(debias(beta2, t)) + eps)


class AdamW(Optimizer):
    """AdamW, Algorithm 2 of Loshchilov & Hutter (2019), arXiv:1711.05101: Adam with decoupled weight decay.

    θ ← (1 - lr λ) θ, then Adam's step;  λ weight_decay
    """

    tuples: ClassVar = Adam.tuples

    @staticmethod
    def update(
        p: Any,
        g: Any,
        t: Any,
        /,
        exp_avg: Any,
        exp_avg_sq: Any,
        max_exp_avg_sq: Any,
        *,
        lr: NonNegative = 1e-3,
        beta1: Decay = 0.9,
        beta2: Decay = 0.999,
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        p *= 1 - lr * weight_decay
        Adam.update(
            p,
            g,
            t,
            exp_avg,
            exp_avg_sq,
            max_exp_avg_sq,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            amsgrad=amsgrad,
        )
