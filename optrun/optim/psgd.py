"""Preconditioned stochastic gradient descent."""

from math import sqrt as root
from typing import Any, ClassVar

import numpy as np

from optrun.kernels.symbols import rows_of
from optrun.ops import (
    abs,
    amax,
    debias,
    identity,
    lerp,
    maximum,
    mean,
    minimum,
    norm,
    solve,
    sorting,
    sqrt,
    total,
    triu,
    where,
)
from optrun.optim.optimizer import Optimizer
from optrun.optim.shampoo import matrix_shape
from optrun.registry import Decay, NonNegative, Positive, PositiveInt

SINGLE = float(np.finfo(np.float32).eps)


class Kron(Optimizer):
    """PSGD Kron, Li (2018), arXiv:1512.04202, with gradient whitening: triangular factors for both sides of a matrix.

        m ← β m + (1 - β) G            M = m / (1 - βᵗ)
        N = M + √ε |M|‾ V,  V normal   A = Qₗ N Qᵣᵀ,  B = Qₗ⁻ᵀ V Qᵣ⁻¹
        Qₗ ← Qₗ - μ triu(A Aᵀ - B Bᵀ) / ‖A Aᵀ + B Bᵀ‖ Qₗ          Qᵣ with Aᵀ A and Bᵀ B
        θ ← (1 - lr λ) θ - lr · clip(Qₗᵀ Qₗ M Qᵣᵀ Qᵣ)

    clip scales to a root mean square of at most 1.1. ‖S‖ is a lower bound of the spectral norm, ‖S S a‖ / ‖S a‖ for the
    longest column a. A vector has a diagonal Q. β momentum, μ precond_lr, λ weight_decay; N is of the gradient where
    momentum_in_precond is false. Q begins as precond_init_scale times the identity; it is updated every update_every
    steps, and at every hundredth update balanced, so that both sides have the same largest element. V depends on the
    seed and the step.

    kron_torch updates Q with a probability that falls from 1 to 0.03, and balances at random; it preconditions N in
    place of M, since its function changes M in place, and does not decay vectors. A tensor of more axes is flattened
    to [out, …]; kron_torch flattens it so that it is less wide.

    Example:

        optimizer: {name: Kron, lr: 0.05}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    per_tensor = True
    needs_noise = True
    search_space: ClassVar = {"lr": {"loguniform": [1e-5, 1e-1]}, "precond_lr": {"loguniform": [1e-2, 1.0]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, v: Any, /, momentum_buffer: Any, left: Any, right: Any, diagonal: Any, *,
               lr: NonNegative = 3e-4, momentum: Decay = 0.9, precond_lr: NonNegative = 0.1,
               precond_init_scale: Positive = 1.0, weight_decay: NonNegative = 0.0, momentum_in_precond: bool = True,
               update_every: PositiveInt = 1) -> None:  # fmt: skip
        momentum_buffer[:] = lerp(momentum_buffer, g, 1 - momentum)
        average = momentum_buffer / debias(momentum, t)
        seen = average if momentum_in_precond else g
        seen = seen + root(SINGLE) * mean(abs(seen)) * v
        is_due, least = (t - 1) % update_every == 0, float(np.finfo(p.dtype).tiny)
        if p.ndim < 2:
            q = where(t == 1, precond_init_scale, diagonal)
            a, b = (q * seen) ** 2, (v / q) ** 2
            diagonal[:] = where(is_due, q - precond_lr * (a - b) * q / maximum(amax(a + b), least), q)
            step = diagonal * diagonal * average
        else:
            average, seen, v = (each.reshape(*matrix_shape(p.shape)) for each in (average, seen, v))
            ql, qr = (
                where(t == 1, sqrt(precond_init_scale) * identity(each), each) for each in (left, right)
            )
            ratio = sqrt(amax(abs(qr)) / amax(abs(ql)))
            is_turn = ((t - 1) % (BALANCE_EVERY * update_every) == 0) & (t > 1)
            ql, qr = where(is_turn, ql * ratio, ql), where(is_turn, qr / ratio, qr)
            a, b = ql @ seen @ qr.mT, solve(qr.mT, solve(ql.mT, v).mT).mT
            left[:] = where(is_due, _fitted(ql, a, b, precond_lr, least), ql)
            right[:] = where(is_due, _fitted(qr, a.mT, b.mT, precond_lr, least), qr)
            step = (left.mT @ left @ average @ right.mT @ right).reshape(*p.shape)
        p *= 1 - lr * weight_decay
        p -= lr * minimum(1.0, 1.1 / (sqrt(mean(step * step)) + 1e-12)) * step

    @classmethod
    def state_shapes(cls, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the states: a square matrix for each side, or the diagonal of a vector's."""
        rows, columns = matrix_shape(shape)
        sides = {"left": (rows, rows), "right": (columns, columns)}
        return {"momentum_buffer": shape, "diagonal": shape, **sides}


BALANCE_EVERY = 100


def _fitted(q: Any, a: Any, b: Any, rate: Any, least: float) -> Any:
    """Return a factor after its step."""
    seen, wanted = a @ a.mT, b @ b.mT
    return q - rate / maximum(_spectral(seen + wanted, least), least) * (triu(seen - wanted) @ q)


def _spectral(x: Any, least: float) -> Any:
    """Return a lower bound of the largest eigenvalue of symmetric matrices."""
    size = amax(abs(x))
    x = x / where(size > 0, size, 1.0)
    longest = rows_of((x @ sorting(total(x * x, -2))).mT, 0, 1) @ x
    return size * norm((longest / maximum(norm(longest), least)) @ x)
