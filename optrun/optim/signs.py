"""Steps of one size, in the direction of a sign."""

from typing import Any, ClassVar

from optrun.ops import lerp, sign
from optrun.optim.adam import BETAS
from optrun.optim.optimizer import Optimizer
from optrun.registry import Decay, NonNegative


class SignSGD(Optimizer):
    """Sign descent, Algorithm 1 of Bernstein et al. (2018), arXiv:1802.04434.

        θ ← (1 - lr λ) θ - lr · sign(g)

    λ weight_decay, decoupled; libraries that add λ θ to g, within the sign, do something else.

    Example:

        optimizer: {name: SignSGD, lr: 2e-3}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    search_space: ClassVar = {"lr": {"loguniform": [1e-5, 1e-1]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, *, lr: NonNegative = 1e-3, weight_decay: NonNegative = 0.0) -> None:
        p *= 1 - lr * weight_decay
        p -= lr * sign(g)


class Signum(Optimizer):
    """Sign descent with momentum, Algorithm 2 of Bernstein et al. (2018), arXiv:1802.04434.

        m ← β m + (1 - β) g
        θ ← (1 - lr λ) θ - lr · sign(m)

    β momentum, λ weight_decay, decoupled; libraries that add λ θ to g, within the sign, do something else.

    Example:

        optimizer: {name: Signum, lr: 0.01}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    search_space: ClassVar = {"lr": {"loguniform": [1e-5, 1e-1]}, "momentum": {"uniform": [0.0, 0.99]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, momentum_buffer: Any, *, lr: NonNegative = 1e-3, momentum: Decay = 0.9,
               weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        momentum_buffer[:] = lerp(momentum_buffer, g, 1 - momentum)
        p *= 1 - lr * weight_decay
        p -= lr * sign(momentum_buffer)


class Lion(Optimizer):
    """Lion, Algorithm 2 of Chen et al. (2023), arXiv:2302.06675: the sign of a momentum with two weights of g.

        u = sign(β₁ m + (1 - β₁) g)
        θ ← (1 - lr λ) θ - lr · u
        m ← β₂ m + (1 - β₂) g

    λ weight_decay. The paper takes a third to a tenth of AdamW's lr, and as many times its λ. Its code has λ = 0 unless
    told otherwise, optax 0.001.

    Example:

        optimizer: {name: Lion, lr: 0.01}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = {
        "lr": {"loguniform": [1e-5, 1e-1]},
        "beta1": {"uniform": [0.5, 0.99]},
        "beta2": {"uniform": [0.8, 0.999]},
    }

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, *, lr: NonNegative = 1e-4, beta1: Decay = 0.9,
               beta2: Decay = 0.99, weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        p *= 1 - lr * weight_decay
        p -= lr * sign(lerp(exp_avg, g, 1 - beta1))
        exp_avg[:] = lerp(exp_avg, g, 1 - beta2)
