"""Second moments of matrices from numbers for each row and column, in the manner of Adafactor."""

from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from optrun.ops import amax, lerp, maximum, mean, minimum, sqrt, where
from optrun.optim.mixes import THREE_BETAS
from optrun.optim.optimizer import Optimizer
from optrun.registry import Decay, NonNegative


class SM3(Optimizer):
    """SM3, algorithm SM3-II of Anil et al. (2019), arXiv:1901.11150: Adagrad whose sums are bounded by row and column.

        V = min(R, C) + g²          R one number for each row, C for each column, 0 at first
        R ← row maxima of V         C ← column maxima of V
        m ← μ m + (1 - μ) g / √V    g / √V = 0 where V is 0
        θ ← θ - lr · m

    μ momentum. Vectors store V itself, so SM3 is Adagrad for them. Of tensors with more axes the last two are rows and
    columns; the authors' code and optax have numbers for each axis instead. optax adds 10⁻⁸ to V within the root.

    Example:

        optimizer: {name: SM3, lr: 1.0}
    """

    per_tensor = True
    search_space: ClassVar = {"lr": {"loguniform": [1e-4, 1.0]}, "momentum": {"uniform": [0.0, 0.99]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, momentum_buffer: Any, row_max: Any, col_max: Any, sum: Any, *,
               lr: NonNegative = 0.1, momentum: Decay = 0.9) -> None:  # fmt: skip
        if p.ndim > 1:
            v = minimum(row_max, col_max) + g * g
            row_max[:], col_max[:] = amax(v, -1), amax(v, -2)
        else:
            sum[:] = v = sum + g * g
        momentum_buffer[:] = lerp(momentum_buffer, g / sqrt(where(v == 0, 1.0, v)), 1 - momentum)
        p -= lr * momentum_buffer

    @classmethod
    def state_shapes(cls, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a tensor's states; the last two axes are rows and columns."""
        row, column = of_rows_and_columns(shape)
        return {"momentum_buffer": shape, "row_max": row, "col_max": column, "sum": shape}


class CAME(Optimizer):
    """CAME, Algorithm 2 of Luo et al. (2023), arXiv:2307.02047: Adafactor that trusts a steady update more.

        R ← β₂ R + (1 - β₂) (row means of g² + ε₁)           C: column means
        u = g / √V,  V = R C / mean R                        vectors store V itself
        u ← u / max(1, rms(u) / d)
        m ← β₁ m + (1 - β₁) u
        r ← β₃ r + (1 - β₃) (row means of (u - m)² + ε₂)     c: column means      S = r c / mean r
        θ ← (1 - lr λ) θ - lr · m / √S                       vectors: S = 1

    λ weight_decay, d clip_threshold. As in the authors' code vectors have no S, which the paper does not tell.

    Example:

        optimizer: {name: CAME, lr: 0.02, beta3: 0.999}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    per_tensor = True
    tuples: ClassVar = {**THREE_BETAS, "eps": ("eps1", "eps2")}
    search_space: ClassVar = {
        "lr": {"loguniform": [1e-5, 1e-1]},
        "beta1": {"uniform": [0.5, 0.99]},
        "beta2": {"uniform": [0.9, 0.9999]},
        "beta3": {"uniform": [0.99, 0.9999]},
    }

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, row_var: Any, col_var: Any, variance: Any, row_res: Any,
               col_res: Any, *, lr: NonNegative = 2e-4, beta1: Decay = 0.9, beta2: Decay = 0.999,
               beta3: Decay = 0.9999, eps1: NonNegative = 1e-30, eps2: NonNegative = 1e-16,
               clip_threshold: Annotated[float, Ge(1)] = 1.0, weight_decay: NonNegative = 0.0) -> None:  # fmt: skip
        square = g * g + eps1
        if p.ndim > 1:
            row_var[:] = lerp(row_var, mean(square, -1), 1 - beta2)
            col_var[:] = lerp(col_var, mean(square, -2), 1 - beta2)
            u = _over_root(g, row_var, col_var)
        else:
            variance[:] = lerp(variance, square, 1 - beta2)
            u = g / sqrt(variance)
        u = u / maximum(sqrt(mean(u * u)) / clip_threshold, 1.0)
        exp_avg[:] = lerp(exp_avg, u, 1 - beta1)
        moved = exp_avg
        if p.ndim > 1:
            residual = (u - exp_avg) * (u - exp_avg) + eps2
            row_res[:] = lerp(row_res, mean(residual, -1), 1 - beta3)
            col_res[:] = lerp(col_res, mean(residual, -2), 1 - beta3)
            moved = _over_root(exp_avg, row_res, col_res)
        p *= 1 - lr * weight_decay
        p -= lr * moved

    @classmethod
    def state_shapes(cls, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a tensor's moments; the last two axes are rows and columns."""
        row, column = of_rows_and_columns(shape)
        whole = dict.fromkeys(("exp_avg", "variance"), shape)
        return {**whole, "row_var": row, "col_var": column, "row_res": row, "col_res": column}


def of_rows_and_columns(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of a number for each row, and for each column."""
    if len(shape) < 2:
        return shape, shape
    *stack, rows, columns = shape
    return (*stack, rows, 1), (*stack, 1, columns)


def _over_root(x: Any, row: Any, column: Any) -> Any:
    """Return x / √(row · column / mean row), in which no product is too small for the dtype."""
    return x / sqrt(row / mean(row, -2)) / sqrt(column)
