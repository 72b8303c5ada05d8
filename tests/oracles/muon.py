"""Muon by its formula, Jordan et al. (2024), kellerjordan.github.io/posts/muon, in float64, lane by lane.

torch orthogonalises in bfloat16; this is what it rounds.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.registry import optimizers
from tests.oracles.objectives import gradients, start
from tests.oracles.rules import MATRICES, SIZE, steps


def trajectories(options: Sequence[Mapping[str, Any]], *, origin: Array | None = None) -> Array:
    """Return the parameters after each step on each objective, `[steps, lanes, 3, 17]`, one lane per options."""
    points = np.empty((len(options), 3, SIZE))
    points[:] = start(SIZE) if origin is None else origin
    defaults = {name: option.default for name, option in optimizers.find("Muon").options().items()}
    complete = [{**defaults, **each} for each in options]
    averages = np.zeros(points.shape)
    rows = np.empty((steps("Muon"), *points.shape))
    for t in range(len(rows)):
        slopes = gradients(points, t)
        for lane, each in enumerate(complete):
            for i in range(3):
                _step(points[lane, i], slopes[lane, i], averages[lane, i], **each)
        rows[t] = points
    return rows


def _step(
    point: Array,
    slope: Array,
    average: Array,
    *,
    lr: float,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
    ns_a: float,
    ns_b: float,
    ns_c: float,
    eps: float,
    ns_steps: int,
    adjust_lr_fn: str | None,
    maximize: bool,
) -> None:
    slope = -slope if maximize else slope
    average *= momentum
    average += (1 - momentum) * slope
    direction = (1 - momentum) * slope + momentum * average if nesterov else average
    begin = 0
    for rows, columns in MATRICES.values():
        part = slice(begin, begin := begin + rows * columns)
        x = direction[part].reshape(rows, columns)
        x = x / max(sqrt((x * x).sum()), eps)
        for _ in range(ns_steps):
            # The singular values s of x become a s + b s³ + c s⁵; which side is multiplied makes no difference.
            square = x.T @ x
            x = ns_a * x + x @ (ns_b * square + ns_c * square @ square)
        scale = (
            0.2 * sqrt(max(rows, columns))
            if adjust_lr_fn == "match_rms_adamw"
            else sqrt(max(1, rows / columns))
        )
        point[part] = (1 - lr * weight_decay) * point[part] - lr * scale * x.ravel()
