"""Schedules of the parity tests, for optrun and for torch."""

from typing import Any

import numpy as np

from optrun.arrays import Array, Parameters
from optrun.optim import SGD
from optrun.registry import schedulers

STEPS = 200
BASE = 0.37

Spec = tuple[str, dict[str, Any]]

SCHEDULES: list[Spec] = [
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 40}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.01, "end_factor": 0.5, "total_iters": 70}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 150}),
    ("StepLR", {"step_size": 7}),
    ("StepLR", {"step_size": 30, "gamma": 0.9}),
    ("ExponentialLR", {"gamma": 0.97}),
    ("CosineAnnealingLR", {"T_max": 200}),
    ("CosineAnnealingLR", {"T_max": 60, "eta_min": 1e-3}),
    (
        "SequentialLR",
        {
            "schedulers": [("LinearLR", {"total_iters": 10}), ("CosineAnnealingLR", {"T_max": 190})],
            "milestones": [10],
        },
    ),
    (
        "SequentialLR",
        {
            "schedulers": [
                ("ConstantLR", {"factor": 0.1, "total_iters": 20}),
                ("ExponentialLR", {"gamma": 0.98}),
                ("StepLR", {"step_size": 11, "gamma": 0.7}),
            ],
            "milestones": [20, 120],
        },
    ),
]


def label(spec: Spec) -> str:
    """Return the name of a schedule."""
    name, options = spec
    return f"{name}({', '.join(f'{key}={_shown(value)}' for key, value in options.items())})"


def rates(spec: Spec) -> Array:
    """Return optrun's rate at each step, as the optimizer sees it."""
    optimizer = SGD(Parameters.of({"x": np.zeros(1)}), lr=BASE)
    scheduler = _built(spec, optimizer)
    return _rates_seen(optimizer, scheduler)


def torch_rates(spec: Spec) -> Array:
    """Return torch's rate at each step."""
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)

    def built(name: str, options: dict[str, Any]) -> Any:
        members = {
            key: [built(*each) for each in value] for key, value in options.items() if key == "schedulers"
        }
        return getattr(torch.optim.lr_scheduler, name)(optimizer, **{**options, **members})

    scheduler = built(*spec)
    return _rates_seen(optimizer, scheduler)


def _rates_seen(optimizer: Any, scheduler: Any) -> Array:
    """Return the rate at each step, stepping as torch's users do."""
    found = []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(found)


def _built(spec: Spec, optimizer: Any = None) -> Any:
    name, options = spec
    members = {key: [_built(each) for each in value] for key, value in options.items() if key == "schedulers"}
    return schedulers.find(name)(optimizer, **{**options, **members})


def _shown(value: Any) -> str:
    if isinstance(value, list) and isinstance(value[0], tuple):
        return f"[{', '.join(map(label, value))}]"
    return str(value)
