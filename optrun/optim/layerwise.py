"""Steps of each tensor that are measured against the tensor's own norms."""

from typing import Any, ClassVar

from optrun.ops import debias, dot, lerp, mean, minimum, norm, sqrt, where
from optrun.optim.adam import BETAS, MOMENTS_SPACE
from optrun.optim.optimizer import Optimizer
from optrun.registry import Decay, NonNegative, Number


class LARS(Optimizer):
    """LARS, Algorithm 1 of You et al. (2017), arXiv:1708.03888: a learning rate for each tensor.

        r = η ‖θ‖ / (‖g‖ + λ ‖θ‖)           norms of each tensor; r = 1 where θ or g is 0
        b ← μ b + lr · r · (g + λ θ)
        θ ← θ - b

    η trust_coefficient, λ weight_decay, μ momentum. optax divides by ‖g + λ θ‖, which is less. timm multiplies by lr
    after the momentum, which differs where lr changes, and has r = 1 without weight decay unless told otherwise.

    Example:

        optimizer: {name: LARS, lr: 10, momentum: 0.5}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    search_space: ClassVar = {"lr": {"loguniform": [1e-2, 100.0]}, "momentum": {"uniform": [0.0, 0.99]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, momentum_buffer: Any, *, lr: NonNegative = 1.0, momentum: Decay = 0.9,
               weight_decay: NonNegative = 0.0, trust_coefficient: NonNegative = 1e-3) -> None:  # fmt: skip
        size, slope = norm(p, over="tensor"), norm(g, over="tensor")
        ratio = trust_coefficient * size / (slope + weight_decay * size)
        rate = lr * where(minimum(size, slope) > 0, ratio, 1.0)
        momentum_buffer[:] = momentum * momentum_buffer + rate * (g + weight_decay * p)
        p -= momentum_buffer


class LAMB(Optimizer):
    """LAMB, Algorithm 2 of You et al. (2020), arXiv:1904.00962: Adam's update, scaled to the norm of each tensor.

        m ← β₁ m + (1 - β₁) g          m̂ = m / (1 - β₁ᵗ)
        v ← β₂ v + (1 - β₂) g²         v̂ = v / (1 - β₂ᵗ)
        u = m̂ / (√v̂ + ε) + λ θ
        θ ← θ - lr · ‖θ‖ / ‖u‖ · u          norms of each tensor; their ratio is 1 where one is 0

    λ weight_decay. The paper's φ is the identity here. timm clips the gradient of the run to norm 1 first, unless told
    otherwise. Without weight decay it is Adam with the transform TrustRatio.

    Example:

        optimizer: {name: LAMB, lr: 0.03}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = MOMENTS_SPACE

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, *, lr: NonNegative = 1e-3,
               beta1: Decay = 0.9, beta2: Decay = 0.999, eps: NonNegative = 1e-6,
               weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        exp_avg_sq[:] = beta2 * exp_avg_sq + (1 - beta2) * (g * g)
        adam = 1 / debias(beta1, t) * exp_avg / (sqrt(exp_avg_sq) / sqrt(debias(beta2, t)) + eps)
        u = adam + weight_decay * p
        size, step = norm(p, over="tensor"), norm(u, over="tensor")
        p -= lr * where(minimum(size, step) > 0, size / step, 1.0) * u


class NovoGrad(Optimizer):
    """NovoGrad, Algorithm 1 of Ginsburg et al. (2019), arXiv:1905.11286: one second moment for each tensor.

        v ← β₂ v + (1 - β₂) ‖g‖²            first step: v = ‖g‖², of each tensor
        m ← β₁ m + g / (√v + ε) + λ θ
        θ ← θ - lr · m

    λ weight_decay. m is a sum, so lr is 1 - β₁ times what it is for Adam. The paper has no ε in the first step.
    Defaults are those of NVIDIA's code; optax's are β₁ = 0.9 and β₂ = 0.25.

    Example:

        optimizer: {name: NovoGrad, lr: 0.1}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = BETAS
    search_space: ClassVar = {
        "lr": {"loguniform": [1e-4, 1.0]},
        "beta1": {"uniform": [0.8, 0.99]},
        "beta2": {"uniform": [0.2, 0.999]},
    }

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Number, *, lr: NonNegative = 1e-3,
               beta1: Decay = 0.95, beta2: Decay = 0.98, eps: NonNegative = 1e-8,
               weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        square = dot(g, g, over="tensor")
        exp_avg_sq[:] = where(t == 1, square, beta2 * exp_avg_sq + (1 - beta2) * square)
        exp_avg[:] = beta1 * exp_avg + (1 / (sqrt(exp_avg_sq) + eps) * g + weight_decay * p)
        p -= lr * exp_avg


class AdamMini(Optimizer):
    """Adam-mini, Zhang et al. (2024), arXiv:2406.16793: Adam with one second moment for each neuron.

        m ← β₁ m + (1 - β₁) g               m̂ = m / (1 - β₁ᵗ)
        v ← β₂ v + (1 - β₂) mean(g²)        v̂ = v / (1 - β₂ᵗ)
        θ ← (1 - lr λ) θ - lr · m̂ / (√v̂ + ε)

    λ weight_decay. The mean is over the weights into a neuron, and over all of a tensor of three or more axes; a
    vector or a number, such as a bias, has a v for each element, as in the authors' code, which also has a v for each
    head of attention.

    Example:

        optimizer: {name: AdamMini, lr: 0.05}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    per_tensor = True
    tuples: ClassVar = BETAS
    search_space: ClassVar = MOMENTS_SPACE

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, row_var: Any, col_var: Any, variance: Any, *,
               lr: NonNegative = 1e-3, beta1: Decay = 0.9, beta2: Decay = 0.999, eps: NonNegative = 1e-8,
               weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        square, v = g * g, variance
        if p.ndim == 2:
            square, v = mean(square, p.fan_in_axis), row_var if p.fan_in_axis == -1 else col_var
        elif p.ndim > 2:
            square = mean(square)
        exp_avg[:] = lerp(exp_avg, g, 1 - beta1)
        v[:] = beta2 * v + (1 - beta2) * square
        p *= 1 - lr * weight_decay
        p -= lr / debias(beta1, t) * exp_avg / (sqrt(v) / sqrt(debias(beta2, t)) + eps)

    @classmethod
    def state_shapes(cls, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a tensor's moments."""
        rows, columns = shape if len(shape) == 2 else (1, 1)
        variance = (1,) * len(shape) if len(shape) > 2 else shape
        return {"exp_avg": shape, "row_var": (rows, 1), "col_var": (1, columns), "variance": variance}
