"""torch's trajectories of the parity tests."""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.registry import optimizers
from tests.oracles.objectives import OBJECTIVES, gradients, start
from tests.oracles.rules import SIZE, shapes, steps


@contextmanager
def default_dtype(name: str) -> Iterator[None]:
    """Let torch keep its step counters, eta, mu and mu_product in this dtype, for they have its default dtype."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, name))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def arguments(name: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return torch's keywords for optrun's options, and whether negated gradients stand in for maximize."""
    import torch

    rule, known = optimizers.find(name), inspect.signature(getattr(torch.optim, name)).parameters
    values = {key: option.default for key, option in rule.options().items()} | dict(options)
    for joint, parts in rule.tuples.items():
        values[joint] = tuple(values.pop(part) for part in parts)
    lacking = [key for key in values if key not in known]
    assert set(lacking) <= {"maximize"}, f"torch's {name} has no {lacking}"
    negated = bool(lacking) and values.pop("maximize")
    return values | ({"foreach": False} if "foreach" in known else {}), negated


def trajectories(
    name: str,
    options: Sequence[Mapping[str, Any]],
    dtype: str = "float64",
    *,
    origin: Array | None = None,
    joined: bool = False,
    counters: str | None = None,
    count: int | None = None,
) -> Array:
    """Return torch's parameters after each step on each objective, `[steps, lanes, 3, 17]`, one lane per options.

    They start at ``origin`` `[17]`. With ``joined`` all tensors of a lane are one, which is the same for elementwise
    rules, and faster; ``counters`` is the dtype of torch's own numbers, that of the parameters unless told.
    """
    import torch

    torch.set_num_threads(1)
    points = np.empty((len(options), 3, SIZE), dtype)
    points[:] = start(SIZE) if origin is None else origin
    rows = np.empty((count or steps(name), *points.shape), dtype)
    with default_dtype(counters or dtype):
        if name == "LBFGS":
            for lane, each in enumerate(options):
                for i in range(3):
                    rows[:, lane, i] = _alone(name, each, i, points[lane, i], len(rows))
            return rows
        made = [
            _optimizer(name, each, lane, {} if joined else shapes(name))
            for each, lane in zip(options, points, strict=True)
        ]
        for t in range(len(rows)):
            slopes = gradients(points, t, sparse=name == "SparseAdam").astype(dtype)
            for lane, (optimizer, tensors, negated) in enumerate(made):
                flat = torch.from_numpy(-slopes[lane] if negated else slopes[lane])
                for tensor, part in zip(tensors, _parts(flat, tensors), strict=True):
                    tensor.grad = part.to_sparse() if name == "SparseAdam" else part
                optimizer.step()
            rows[t] = points
    return rows


def _optimizer(
    name: str, options: Mapping[str, Any], points: Array, tensors: Mapping[str, tuple[int, ...]]
) -> Any:
    """Return torch's optimizer with tensors that are views of points `[3, 17]`, so that a step moves the points."""
    import torch

    values, negated = arguments(name, options)
    if not tensors:
        made = [torch.from_numpy(points)]
    else:
        made = [part for row in points for part in _split(torch.from_numpy(row), tensors.values())]
    return getattr(torch.optim, name)(made, **values), made, negated


def _split(flat: Any, tensors: Any) -> list[Any]:
    """Return the views of a flat vector that have these shapes."""
    parts = flat.split([math.prod(shape) for shape in tensors])
    return [part.view(shape) for part, shape in zip(parts, tensors, strict=True)]


def _parts(slopes: Any, tensors: Sequence[Any]) -> list[Any]:
    if len(tensors) == 1:
        return [slopes]
    return [
        part.view(tensor.shape)
        for part, tensor in zip(
            slopes.view(-1).split([each.numel() for each in tensors]), tensors, strict=True
        )
    ]


def _alone(name: str, options: Mapping[str, Any], index: int, point: Array, count: int) -> Array:
    """Return the parameters after each step on one objective, `[steps, 17]`, of a rule that asks for the loss."""
    import torch

    values, negated = arguments(name, options)
    flat, sign = torch.from_numpy(point), -1.0 if negated else 1.0
    tensors = _split(flat, shapes(name).values())
    optimizer, objective = getattr(torch.optim, name)(tensors, **values), list(OBJECTIVES.values())[index]
    rows = np.empty((count, SIZE), point.dtype)
    for t in range(count):

        def closure(t: int = t) -> Any:
            loss, gradient = objective(point, t)
            slopes = torch.from_numpy((sign * gradient).astype(point.dtype))
            for tensor, part in zip(tensors, _split(slopes, shapes(name).values()), strict=True):
                tensor.grad = part
            return torch.tensor(sign * loss)

        optimizer.step(closure)
        rows[t] = point
    return rows
