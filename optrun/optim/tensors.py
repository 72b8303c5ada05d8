"""Per-tensor rules."""

from math import sqrt as root
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Le, Lt

from optrun.errors import ConfigError
from optrun.ops import lerp, maximum, mean, minimum, norm, sqrt, where
from optrun.optim.optimizer import Optimizer
from optrun.registry import NonNegative


class Adafactor(Optimizer):
    """Adafactor, Shazeer & Stern (2018), arXiv:1804.04235: row and column means replace a matrix's second moment.

        ρ = min(lr, 1/√t)              α = max(ε₂, rms(θ)) ρ
        θ ← (1 - lr λ) θ
        R ← R + t^κ (row means of g² - R)       C: column means       V = R C / max(mean R, ε₁)
        u = g / √max(V, ε₁²)           vectors store V itself
        θ ← θ - α / max(1, rms(u) / d) · u

    κ beta2_decay, λ weight_decay. If eps1 is null, ε₁ is the machine epsilon of the dtype. eps1 is the same in all
    lanes and cannot be scheduled.

    Example:

        optimizer: {name: Adafactor, lr: 0.1}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = {"eps": ("eps1", "eps2")}
    per_tensor = True
    search_space: ClassVar = {"lr": {"loguniform": [1e-4, 1.0]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, row_var: Any, col_var: Any, variance: Any, *, lr: NonNegative = 1e-2,
               beta2_decay: Annotated[float, Le(0)] = -0.8, eps1: NonNegative | None = None, eps2: NonNegative = 1e-3,
               d: Annotated[float, Ge(1)] = 1.0, weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        least = float(np.finfo(p.dtype).eps) if eps1 is None else eps1
        size = sqrt(mean(p * p))
        alpha = where(size > eps2, size, eps2) * minimum(lr, 1 / sqrt(t))
        p *= 1 - lr * weight_decay
        if p.ndim > 1:
            row_var[:] = lerp(row_var, mean(g * g, -1), t**beta2_decay)
            col_var[:] = lerp(col_var, mean(g * g, -2), t**beta2_decay)
            v = row_var * col_var / maximum(mean(row_var, -2), least)
        else:
            variance[:] = lerp(variance, g * g, t**beta2_decay)
            v = variance
        u = g / sqrt(maximum(v, least**2))
        # As in torch, a NaN element does not make the others NaN.
        excess = sqrt(mean(u * u)) / d
        p -= alpha / where(excess > 1, excess, 1.0) * u

    @classmethod
    def state_shapes(cls, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a tensor's moments; the last two axes are rows and columns."""
        if len(shape) < 2:
            return {"row_var": shape, "col_var": shape, "variance": shape}
        *stack, rows, columns = shape
        return {"row_var": (*stack, rows, 1), "col_var": (*stack, 1, columns), "variance": shape}


class Muon(Optimizer):
    """Muon, Jordan et al. (2024), kellerjordan.github.io/posts/muon: orthogonalized momentum, for matrices only.

        B ← μ B + (1 - μ) g            U = (1 - μ) g + μ B with nesterov, else B
        X = U / max(‖U‖, ε), then ns_steps times   X ← a X + (b X Xᵀ + c (X Xᵀ)²) X,  of Uᵀ if U is tall
        θ ← (1 - lr λ) θ - lr · s · X

    s = √max(1, fan_out / fan_in), or with spectral_unclamped √(fan_out / fan_in), Bernstein (2025),
    jeremybernste.in/writing/deriving-muon, or with match_rms_adamw 0.2 √max(fan_in, fan_out), Liu et al. (2025),
    arXiv:2502.16982; λ weight_decay, a b c ns_coefficients. fan_out is the number of rows, as in torch, except for the
    weights of optrun's networks, which are [in, out]. Products use the parameters' dtype, where torch uses bfloat16.

    Example:

        optimizer: {name: Muon, lr: 0.1, weight_decay: 0}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}

    Raises ConfigError for parameters that are not matrices.
    """

    tuples: ClassVar = {"ns_coefficients": ("ns_a", "ns_b", "ns_c")}
    per_tensor = True

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, momentum_buffer: Any, *, lr: NonNegative = 1e-3,
               weight_decay: NonNegative = 0.1, momentum: NonNegative = 0.95, nesterov: bool = True,
               ns_a: float = 3.4445, ns_b: float = -4.775, ns_c: float = 2.0315, eps: NonNegative = 1e-7,
               ns_steps: Annotated[int, Ge(0), Lt(100)] = 5,
               adjust_lr_fn: Literal["original", "match_rms_adamw", "spectral_unclamped"] | None = None
               ) -> None:  # fmt: skip
        momentum_buffer[:] = lerp(momentum_buffer, g, 1 - momentum)
        direction = lerp(g, momentum_buffer, momentum) if nesterov else momentum_buffer
        rows, columns = p.shape
        x = direction.mT if rows > columns else direction
        x = x / maximum(norm(x), eps)
        for _ in range(ns_steps):
            gram = x @ x.mT
            x = ns_a * x + (ns_b * gram + ns_c * (gram @ gram)) @ x
        x = x.mT if rows > columns else x
        fan_in, fan_out = p.fans
        least = 0 if adjust_lr_fn == "spectral_unclamped" else 1
        matches_adamw = adjust_lr_fn == "match_rms_adamw"
        ratio = 0.2 * root(max(p.fans)) if matches_adamw else root(max(least, fan_out / max(1, fan_in)))
        p *= 1 - lr * weight_decay
        p -= lr * ratio * x

    @classmethod
    def validate_parameter(cls, name: str, shape: tuple[int, ...]) -> None:
        """Raise ConfigError for a parameter that is not a matrix."""
        if len(shape) != 2:
            raise ConfigError(
                f"Muon: {name} is no matrix (its shape is {shape}): Muon takes matrices only, so a network "
                "needs bias: false",
                field="params",
            )
