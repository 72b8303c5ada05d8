"""Rules with a preconditioner for each side of a matrix, of which they need roots or eigenvectors."""

import math
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le

from optrun.ops import debias, eigh, inverse_root, lerp, qr, sorting, sqrt, total, where
from optrun.optim.adam import BETAS
from optrun.optim.optimizer import Optimizer
from optrun.registry import Decay, NonNegative, PositiveInt


class Shampoo(Optimizer):
    """Shampoo, Algorithm 1 of Gupta, Koren & Singer (2018), arXiv:1802.09568: a root of a matrix for either side.

        L ← β₂ L + w G Gᵀ              R ← β₂ R + w Gᵀ G          w = 1 with β₂ = 1, else 1 - β₂
        B ← μ B + (1 - μ) G
        θ ← (1 - lr λ) θ - lr · (L + ε)^(-1/4) B (R + ε)^(-1/4)

    A vector has L alone, to the power -1/2; a tensor of more axes is flattened to [out, …]. With squared the powers are
    twice as large, Morwani et al. (2024), arXiv:2406.17748. The roots are those of the eigenvalues, and computed every
    update_every steps; ε is absolute, and loses its sense where gradients are so large that rounding moves the
    eigenvalues by more. μ momentum, λ weight_decay. Momentum is that of the authors' code; pytorch_optimizer mixes
    gradients with preconditioned ones. Memory and time are those of n × n matrices for a side, or a vector, of n.

    Example:

        optimizer: {name: Shampoo, lr: 1.0}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    per_tensor = True
    search_space: ClassVar = {"lr": {"loguniform": [1e-3, 10.0]}, "eps": {"loguniform": [1e-8, 1e-2]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, momentum_buffer: Any, left: Any, right: Any, left_root: Any, right_root: Any,
               *, lr: NonNegative = 0.1, momentum: Decay = 0.0, beta2: Annotated[float, Ge(0), Le(1)] = 1.0,
               eps: NonNegative = 1e-4, weight_decay: NonNegative = 0.0, squared: bool = False,
               update_every: PositiveInt = 1) -> None:  # fmt: skip
        momentum_buffer[:] = lerp(momentum_buffer, g, 1 - momentum)
        slope, x = (each.reshape(*matrix_shape(p.shape)) for each in (g, momentum_buffer))
        weight = where(beta2 == 1, 1.0, 1 - beta2)
        order = (4 if p.ndim > 1 else 2) // (2 if squared else 1)
        is_due = (t - 1) % update_every == 0
        left[:] = beta2 * left + weight * (slope @ slope.mT)
        left_root[:] = where(is_due, inverse_root(left, order, eps), left_root)
        x = left_root @ x
        if p.ndim > 1:
            right[:] = beta2 * right + weight * (slope.mT @ slope)
            right_root[:] = where(is_due, inverse_root(right, order, eps), right_root)
            x = x @ right_root
        p *= 1 - lr * weight_decay
        p -= lr * x.reshape(*p.shape)

    @classmethod
    def state_shapes(cls, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the states: a square matrix for each side."""
        rows, columns = matrix_shape(shape)
        left, right = (rows, rows), (columns, columns)
        return {
            "momentum_buffer": shape,
            "left": left,
            "right": right,
            "left_root": left,
            "right_root": right,
        }


class SOAP(Optimizer):
    """SOAP, Algorithm 3 of Vyas et al. (2024), arXiv:2409.11321: Adam in the eigenvectors of Shampoo's matrices.

        M ← β₁ M + (1 - β₁) G          G′ = Qₗᵀ G Qᵣ,  M′ = Qₗᵀ M Qᵣ
        V ← β₂ V + (1 - β₂) G′²
        θ ← (1 - lr λ) θ - lr √(1 - β₂ᵗ) / (1 - β₁ᵗ) · Qₗ (M′ / (√V + ε)) Qᵣᵀ
        L ← β₃ L + (1 - β₃) G Gᵀ       R ← β₃ R + (1 - β₃) Gᵀ G
        every update_every steps       Qₗ ← Q of the QR decomposition of L Qₗ,  Qᵣ likewise

    β₃ shampoo_beta, λ weight_decay. As in the authors' code, the first gradient makes L, R and their eigenvectors only,
    and t counts from the second; a vector has Adam's rule; before a QR decomposition the columns of Q, and V with them,
    are put in the order of falling qᵀ L q. The code decays weights after the update, this rule before. A tensor of more
    axes is flattened to [out, …]; the code has a matrix for each axis. The first gradient of a wide or tall matrix has
    a low rank: of its eigenvectors some are LAPACK's choice, and implementations go different ways.

    Example:

        optimizer: {name: SOAP, lr: 0.1, weight_decay: 0}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    tuples: ClassVar = BETAS
    per_tensor = True
    search_space: ClassVar = {"lr": {"loguniform": [1e-4, 1.0]}, "beta2": {"uniform": [0.8, 0.999]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, exp_avg_sq: Any, left: Any, right: Any, left_vectors: Any,
               right_vectors: Any, *, lr: NonNegative = 3e-3, beta1: Decay = 0.95, beta2: Decay = 0.95,
               shampoo_beta: Decay = 0.95, eps: NonNegative = 1e-8, weight_decay: NonNegative = 0.01,
               update_every: PositiveInt = 10) -> None:  # fmt: skip
        seen_before = where(t == 1, 0.0, 1.0)
        is_matrix, shape = p.ndim > 1, matrix_shape(p.shape)
        slope, vectors = (g.reshape(*shape), (left_vectors, right_vectors)) if is_matrix else (g, ())
        exp_avg[:] = lerp(exp_avg, g, seen_before * (1 - beta1))
        variance = lerp(exp_avg_sq, _within(slope, *vectors) ** 2, seen_before * (1 - beta2))
        average = exp_avg.reshape(*shape) if is_matrix else exp_avg
        step = _within(average, *vectors) / (sqrt(variance) + eps)
        if is_matrix:
            step = (left_vectors @ step @ right_vectors.mT).reshape(*p.shape)
            left[:] = lerp(left, slope @ slope.mT, 1 - shampoo_beta)
            right[:] = lerp(right, slope.mT @ slope, 1 - shampoo_beta)
            is_due = ((t - 1) % update_every == 0) & (t > 1)
            orders = [
                _turn(each, basis, t, is_due)
                for each, basis in ((left, left_vectors), (right, right_vectors))
            ]
            variance = where(is_due, orders[0].mT @ variance @ orders[1], variance)
        exp_avg_sq[:] = variance
        rate = lr * sqrt(debias(beta2, t - 1)) / debias(beta1, t - 1)
        p *= 1 - seen_before * lr * weight_decay
        p -= where(t == 1, 0.0, rate) * step

    @classmethod
    def state_shapes(cls, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the states: two square matrices for each side."""
        rows, columns = matrix_shape(shape)
        left, right = (rows, rows), (columns, columns)
        return {
            "exp_avg": shape,
            "exp_avg_sq": (rows, columns) if len(shape) > 1 else shape,
            "left": left,
            "right": right,
            "left_vectors": left,
            "right_vectors": right,
        }


def _within(x: Any, *vectors: Any) -> Any:
    """Return a matrix in terms of the vectors of either side; x itself without vectors."""
    return vectors[0].mT @ x @ vectors[1] if vectors else x


def _turn(matrix: Any, basis: Any, t: Any, is_due: Any) -> Any:
    """Bring a basis nearer to a matrix's eigenvectors where it is due; return the order in which they then are."""
    values, vectors = eigh(matrix)
    product = matrix @ basis
    order = sorting(total(basis * product, -2))
    basis[:] = where(t == 1, vectors @ sorting(values), where(is_due, qr(product @ order), basis))
    return order


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the shape of a tensor flattened to `[out, …]`; a vector is a column."""
    return (shape[0] if shape else 1), math.prod(shape[1:])
