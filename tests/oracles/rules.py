"""Every optimizer × option set × gradient of the parity tests, for optrun and for torch."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from optrun.arrays import Array, Arrays, Parameters
from optrun.errors import ConfigError
from optrun.optim import Optimizer
from optrun.registry import Option, optimizers

STEPS = 200
LR = 1e-2
START = np.array([1.5, -2.0, 0.7, 3.1, -1.2])


def quadratic(x: Array, t: int) -> Array:
    return np.geomspace(0.1, 10, len(x)) * (x - np.array([1.0, -1.0, 2.0, 4.0, -3.0]))


def banana(x: Array, t: int) -> Array:
    """The gradient of Rosenbrock's function in five dimensions, bounded so that ascents stay finite."""
    gradient = np.zeros_like(x)
    inner = x[1:] - x[:-1] ** 2
    gradient[:-1] += -4 * x[:-1] * inner - 0.02 * (1 - x[:-1])
    gradient[1:] += 2 * inner
    return np.tanh(gradient * 0.1)


def noisy(x: Array, t: int) -> Array:
    return 0.3 * (x - 5) + np.sin(7.0 * t + np.arange(len(x)))


GRADIENTS = {gradient.__name__: gradient for gradient in (quadratic, banana, noisy)}


def variants(rule: type[Optimizer]) -> Iterator[dict[str, Any]]:
    """Yield the defaults, each flag alone, all floats moved, and all floats moved with each flag."""
    options = rule.options()
    moved = {name: _moved(option) for name, option in options.items() if option.is_float and name != "lr"}
    flags: list[dict[str, Any]] = [
        {},
        *({name: True} for name, option in options.items() if option.type is bool),
    ]
    floats: list[dict[str, Any]] = [{}, *({name: value} for name, value in moved.items()), moved]
    for flag in flags:
        for chosen in floats:
            try:
                complete = {name: option.default for name, option in options.items()} | flag | chosen
                rule.validate_options(complete)
            except ConfigError:
                continue
            yield {"lr": LR, **flag, **chosen}


def _moved(option: Option) -> float:
    """Return a value of a hyperparameter near its default, within its bounds."""
    value = option.default * 0.9 if option.default else 0.1
    return float(value if all(bound.holds(value) for bound in option.bounds) else option.default * 1.1)


def cases() -> list[tuple[str, dict[str, Any], str]]:
    """Return every optimizer's name with each of its option sets and each gradient."""
    return [
        (name, options, gradient)
        for name in optimizers
        if optimizers.find(name).__module__.startswith("optrun.")
        for options in variants(optimizers.find(name))
        for gradient in GRADIENTS
    ]


def label(name: str, options: dict[str, Any], gradient: str) -> str:
    """Return the name of a case."""
    chosen = ",".join(f"{key}={value:g}" for key, value in options.items())
    return f"{name}({chosen}) on {gradient}"


def trajectory(name: str, options: dict[str, Any], gradient: str, dtype: str = "float64") -> Array:
    """Return optrun's parameters after each step, `[STEPS, n]`."""
    params = Parameters.of({"x": START}, arrays=Arrays(dtype=dtype))
    optimizer = optimizers.find(name)(params, **options)
    rows = []
    for t in range(STEPS):
        params.grads["x"][0] = GRADIENTS[gradient](params["x"][0], t)
        optimizer.step()
        rows.append(params["x"][0].copy())
    return np.array(rows)


def torch_trajectory(name: str, options: dict[str, Any], gradient: str, dtype: str = "float64") -> Array:
    """Return torch's parameters after each step, `[STEPS, n]`."""
    import torch

    rule = optimizers.find(name)
    values = {key: option.default for key, option in rule.options().items()} | options
    for joint, parts in rule.tuples.items():
        values[joint] = tuple(values.pop(part) for part in parts)
    parameter = torch.tensor(START, dtype=getattr(torch, dtype), requires_grad=True)
    optimizer = getattr(torch.optim, name)([parameter], **values)
    rows = []
    for t in range(STEPS):
        gradient_now = GRADIENTS[gradient](parameter.detach().numpy(), t)
        parameter.grad = torch.tensor(gradient_now, dtype=parameter.dtype)
        optimizer.step()
        rows.append(parameter.detach().numpy().copy())
    return np.array(rows)


def largest_difference(ours: Array, theirs: Array) -> float:
    """Return the largest difference of two trajectories, relative to the size of each row."""
    scale = np.abs(theirs).max(axis=1, keepdims=True)
    return float((np.abs(ours - theirs) / scale).max())
