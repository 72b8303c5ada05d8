"""Steps from two gradients in a row: spectral steps, and learning rates that descend the loss themselves."""

from typing import Any, ClassVar, Literal

from optrun.ops import debias, dot, lerp, sqrt, where
from optrun.optim.adam import BETAS
from optrun.optim.optimizer import Optimizer
from optrun.registry import Decay, NonNegative, Number


class BarzilaiBorwein(Optimizer):
    """Gradient descent with the steps of Barzilai & Borwein (1988), IMA J. Numer. Anal. 8: two-point approximations.

        s = θ - (θ before)          y = g - (g before)
        α = ⟨s, s⟩ / ⟨s, y⟩         variant: short has ⟨s, y⟩ / ⟨y, y⟩
        θ ← θ - α g                 α = lr in the first step, and where ⟨s, y⟩ ≤ 0

    Sums are over all parameters of the run. For quadratics α is the inverse of a Rayleigh quotient of the Hessian: the
    long one is the step that a line search would have made from the point before. The loss is not monotonous. Where the
    curvature ⟨s, y⟩ is not positive, implementations differ: others keep the step before, or bound it.

    Example:

        optimizer: {name: BarzilaiBorwein, lr: 1e-3}
    """

    search_space: ClassVar = {"lr": {"loguniform": [1e-6, 1.0]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, prev: Any, prev_grad: Any, *, lr: NonNegative = 1e-3,
               variant: Literal["long", "short"] = "long") -> None:  # fmt: skip
        moved, change = where(t == 1, 0.0, p - prev), where(t == 1, 0.0, g - prev_grad)
        curvature = dot(moved, change, over="run")
        long = variant == "long"
        square = dot(moved, moved, over="run") if long else dot(change, change, over="run")
        prev[:] = p
        prev_grad[:] = g
        p -= where(curvature > 0, square / curvature if long else curvature / square, lr) * g


class SGDHD(Optimizer):
    """SGD with hypergradient descent, Algorithm 4 of Baydin et al. (2018), arXiv:1703.04782: it learns its rate.

        α ← α + β ⟨g, the gradient before⟩          α₀ = lr
        θ ← θ - α g

    β hypergrad_lr. lr is only the initial α, so scheduling it has no effect. The product is over all parameters of the
    run. α may become negative, in the paper too.

    Example:

        optimizer: {name: SGDHD, lr: 2e-3, hypergrad_lr: 1e-8}
    """

    search_space: ClassVar = {"lr": {"loguniform": [1e-4, 1.0]}, "hypergrad_lr": {"loguniform": [1e-8, 1e-1]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, prev_grad: Any, rate: Number, *, lr: NonNegative = 1e-3,
               hypergrad_lr: NonNegative = 1e-6) -> None:  # fmt: skip
        rate[:] = where(t == 1, lr, rate + hypergrad_lr * dot(g, prev_grad, over="run"))
        prev_grad[:] = g
        p -= rate * g


class AdamHD(Optimizer):
    """Adam with hypergradient descent, Algorithm 6 of Baydin et al. (2018), arXiv:1703.04782: it learns its rate.

        α ← α + β ⟨g, u⟩                 u of the step before, α₀ = lr
        m ← β₁ m + (1 - β₁) g            m̂ = m / (1 - β₁ᵗ)
        v ← β₂ v + (1 - β₂) g²           v̂ = v / (1 - β₂ᵗ)
        u = m̂ / (√v̂ + ε)
        θ ← θ - α u

    β hypergrad_lr. lr is only the initial α, so scheduling it has no effect. The product is over all parameters of the
    run. The authors' code adds ε to √v before its bias correction, and changes α between the tensors of a step.

    Example:

        optimizer: {name: AdamHD, lr: 0.01, hypergrad_lr: 1e-5}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = {
        "lr": {"loguniform": [1e-5, 1e-1]},
        "hypergrad_lr": {"loguniform": [1e-10, 1e-4]},
    }

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, prev: Any, rate: Number, *,
               lr: NonNegative = 1e-3, hypergrad_lr: NonNegative = 1e-8, beta1: Decay = 0.9, beta2: Decay = 0.999,
               eps: NonNegative = 1e-8) -> None:  # fmt: skip
        rate[:] = where(t == 1, lr, rate + hypergrad_lr * dot(g, prev, over="run"))
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (g * g)
        prev[:] = 1 / debias(beta1, t) * exp_avg / (sqrt(exp_avg_sq) / sqrt(debias(beta2, t)) + eps)
        p -= rate * prev
