"""Minima at which runs end: those that a function is known to have, and others near which ends crowd.

Where runs crowd and are no minimum, such as along a valley that they have not left yet, is told apart by Newton's
method: from a minimum's basin it goes to the minimum nearby, from elsewhere it goes away.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from optrun.arrays import Array
from optrun.problems import Problem
from optrun.problems.problem import named

MOST_MINIMA = 400
"""At most so many are found, beside those that are known."""

MOST_TRIED = 1000
"""From so many crowds at most, the largest first, Newton's method begins."""

MOST_STEPS = 60


@dataclass(frozen=True)
class Minima:
    """Local minima of a function, of which the first ones are those that it is known to have."""

    points: Array
    """Where they are `[M, P]`."""
    losses: Array
    """Their values `[M]`."""
    known: int
    """How many are known."""


def minima_near(problem: Problem, ends: Array, tolerance: float) -> Minima:
    """Return the minima of a smooth function within a distance of some of the ends `[N, P]`, and all known ones."""
    known = [_flat(each) for each in problem.minimizers]
    found: list[Array] = []
    for start in _crowds(ends, tolerance)[:MOST_TRIED]:
        if len(found) == MOST_MINIMA:
            break
        if any(np.linalg.norm(start - other) <= tolerance for other in (*known, *found)):
            continue
        point = _minimum_from(problem, start, tolerance)
        if point is not None and not any(
            np.linalg.norm(point - each) <= tolerance / 2 for each in (*known, *found)
        ):
            found.append(point)
    found.sort(key=lambda point: (float(_losses(problem, point[None])[0]), *point.tolist()))
    points = np.array([*known, *found], np.float64).reshape(-1, ends.shape[1])
    return Minima(points, _losses(problem, points), len(known))


def nearest(minima: Minima, ends: Array, tolerance: float) -> Array:
    """Return which minimum is nearest to each of the ends `[N, P]`, by its number; NaN where none is so near."""
    best, which = np.full(len(ends), float(tolerance)), np.full(len(ends), np.nan)
    for number, point in enumerate(minima.points):
        distance = np.sqrt(((ends - point) ** 2).sum(axis=1))
        closer = distance <= best
        best[closer], which[closer] = distance[closer], number
    return which


def _crowds(ends: Array, tolerance: float) -> Array:
    """Return the means `[C, P]` of the ends in each cell of a lattice, those of the fullest cell first."""
    ends = ends[np.isfinite(ends).all(axis=1)]
    cells = np.floor(np.clip(ends / tolerance, -(2**52), 2**52)).astype(np.int64)
    _, inverse, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    sums = [np.bincount(inverse.reshape(-1), column, len(counts)) for column in ends.T]
    means: Array = (np.array(sums) / counts).T
    return means[np.argsort(-counts, kind="stable")]


def _minimum_from(problem: Problem, start: Array, tolerance: float) -> Array | None:
    """Return the minimum to which Newton's method goes; None where that is far away, or no minimum."""
    x: Array = start.copy()
    identity = np.eye(len(start))
    for _ in range(MOST_STEPS):
        point = named(x[None], problem.shapes)
        slope = {name: np.empty_like(of) for name, of in point.items()}
        problem.loss_and_grad(point, slope, None)
        hessian = problem.hessian_times(named(np.repeat(x[None], len(x), 0), problem.shapes), identity)
        gradient = _flat({name: of[0] for name, of in slope.items()})
        if not (np.isfinite(gradient).all() and np.isfinite(hessian).all()):
            return None
        curvatures, directions = np.linalg.eigh((hessian + hessian.T) / 2)
        most = float(abs(curvatures).max())
        if most == 0 or curvatures[0] < -1e-6 * most:
            return None
        along = directions.T @ gradient
        step = directions @ np.where(curvatures > 1e-12 * most, along / np.maximum(curvatures, 1e-300), 0.0)
        x = x - step
        if not np.linalg.norm(x - start) <= tolerance:
            return None
        if np.linalg.norm(step) <= 1e-9 * (1 + np.linalg.norm(x)):
            return x
    return None


def _losses(problem: Problem, points: Array) -> Array:
    if not len(points):
        return np.empty(0)
    losses: Array = problem.evaluate(named(points, problem.shapes))["loss"].astype(np.float64)
    return losses


def _flat(named: Mapping[str, Array]) -> Array:
    return np.concatenate([np.reshape(each, -1) for each in named.values()]).astype(np.float64)
