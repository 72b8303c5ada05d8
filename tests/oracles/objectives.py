"""The three objectives that drive the parity tests, for points `[…, n]` at once."""

from collections.abc import Callable

import numpy as np

from optrun.arrays import Array

Objective = Callable[[Array, int], tuple[Array, Array]]


def quadratic(x: Array, t: int) -> tuple[Array, Array]:
    """An ellipsoid whose curvatures reach from 0.1 to 10."""
    curvature = np.geomspace(0.1, 10, x.shape[-1])
    offset = x - np.resize([4.0, -5.0, 3.0, 6.0, -4.0], x.shape[-1])
    return (curvature * offset**2).sum(-1) / 2, curvature * offset


def banana(x: Array, t: int) -> tuple[Array, Array]:
    """Rosenbrock's function with a wide valley."""
    inner, outer = x[..., 1:] - x[..., :-1] ** 2, 1 - x[..., :-1]
    gradient = np.zeros(x.shape)
    gradient[..., :-1] = -4 * x[..., :-1] * inner - 0.02 * outer
    gradient[..., 1:] += 2 * inner
    return (inner**2).sum(-1) + 0.01 * (outer**2).sum(-1), gradient


def noisy(x: Array, t: int) -> tuple[Array, Array]:
    """A parabola with a slope of its own at every step."""
    slope = np.sin(7.0 * t + np.arange(x.shape[-1]))
    return 0.15 * ((x - 5) ** 2).sum(-1) + (slope * x).sum(-1), 0.3 * (x - 5) + slope


OBJECTIVES: dict[str, Objective] = {each.__name__: each for each in (quadratic, banana, noisy)}


def start(size: int) -> Array:
    """Return where all trajectories begin, `[size]`."""
    return np.resize([1.5, -2.0, 0.7, 3.1, -1.2], size)


def gradients(points: Array, t: int, *, sparse: bool = False, shaken: int | None = None) -> Array:
    """Return the gradient of each objective at its points `[…, 3, n]`; sparse ones are 0 at every third element.

    That of `banana` is bounded, so that ascents stay finite. Shaken, by a seed, they are a rounding error off, and so
    are the points at which they are asked for: at a minimum that is all that tells a gradient from zero.
    """
    at = points if shaken is None else aside(points, t, shaken)
    found = [objective(at[..., i, :], t)[1] for i, objective in enumerate(OBJECTIVES.values())]
    slopes = np.stack([found[0], np.tanh(0.1 * found[1]), found[2]], axis=-2).astype(points.dtype)
    if shaken is not None:
        slopes = aside(slopes, shaken, t)
    if sparse:
        slopes[..., (np.arange(points.shape[-1]) + t) % 3 == 0] = 0.0
    return slopes


def aside(values: Array, *seed: int) -> Array:
    """Return values one rounding error off, up or down by a seed."""
    up = np.random.default_rng(seed).random(values.shape) < 0.5
    return np.nextafter(values, np.where(up, np.inf, -np.inf).astype(values.dtype))
