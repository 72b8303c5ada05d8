"""Muon by its formula, Jordan et al. (2024), kellerjordan.github.io/posts/muon, in float64.

torch orthogonalises in bfloat16; this is what it rounds.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from math import sqrt
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.registry import optimizers
from tests.oracles.objectives import aside, gradients, start
from tests.oracles.rules import MATRICES, SIZE, steps


def trajectories(options: Sequence[Mapping[str, Any]], *, shaken: int | None = None) -> Array:
    """Return the parameters after each step on each objective, `[steps, lanes, 3, 17]`, one lane per options.

    The lanes differ in floats alone. Shaken, by a seed, the start and every gradient are a rounding error off.
    """
    own = optimizers.find("Muon").options()
    complete = [{name: option.default for name, option in own.items()} | dict(each) for each in options]
    values = {
        name: np.array([each[name] for each in complete])[:, None, None, None]
        if option.is_float
        else complete[0][name]
        for name, option in own.items()
    }
    points = np.empty((len(options), 3, SIZE))
    points[:] = start(SIZE)
    if shaken is not None:
        points[:] = aside(points, shaken)
    averages = np.zeros(points.shape)
    rows = np.empty((steps("Muon"), *points.shape))
    for t in range(len(rows)):
        slopes, begin = gradients(points, t, shaken=shaken), 0
        for shape in MATRICES.values():
            part = slice(begin, begin := begin + shape[0] * shape[1])
            point, slope, average = (
                each[..., part].reshape(-1, 3, *shape) for each in (points, slopes, averages)
            )
            point, average = _step(point, slope, average, **values)
            points[..., part], averages[..., part] = (
                each.reshape(-1, 3, part.stop - part.start) for each in (point, average)
            )
        rows[t] = points
    return rows


def _step(
    point: Array,
    slope: Array,
    average: Array,
    *,
    lr: Array,
    weight_decay: Array,
    momentum: Array,
    nesterov: bool,
    ns_a: Array,
    ns_b: Array,
    ns_c: Array,
    eps: Array,
    ns_steps: int,
    iteration: str,
    adjust_lr_fn: str | None,
    maximize: bool,
) -> tuple[Array, Array]:
    """Return the matrices `[lanes, 3, rows, columns]` after a step, and the averages of their gradients."""
    rows, columns = point.shape[2:]
    slope = -slope if maximize else slope
    average = momentum * average + (1 - momentum) * slope
    x = momentum * average + (1 - momentum) * slope if nesterov else average
    size = np.sqrt((x * x).sum(axis=(2, 3), keepdims=True))
    x = x / (np.maximum(size, eps) if iteration == "newton_schulz" else 1.01 * size + eps)
    for step in range(ns_steps):
        # The singular values s become a s + b s³ + c s⁵; from which side x is multiplied makes no difference.
        square = x.swapaxes(2, 3) @ x
        a, b, c = (ns_a, ns_b, ns_c) if iteration == "newton_schulz" else safe_quintics()[step]
        x = a * x + x @ (b * square + c * square @ square)
    scales = {
        None: sqrt(max(1, rows / columns)),
        "original": sqrt(max(1, rows / columns)),
        "match_rms_adamw": 0.2 * sqrt(max(rows, columns)),
        "spectral_unclamped": sqrt(rows / columns),
    }
    return (1 - lr * weight_decay) * point - lr * scales[adjust_lr_fn] * x, average


@cache
def safe_quintics() -> list[tuple[float, float, float]]:
    """Return the polynomials of Polar Express, arXiv:2505.16932, with the margin of all but the last."""
    *others, last = quintics()
    return [*[(a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in others], last]


def quintics(least: float = 1e-3, steps: int = 8) -> list[tuple[float, float, float]]:
    """Return the odd quintics whose composition is nearest to 1 between ``least`` and 1, Algorithm 1 of the paper.

    Each is the best one between the bounds that the last one left, or a fortieth of the upper one if that is more; its
    values are then centred around 1.
    """
    low, high, found = least, 1.0, []
    for _ in range(steps):
        a, b, c = _best_quintic(max(low, CUSHION * high), high)
        ends = [a * x + b * x**3 + c * x**5 for x in (low, high)]
        scale = 2 / sum(ends) if CUSHION * high > low else 1.0
        a, b, c = scale * a, scale * b, scale * c
        found.append((a, b, c))
        low = a * low + b * low**3 + c * low**5
        high = 2 - low
    return found


CUSHION = 0.02407327424182761
"""With it the slope of the first polynomial's secant is at its smallest a value that the authors chose."""


def _best_quintic(low: float, high: float) -> tuple[float, float, float]:
    """Return the odd quintic whose distance to 1 takes turns at the ends and at its two extrema, by Remez' exchange."""
    if low / high > 1 - 5e-6:
        return 15 / 8 / high, -10 / 8 / high**3, 3 / 8 / high**5
    inner, signs = [(3 * low + high) / 4, (low + 3 * high) / 4], [1, -1, 1, -1]
    for _ in range(50):
        at = np.array([low, *inner, high])
        a, b, c, _ = np.linalg.solve(np.stack([at, at**3, at**5, signs], axis=1), np.ones(4))
        root = sqrt(9 * b * b - 20 * a * c)
        inner = [sqrt((-3 * b + sign * root) / (10 * c)) for sign in (-1, 1)]
    return float(a), float(b), float(c)
