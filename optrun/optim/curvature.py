"""What products with the Hessian tell of it, lane by lane: its largest eigenvalue and its trace."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from optrun.arrays import Array, lane_sum, stream

STEPS = 32
"""Products for the largest eigenvalue; of fewer dimensions, as many as there are."""
PROBES = 32
"""Products for the trace. In no more dimensions it is exact: each probe is a unit vector."""


@dataclass(frozen=True)
class Hessian:
    """The Hessian of the full objective at the parameters of each lane, known by its products."""

    times: Callable[[Array], Array]
    """Returns the products of the lanes' Hessians with their vectors, both float64 ``[B, P]`` on the host."""
    size: int
    """P"""
    seeds: Sequence[int]
    """The seed of each lane, on which its random vectors depend."""

    def probes(self, *index: int, purpose: str = "curvature") -> Array:
        """Return random signs ``[B, P]``, those of a lane from its seed's own stream."""
        drawn = {
            seed: stream(seed, purpose, *index).integers(2, size=self.size) * 2.0 - 1
            for seed in {*self.seeds}
        }
        return np.stack([drawn[seed] for seed in self.seeds])


def largest_eigenvalue(hessian: Hessian) -> Array:
    """Return the largest eigenvalue ``[B]``, by Lanczos' method from a random vector.

        w = H vₖ        αₖ = vₖᵀ w        βₖ vₖ₊₁ = w - αₖ vₖ - βₖ₋₁ vₖ₋₁

    It is that of the tridiagonal matrix of α and β, from below. A power iteration of as many products is less accurate,
    and finds the eigenvalue that is largest in size, or none where two of opposite signs are.
    """
    vector = hessian.probes(0)
    lanes, size = vector.shape
    steps = min(STEPS, size)
    vector /= np.sqrt(size)
    before, beta = np.zeros_like(vector), np.zeros(lanes)
    band = np.zeros((lanes, steps, steps))
    for k in range(steps):
        product = hessian.times(vector)
        alpha = lane_sum(product * vector)
        rest = product - alpha[:, None] * vector - beta[:, None] * before
        beta = np.sqrt(lane_sum(rest * rest))
        # What is left of a space that is spent is rounding: it is made nothing, and the vectors after it are 0.
        scale = np.abs(band).max(axis=(1, 2)) + np.abs(alpha)
        beta = np.where(beta > 1e-12 * scale, beta, 0)
        # An eigenvalue between the others changes nothing, where a lane has no more vectors of its own.
        band[:, k, k] = np.where(vector.any(axis=1), alpha, band[:, 0, 0])
        if k + 1 < steps:
            band[:, k, k + 1] = band[:, k + 1, k] = beta
        length = beta[:, None]
        before, vector = vector, np.where(length > 0, rest, 0) / np.where(length > 0, length, 1)
    finite = np.isfinite(band).all(axis=(1, 2), keepdims=True)
    values: Array = np.linalg.eigvalsh(np.where(finite, band, 0))[:, -1]
    return np.where(finite.reshape(-1), values, np.nan)


def trace(hessian: Hessian) -> Array:
    """Return the trace ``[B]``, by Hutchinson's estimate: the mean of zᵀ H z over vectors z of random signs."""
    lanes, size = len(hessian.seeds), hessian.size
    if size <= PROBES:
        units = [np.broadcast_to(unit, (lanes, size)) for unit in np.eye(size)]
        return sum((lane_sum(unit * hessian.times(unit)) for unit in units), np.zeros(lanes))
    total = np.zeros(lanes)
    for probe in map(hessian.probes, range(1, PROBES + 1)):
        total += lane_sum(probe * hessian.times(probe))
    return total / PROBES


def diagonal(hessian: Hessian, t: int) -> Array:
    """Return z ⊙ H z, ``[B, P]``, for random signs z of step t: on average over z the diagonal of H.

    Hutchinson (1990), doi:10.1080/03610919008812866; of the diagonal Bekas, Kokiopoulou & Saad (2007),
    doi:10.1016/j.apnum.2007.01.003.
    """
    signs = hessian.probes(t, purpose="hutchinson")
    return signs * hessian.times(signs)
