"""Muon by its formula, Jordan et al. (2024), kellerjordan.github.io/posts/muon, in float64.

torch orthogonalises in bfloat16; this is what it rounds.
"""

from collections.abc import Mapping, Sequence
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
    adjust_lr_fn: str | None,
    maximize: bool,
) -> tuple[Array, Array]:
    """Return the matrices `[lanes, 3, rows, columns]` after a step, and the averages of their gradients."""
    rows, columns = point.shape[2:]
    slope = -slope if maximize else slope
    average = momentum * average + (1 - momentum) * slope
    x = momentum * average + (1 - momentum) * slope if nesterov else average
    x = x / np.maximum(np.sqrt((x * x).sum(axis=(2, 3), keepdims=True)), eps)
    for _ in range(ns_steps):
        # The singular values s become a s + b s³ + c s⁵; from which side x is multiplied makes no difference.
        square = x.swapaxes(2, 3) @ x
        x = ns_a * x + x @ (ns_b * square + ns_c * square @ square)
    scales = {
        None: sqrt(max(1, rows / columns)),
        "original": sqrt(max(1, rows / columns)),
        "match_rms_adamw": 0.2 * sqrt(max(rows, columns)),
        "spectral_unclamped": sqrt(rows / columns),
    }
    return (1 - lr * weight_decay) * point - lr * scales[adjust_lr_fn] * x, average
