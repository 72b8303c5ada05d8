"""torch's trajectories of the parity tests."""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.registry import optimizers
from tests.oracles.objectives import OBJECTIVES, aside, gradients, start
from tests.oracles.rules import SIZE, ascent, changes, shapes, steps


@contextmanager
def default_dtype(name: str) -> Iterator[None]:
    """Let torch keep its step counters, eta, mu and mu_product in this dtype, for they have its default dtype."""
    import torch

    torch.set_num_threads(1)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, name))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def arguments(name: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Return torch's keywords for optrun's options, and -1 where negated gradients stand in for maximize."""
    import torch

    rule, known = optimizers.find(name), inspect.signature(getattr(torch.optim, name)).parameters
    values = {key: option.default for key, option in rule.options().items()} | dict(options)
    for joint, parts in rule.tuples.items():
        values[joint] = tuple(values.pop(part) for part in parts)
    if "iteration" not in known:
        values.pop("iteration", None)
    sign = -1.0 if "maximize" not in known and values.pop("maximize") else 1.0
    assert values.keys() <= known.keys(), f"torch's {name} has no {values.keys() - known.keys()}"
    return values | ({"foreach": False} if "foreach" in known else {}), sign


def trajectories(
    name: str,
    options: Sequence[Mapping[str, Any]],
    dtype: str = "float64",
    *,
    shaken: int | None = None,
    joined: bool = False,
    counters: str | None = None,
    changing: bool = False,
) -> Array:
    """Return torch's parameters after each step on each objective, `[steps, lanes, 3, 17]`, one lane per options.

    Shaken, by a seed, the start, every gradient and where it is asked for are a rounding error off. With ``joined`` all
    tensors of a lane are one, which is the same for elementwise rules, and faster; ``counters`` is the dtype of torch's
    own numbers, that of the parameters unless told. With ``changing`` the floats are set to others on the way.
    """
    changed = [changes(name, each) if changing else {} for each in options]
    points = np.empty((len(options), 3, SIZE), dtype)
    points[:] = start(SIZE)
    if shaken is not None:
        points[:] = aside(points, shaken)
    sizes = [(3 * SIZE,)] if joined else list(shapes(name).values()) * 3
    rows = np.empty((steps(name, dtype), *points.shape), dtype)
    with default_dtype(counters or dtype):
        if optimizers.find(name).needs_closure:
            for lane, each in enumerate(options):
                for i in range(3):
                    rows[:, lane, i] = _alone(name, each, i, points[lane, i], len(rows), shaken)
            return rows
        made = [
            _optimizer(name, each, lane.reshape(-1), sizes)
            for each, lane in zip(options, points, strict=True)
        ]
        for t in range(len(rows)):
            slopes = gradients(points, t, sparse=name == "SparseAdam", shaken=shaken)
            for lane, (optimizer, tensors, sign) in enumerate(made):
                for tensor, part in zip(tensors, _split(sign * slopes[lane].reshape(-1), sizes), strict=True):
                    tensor.grad = part.to_sparse() if name == "SparseAdam" else part
                if t in changed[lane]:
                    optimizer.param_groups[0].update(
                        arguments(name, {**options[lane], **changed[lane][t]})[0]
                    )
                optimizer.step()
            rows[t] = points
    return rows


def _optimizer(
    name: str, options: Mapping[str, Any], values: Array, sizes: Sequence[tuple[int, ...]]
) -> tuple[Any, list[Any], float]:
    """Return torch's optimizer, its tensors, which are views of these values, and the sign of their gradients."""
    import torch

    chosen, sign = arguments(name, options)
    tensors = _split(values, sizes)
    return getattr(torch.optim, name)(tensors, **chosen), tensors, sign


def _split(values: Array, sizes: Sequence[tuple[int, ...]]) -> list[Any]:
    """Return the tensors of these shapes that are views of values `[n]`."""
    import torch

    parts = torch.from_numpy(values).split([math.prod(shape) for shape in sizes])
    return [part.view(shape) for part, shape in zip(parts, sizes, strict=True)]


def _alone(
    name: str, options: Mapping[str, Any], index: int, point: Array, count: int, shaken: int | None
) -> Array:
    """Return the parameters after each step on one objective, `[steps, 17]`, of a rule that asks for the loss."""
    import torch

    sizes = list(shapes(name).values())
    optimizer, tensors, sign = _optimizer(name, options, point, sizes)
    objective, sign = list(OBJECTIVES.values())[index], sign * ascent(options)
    rows = np.empty((count, SIZE), point.dtype)
    for t in range(count):

        def closure(t: int = t) -> Any:
            loss, gradient = objective(point if shaken is None else aside(point, t, shaken), t)
            slope = (gradient if shaken is None else aside(gradient, shaken, t)).astype(point.dtype)
            for tensor, part in zip(tensors, _split(sign * slope, sizes), strict=True):
                tensor.grad = part
            return torch.tensor(sign * loss)

        optimizer.step(closure)
        rows[t] = point
    return rows
