"""Minima of convex problems, each with what proves it: solvers of their own, in float64, that no run goes through.

Shapes: n samples, d features (the last may be a column of ones), o outputs.
"""

from collections.abc import Callable
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np

from optrun.arrays import Array

Terms = Callable[[Array, Array], tuple[Array, Array, Array]]
"""Returns of outputs ``[n, o]`` and targets ``[n]`` the losses ``[n]``, their slopes ``[n, o]`` and their curvatures
``[n, o, o]``."""


class Solution(NamedTuple):
    """What is known of the minimum of a convex problem."""

    theta: Array
    """A minimizer ``[d, o]``."""
    minimum: float
    is_unique: bool
    """Whether there is no other minimizer, and this one is no mere point on the way to an infimum at infinity."""


ACCURACY = 1e-10
"""Relative to 1, or to the minimum where it is larger."""
FLAT = 1e-12
"""Curvature beside 1 that may be rounding."""
VANISHED = 1e-8
"""Curvature beside that at the start with which a loss falls towards infinity."""
MOST_SWEEPS, SETTLED, MOST_CHANGES = 1_000, 20, 200
"""Of the coordinates in turn, also without a change of their signs, and of the support."""
RANK = 1e-13
"""Singular values are 0 where they are smaller beside the largest."""
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


@np.errstate(all="ignore")
def newton(
    terms: Terms, x: Array, y: Array, outputs: int, penalties: Array, weights: Array | None = None
) -> Solution | None:
    """Minimise mean wᵢ loss(xᵢᵀθ, yᵢ) + ½ Σ penalties θ² by Newton's method with step halving.

        θ ← θ - s H⁻¹ g        s = 1, ½, ¼, …, so that the value does not grow

    ``penalties [d]`` are those of the rows of θ, ``weights [n]`` those of the samples. H has FLAT I added in steps, in
    units in which its diagonal is 1. The proof is Newton's decrement, ½ gᵀ H⁻¹ g, without that addition, by which a
    quadratic of this slope and curvature is above its minimum; None where it stays too large, or there are more than
    MOST_UNKNOWNS.
    """
    samples, size = x.shape
    if size * outputs > MOST_UNKNOWNS:
        return None
    w = np.ones(samples) if weights is None else weights
    theta = np.zeros((size, outputs))
    first = np.zeros(size * outputs)

    def value_at(theta: Array) -> float:
        penalty = 0.5 * float(np.sum(penalties[:, None] * theta**2))
        return float(np.mean(w * terms(x @ theta, y)[0])) + penalty

    for iteration in range(200):
        _, slopes, curvatures = terms(x @ theta, y)
        value = value_at(theta)
        gradient = x.T @ (w[:, None] * slopes) / samples + penalties[:, None] * theta
        hessian = np.empty((size, outputs, size, outputs))
        for a, b in combinations_with_replacement(range(outputs), 2):
            hessian[:, a, :, b] = hessian[:, b, :, a] = (x.T * (w * curvatures[:, a, b] / samples)) @ x
        hessian = hessian.reshape(size * outputs, -1) + np.diag(np.repeat(penalties, outputs))
        # Units of its own for each unknown, so that curvatures of any size can be told from none.
        units = np.sqrt(np.where(np.diag(hessian) > 0, np.diag(hessian), 1.0))
        first = units if iteration == 0 else first
        hessian, slope = hessian / np.outer(units, units), gradient.ravel() / units
        # Along some directions, as of biases that grow together, the value may be the same.
        step = np.linalg.solve(hessian + FLAT * np.eye(len(hessian)), slope)
        step = (step / units).reshape(theta.shape)
        decrement, scale = float(np.sum(gradient * step)) / 2, 1.0
        unit = max(1.0, abs(value))
        # Nearer to the minimum, the difference of values is rounding.
        while decrement > 1e-9 * unit and not value_at(theta - scale * step) <= value and scale > 1e-12:
            scale /= 2
        theta = theta - scale * step
        if decrement <= 1e-22 * unit:
            break
    decrement, has_flat = _decrement(hessian, slope, theta.ravel() * units)
    if decrement > 1e-2 * ACCURACY * unit:
        return None
    return Solution(theta, value_at(theta), not has_flat and bool((units > VANISHED**0.5 * first).all()))


def _decrement(hessian: Array, slope: Array, theta: Array) -> tuple[float, bool]:
    """Return by how much a quadratic is above its minimum, and whether it has flat directions.

    Along these, it is at the distance ‖θ‖. The Hessian has a diagonal of ones.
    """
    if not (np.isfinite(hessian).all() and np.isfinite(slope).all()):
        return np.inf, True
    curvatures, directions = np.linalg.eigh(hessian)
    slopes, is_flat = directions.T @ slope, curvatures <= FLAT
    curved = float(np.sum(slopes[~is_flat] ** 2 / curvatures[~is_flat])) / 2
    flat = float(np.linalg.norm(slopes[is_flat])) * (1 + float(np.linalg.norm(theta)))
    return curved + flat, bool(is_flat.any())


@np.errstate(all="ignore")
def elastic_net(x: Array, y: Array, l1: float, l2: float, *, bias: bool) -> Solution | None:
    """Minimise mean (xᵢᵀθ - yᵢ)² + l2/2 ‖w‖² + l1 ‖w‖₁, where w is θ, without its last number if that is a bias.

    In A w ≈ b, means are taken out for the bias, l2 stands in rows of its own, and columns have the length 1, so that
    λ, the penalties of their coordinates, differ. Coordinates are minimised in turn, then on the support alone, as in
    Lee et al. (2006), "Efficient sparse coding algorithms". A w is proven by the duality gap of the residual
    r = b - A w, scaled to be feasible, or by the least squares, which are not above the minimum:

        ‖r‖² + λᵀ|w| - max(bᵀu - ¼ ‖u‖², min ‖b - A w‖²)        u = 2 r min(1, min λ / |2 Aᵀr|)

    None where it is not, where a square is infinite, or for more than MOST_UNKNOWNS. Without l1 that is least squares,
    which needs no proof.
    """
    samples, size = len(x), x.shape[1] - bias
    centre, level = (x[:, :size].mean(axis=0), y.mean()) if bias else (np.zeros(size), 0.0)
    a = np.concatenate([(x[:, :size] - centre) / np.sqrt(samples), np.sqrt(l2 / 2) * np.eye(size)])
    b = np.concatenate([(y - level) / np.sqrt(samples), np.zeros(size)])
    lengths = np.linalg.norm(a, axis=0)
    if not np.isfinite([*lengths, b @ b]).all():
        return None
    lengths[lengths == 0] = 1.0
    a /= lengths
    squares = np.linalg.lstsq(a, b)[0]

    def completed(w: Array) -> Solution:
        # With l1 a coordinate is 0 in every minimizer where its slope is smaller than its penalty.
        may_differ = np.abs(2 * a.T @ (b - a @ w)) >= (1 - 1e-6) * l1 / lengths
        is_unique = l2 > 0 or np.linalg.matrix_rank(a[:, may_differ]) == np.count_nonzero(may_differ)
        w, value = w / lengths, float(np.sum((b - a @ w) ** 2) + l1 / lengths @ np.abs(w))
        theta = np.append(w, level - centre @ w) if bias else w
        return Solution(theta[:, None], value, bool(is_unique))

    if l1 == 0:
        return completed(squares)
    if size > MOST_UNKNOWNS:
        return None
    problem = _Lasso(a, b, l1 / lengths, float(np.sum((b - a @ squares) ** 2)))
    w = problem.by_coordinates()
    return None if (found := problem.by_support(w)) is None else completed(found)


class _Lasso:
    """‖b - A w‖² + λᵀ|w|, where the columns of A have the length 1, or are 0."""

    def __init__(self, a: Array, b: Array, penalties: Array, least: float) -> None:
        self.a, self.b, self.penalties = a, b, penalties
        self.least = least
        """The least ‖b - A w‖²."""
        self.most = 1e-2 * ACCURACY * max(1.0, float(b @ b))
        """How far above the minimum a w is proven to be, at most."""

    def by_coordinates(self) -> Array:
        """Return a w near the minimum: coordinates minimised in turn, until signs stay or the proof is there."""
        a, b, half = self.a, self.b, self.penalties / 2
        gram, slopes, w = a.T @ a, a.T @ b, np.zeros(a.shape[1])
        chosen, signs, unchanged = np.flatnonzero(np.diag(gram)), np.sign(w), 0
        for _ in range(MOST_SWEEPS):
            for j in chosen:
                without = slopes[j] - gram[j] @ w + w[j]
                w[j] = np.sign(without) * max(abs(without) - half[j], 0)
            unchanged = unchanged + 1 if (np.sign(w) == signs).all() else 0
            if unchanged == SETTLED:
                break
            signs = np.sign(w)
        return w

    def by_support(self, w: Array) -> Array | None:
        """Return the minimizer, found from a w nearby by solving on the support; None if there is no proof."""
        signs = np.sign(w)
        for _ in range(MOST_CHANGES + 2 * len(w)):
            support = np.flatnonzero(signs)
            if len(support):
                w, signs = self._moved(w, signs, support)
                if (np.sign(w) != signs).any():
                    signs = np.sign(w)
                    continue
            if self.gap(w) <= self.most:
                return w
            slope = -2 * self.a.T @ (self.b - self.a @ w)
            excess = np.where(signs == 0, np.abs(slope) - self.penalties, -np.inf)
            j = int(excess.argmax())
            if not excess[j] > 0:
                break
            signs[j] = -np.sign(slope[j])
        return w if self.gap(w) <= ACCURACY * max(1.0, self.value(w)) else None

    def _moved(self, w: Array, signs: Array, support: Array) -> tuple[Array, Array]:
        """Return where the objective is least with these signs on the support, or the first zero on the way there.

        Along directions in which A w stays, the penalty falls until a coordinate is 0.
        """
        left, lengths, right = np.linalg.svd(self.a[:, support], full_matrices=False)
        is_known = lengths > RANK * lengths[0]
        pull = right @ (signs[support] * self.penalties[support]) / 2
        inverse = np.where(is_known, 1 / np.where(is_known, lengths, 1.0), 0.0)
        rest = self.b - self.a @ w
        step = right.T @ (inverse * (left.T @ rest) - inverse**2 * pull)
        flat = -(signs[support] * self.penalties[support]) - right.T @ (np.where(is_known, -2 * pull, 0.0))
        if np.abs(flat).max() > 1e-9 * self.penalties[support].max():
            step = flat / np.abs(flat).max() * 1e300
        there = w[support] + step
        crossing = (np.sign(there) != signs[support]) & (w[support] != 0)
        moved = w.copy()
        if crossing.any():
            shares = np.where(crossing, -w[support] / step, np.inf)
            first = int(shares.argmin())
            moved[support] = w[support] + shares[first] * step
            moved[support[first]] = 0.0
            return moved, signs
        moved[support] = there
        return moved, signs

    def gap(self, w: Array) -> float:
        """Return by how much w may be above the minimum."""
        r = self.b - self.a @ w
        bound = max(self.least, *map(self._bound, (r, self._residual(np.sign(w)))))
        return self.value(w) - bound

    def value(self, w: Array) -> float:
        """Return the objective."""
        r = self.b - self.a @ w
        return float(r @ r + self.penalties @ np.abs(w))

    def _bound(self, r: Array) -> float:
        """Return the value of the dual problem at a residual, scaled to be feasible: no objective is lower."""
        u = 2 * r * min(1.0, float((self.penalties / np.maximum(2 * np.abs(self.a.T @ r), 1e-300)).min()))
        return float(self.b @ u - u @ u / 4)

    def _residual(self, signs: Array) -> Array:
        """Return the residual where the objective is least with these signs on a support.

        It is that of least squares, and what 2 Aᵀr = λ signs adds: so its rounding is not that of a large w.
        """
        support = np.flatnonzero(signs)
        if not len(support):
            return self.b
        left, lengths, right = np.linalg.svd(self.a[:, support], full_matrices=False)
        is_known = lengths > RANK * lengths[0]
        left, lengths, right = left[:, is_known], lengths[is_known], right[is_known]
        r = self.b
        for _ in range(2):  # again, for what rounding has left
            r = r - left @ (left.T @ r)
        added: Array = left @ (right @ (signs[support] * self.penalties[support]) / lengths) / 2
        return r + added
