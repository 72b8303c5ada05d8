"""Per-tensor rules."""

from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Le

from optrun.ops import lerp, maximum, mean, minimum, sqrt, where
from optrun.optim.factored import of_rows_and_columns
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
        row, column = of_rows_and_columns(shape)
        return {"row_var": row, "col_var": column, "variance": shape}
