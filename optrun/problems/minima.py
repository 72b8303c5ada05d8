"""Minima of convex problems, each with what proves it: solvers of their own, in float64, that no run goes through.

Shapes: n samples, d features (the last may be a column of ones), o outputs.
"""

from collections.abc import Callable
from itertools import combinations_with_replacement

import numpy as np

from optrun.arrays import Array

Terms = Callable[[Array, Array], tuple[Array, Array, Array]]
"""Returns of outputs ``[n, o]`` and targets ``[n]`` the losses ``[n]``, their slopes ``[n, o]`` and their curvatures
``[n, o, o]``."""
Solution = tuple[Array, float]
"""The minimizer ``[d, o]`` and the minimum."""

ACCURACY = 1e-10
"""Relative to 1, or to the minimum where it is larger."""
MOST_UNKNOWNS = 2_000
"""Of a Hessian that is solved for."""


def squared(z: Array, y: Array) -> tuple[Array, Array, Array]:
    """(z - y)²."""
    residuals = z[:, 0] - y
    return residuals**2, 2 * residuals[:, None], np.full((len(y), 1, 1), 2.0)


def logistic(z: Array, y: Array) -> tuple[Array, Array, Array]:
    """log(1 + eᶻ) - y z."""
    p = np.exp(-np.logaddexp(0, -z))
    return np.logaddexp(0, z[:, 0]) - y * z[:, 0], p - y[:, None], (p * (1 - p))[:, None]


def softmax(z: Array, y: Array) -> tuple[Array, Array, Array]:
    """log Σⱼ exp(zⱼ) - z_y."""
    largest = z.max(axis=1, keepdims=True)
    total = largest[:, 0] + np.log(np.exp(z - largest).sum(axis=1))
    p, is_class = np.exp(z - total[:, None]), y[:, None] == np.arange(z.shape[1])
    return total - z[is_class], p - is_class, p[:, :, None] * (np.eye(z.shape[1]) - p[:, None])


def newton(
    terms: Terms, x: Array, y: Array, outputs: int, penalties: Array, weights: Array | None = None
) -> Solution | None:
    """Minimise mean wᵢ loss(xᵢᵀθ, yᵢ) + ½ Σ penalties θ² by Newton's method with step halving.

        θ ← θ - s H⁻¹ g        s = 1, ½, ¼, …, so that the value does not grow

    ``penalties [d]`` are those of the rows of θ, ``weights [n]`` those of the samples. The proof is Newton's decrement,
    ½ gᵀ H⁻¹ g, by which a quadratic of this slope and curvature is above its minimum; None where it stays too large, or
    there are more than MOST_UNKNOWNS.
    """
    samples, size = x.shape
    if size * outputs > MOST_UNKNOWNS:
        return None
    w = np.ones(samples) if weights is None else weights
    theta = np.zeros((size, outputs))

    def value_at(theta: Array) -> float:
        penalty = 0.5 * float(np.sum(penalties[:, None] * theta**2))
        return float(np.mean(w * terms(x @ theta, y)[0])) + penalty

    with np.errstate(all="ignore"):
        for _ in range(200):
            _, slopes, curvatures = terms(x @ theta, y)
            value = value_at(theta)
            gradient = x.T @ (w[:, None] * slopes) / samples + penalties[:, None] * theta
            hessian = np.empty((size, outputs, size, outputs))
            for a, b in combinations_with_replacement(range(outputs), 2):
                hessian[:, a, :, b] = hessian[:, b, :, a] = (x.T * (w * curvatures[:, a, b] / samples)) @ x
            hessian = hessian.reshape(size * outputs, -1) + np.diag(np.repeat(penalties, outputs))
            # Along some directions, as of biases that grow together, the value may be the same.
            hessian += 1e-9 * max(1.0, np.diag(hessian).mean()) * np.eye(len(hessian))
            step = np.linalg.solve(hessian, gradient.ravel()).reshape(theta.shape)
            decrement, scale = float(np.sum(gradient * step)) / 2, 1.0
            # Nearer to the minimum, the difference of values is rounding.
            while (
                decrement > 1e-9 * abs(value)
                and not value_at(theta - scale * step) <= value
                and scale > 1e-12
            ):
                scale /= 2
            theta = theta - scale * step
            if decrement <= 1e-22 * max(1.0, abs(value)):
                break
    is_proven = decrement <= 1e-2 * ACCURACY * max(1.0, abs(value))
    return (theta, value_at(theta)) if is_proven else None
