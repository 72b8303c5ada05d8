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


def huber(delta: float, z: Array, y: Array) -> tuple[Array, Array, Array]:
    """½ r² where |r| ≤ δ, δ (|r| - δ/2) elsewhere; r = z - y."""
    r = z[:, 0] - y
    is_near = np.abs(r) <= delta
    values = np.where(is_near, r**2 / 2, delta * (np.abs(r) - delta / 2))
    return values, np.clip(r, -delta, delta)[:, None], is_near[:, None, None] * 1.0


def poisson(z: Array, y: Array) -> tuple[Array, Array, Array]:
    """eᶻ - y z."""
    mean = np.exp(z)
    return mean[:, 0] - y * z[:, 0], mean - y[:, None], mean[:, None]


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
            unit = max(1.0, abs(value))
            # Nearer to the minimum, the difference of values is rounding.
            while decrement > 1e-9 * unit and not value_at(theta - scale * step) <= value and scale > 1e-12:
                scale /= 2
            theta = theta - scale * step
            if decrement <= 1e-22 * unit:
                break
    is_proven = decrement <= 1e-2 * ACCURACY * unit
    return (theta, value_at(theta)) if is_proven else None


def elastic_net(x: Array, y: Array, l1: float, l2: float, *, bias: bool) -> Solution | None:
    """Minimise mean (xᵢᵀθ - yᵢ)² + l2/2 ‖w‖² + l1 ‖w‖₁, where w is θ, without its last number if that is a bias.

    In A w ≈ b, means are taken out for the bias, and l2 stands in rows of its own. Coordinates are minimised in turn,
    until w, solved for exactly on the support and with the signs of its coordinates, is proven by the duality gap of
    the residual r = b - A w, scaled to be feasible:

        ‖r‖² + l1 ‖w‖₁ - (bᵀu - ¼ ‖u‖²)        u = 2 r min(1, l1 / ‖2 Aᵀr‖_∞)

    None where it is not, or where there are more than MOST_UNKNOWNS. Without l1 that is least squares, which needs no
    proof.
    """
    samples, size = len(x), x.shape[1] - bias
    centre, level = (x[:, :size].mean(axis=0), y.mean()) if bias else (np.zeros(size), 0.0)
    a = np.concatenate([(x[:, :size] - centre) / np.sqrt(samples), np.sqrt(l2 / 2) * np.eye(size)])
    b = np.concatenate([(y - level) / np.sqrt(samples), np.zeros(size)])

    def completed(w: Array) -> Solution:
        theta = np.append(w, level - centre @ w) if bias else w
        return theta[:, None], float(np.sum((b - a @ w) ** 2) + l1 * np.abs(w).sum())

    if l1 == 0:
        return completed(np.linalg.lstsq(a, b)[0])
    if size > MOST_UNKNOWNS:
        return None
    gram, slopes, w, signs = a.T @ a, a.T @ b, np.zeros(size), np.full(size, np.nan)
    for _ in range(10_000):
        for j in np.flatnonzero(np.diag(gram)):
            without = slopes[j] - gram[j] @ w + gram[j, j] * w[j]
            w[j] = np.sign(without) * max(abs(without) - l1 / 2, 0) / gram[j, j]
        if (np.sign(w) == signs).all():
            continue  # the same would be found
        signs, support, exact = np.sign(w), np.flatnonzero(w), np.zeros(size)
        exact[support] = np.linalg.lstsq(a[:, support], b)[0]
        exact[support] -= np.linalg.pinv(gram[np.ix_(support, support)]) @ signs[support] * l1 / 2
        if _duality_gap(a, b, exact, l1) <= 1e-2 * ACCURACY * max(1.0, b @ b):
            return completed(exact)
    return None


def _duality_gap(a: Array, b: Array, w: Array, l1: float) -> float:
    """Return by how much ‖b - A w‖² + l1 ‖w‖₁ may be above its minimum."""
    r = b - a @ w
    u = 2 * r * min(1.0, l1 / max(2 * np.abs(a.T @ r).max(), 1e-300))
    return float(r @ r + l1 * np.abs(w).sum() - b @ u + u @ u / 4)
