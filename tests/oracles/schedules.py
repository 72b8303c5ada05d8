"""Schedules of the parity tests, for optrun and for torch."""

import math
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
    ("MultiStepLR", {"milestones": [30, 80, 80, 150]}),
    ("MultiStepLR", {"milestones": [1, 2, 199], "gamma": 0.7}),
    ("PolynomialLR", {}),
    ("PolynomialLR", {"total_iters": 150, "power": 2.5}),
    ("PolynomialLR", {"total_iters": 199, "power": 0.5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 30}),
    ("CosineAnnealingWarmRestarts", {"T_0": 7, "T_mult": 2, "eta_min": 1e-3}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 20}),
    (
        "CyclicLR",
        {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 13, "step_size_down": 31, "mode": "triangular2"},
    ),
    (
        "CyclicLR",
        {
            "base_lr": 0.0,
            "max_lr": 0.3,
            "step_size_up": 9,
            "mode": "exp_range",
            "gamma": 0.99,
            "base_momentum": 0.5,
            "max_momentum": 0.99,
        },
    ),
    (
        "CyclicLR",
        {
            "base_lr": 0.1,
            "max_lr": 0.3,
            "step_size_up": 11,
            "scale_fn": "1 / (5 ** (t * 0.0001))",
            "cycle_momentum": False,
        },
    ),
    (
        "CyclicLR",
        {
            "base_lr": 0.1,
            "max_lr": 0.3,
            "step_size_up": 11,
            "scale_fn": "0.99 ** t",
            "scale_mode": "iterations",
        },
    ),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 200}),
    ("OneCycleLR", {"max_lr": 0.5, "epochs": 30, "steps_per_epoch": 7, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 250, "three_phase": True, "pct_start": 0.4}),
    (
        "OneCycleLR",
        {
            "max_lr": 0.5,
            "total_steps": 200,
            "pct_start": 0.0,
            "div_factor": 5.0,
            "final_div_factor": 10.0,
            "base_momentum": 0.3,
            "max_momentum": 0.6,
        },
    ),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 201, "pct_start": 1.0, "cycle_momentum": False}),
    ("SWALR", {"swa_lr": 0.05}),
    ("SWALR", {"swa_lr": 0.5, "anneal_epochs": 20, "anneal_strategy": "linear"}),
    ("SWALR", {"swa_lr": 0.05, "anneal_epochs": 0}),
    ("LambdaLR", {"lr_lambda": "0.95 ** t"}),
    ("LambdaLR", {"lr_lambda": "0.5 + 0.5 * cos(pi * t / 50) if t < 150 else 1 / sqrt(t)"}),
    ("MultiplicativeLR", {"lr_lambda": "0.95"}),
    ("MultiplicativeLR", {"lr_lambda": "1 - 1 / (t + 1) ** 2"}),
    (
        "ChainedScheduler",
        {
            "schedulers": [
                ("LinearLR", {"total_iters": 10}),
                ("ExponentialLR", {"gamma": 0.98}),
                ("MultiStepLR", {"milestones": [50, 90]}),
                ("ConstantLR", {"factor": 0.5, "total_iters": 70}),
            ]
        },
    ),
    (
        "SequentialLR",
        {
            "schedulers": [
                ("LinearLR", {"total_iters": 10}),
                ("CosineAnnealingWarmRestarts", {"T_0": 20, "T_mult": 2}),
                ("PolynomialLR", {"total_iters": 80}),
            ],
            "milestones": [10, 110],
        },
    ),
    ("ReduceLROnPlateau", {"patience": 3}),
    ("ReduceLROnPlateau", {"mode": "max", "factor": 0.5, "patience": 2, "cooldown": 4, "min_lr": 0.01}),
    (
        "ReduceLROnPlateau",
        {"factor": 0.7, "patience": 0, "threshold": 0.3, "threshold_mode": "abs", "eps": 0.01},
    ),
]
"""What torch has too."""

OWN: list[Spec] = [
    ("WSD", {"stable_steps": 60, "decay_steps": 50}),
    ("WSD", {"stable_steps": 60, "decay_steps": 50, "decay": "cosine", "final_factor": 0.1}),
    ("WSD", {"stable_steps": 0, "decay_steps": 90, "decay": "linear"}),
    (
        "WSD",
        {
            "stable_steps": 60,
            "decay_steps": 50,
            "decay": "exp",
            "final_factor": 0.01,
            "stable": "rsqrt",
            "timescale": 30,
        },
    ),
    (
        "WSD",
        {
            "stable_steps": 40,
            "decay_steps": 50,
            "decay": "power",
            "decay_power": 2.5,
            "stable": "power",
            "stable_power": 0.7,
            "timescale": 9,
        },
    ),
    ("InverseSqrtLR", {"timescale": 20}),
    ("REXLR", {"total_iters": 150}),
    ("REXLR", {"total_iters": 60, "curvature": 0.9}),
    ("TanhDecayLR", {"total_iters": 150}),
    ("PiecewiseLR", {"boundaries": [30, 80], "factors": [0.5, 0.1]}),
    ("PiecewiseLR", {"boundaries": [0, 30, 80], "factors": [0.0, 1.0, 0.2], "interpolation": "linear"}),
    ("PiecewiseLR", {"boundaries": [30, 80], "factors": [2.0, 0.0], "interpolation": "cosine"}),
    ("ChebyshevLR", {"total_steps": 64, "condition": 100.0}),
    ("ChebyshevLR", {"total_steps": 50}),
    ("ChebyshevLR", {"total_steps": 30, "order": "decreasing"}),
    ("ChebyshevLR", {"total_steps": 30, "order": "increasing"}),
    ("CosineAnnealingWarmRestarts", {"T_0": 20, "T_mult": 2, "eta_min": 1e-3, "gamma": 0.6}),
    ("TanhDecayLR", {"total_iters": 60, "lower": -2.0, "upper": 1.5}),
    (
        "SequentialLR",
        {
            "schedulers": [
                (
                    "ChainedScheduler",
                    {"schedulers": [("LinearLR", {"total_iters": 9}), ("ExponentialLR", {"gamma": 0.99})]},
                ),
                ("MultiplicativeLR", {"lr_lambda": "1 - 1 / (t + 3)"}),
                ("SWALR", {"swa_lr": 0.05}),
                ("OneCycleLR", {"max_lr": 0.5, "total_steps": 50}),
            ],
            "milestones": [40, 90, 120],
        },
    ),
    (
        "ChainedScheduler",
        {
            "schedulers": [
                ("LinearLR", {"start_factor": 0.0, "total_iters": 9}),
                (
                    "SequentialLR",
                    {
                        "schedulers": [("StepLR", {"step_size": 4}), ("SWALR", {"swa_lr": 0.01})],
                        "milestones": [30],
                    },
                ),
                ("ReduceLROnPlateau", {"patience": 3, "factor": 0.5}),
            ]
        },
    ),
]
"""Nested as torch cannot, and what torch has no class for."""

EVERY = [*SCHEDULES, *OWN]

METRICS = np.exp(np.cumsum(np.random.default_rng(7).normal(-0.02, 0.2, STEPS)))
"""What the schedules that listen are told at each step."""


def label(spec: Spec) -> str:
    """Return the name of a schedule."""
    name, options = spec
    return f"{name}({', '.join(f'{key}={_shown(value)}' for key, value in options.items())})"


def rates(spec: Spec) -> Array:
    """Return optrun's rate and momentum at each step `[STEPS, 2]`, as the optimizer sees them."""
    optimizer = SGD(Parameters.of({"x": np.zeros(1)}), lr=BASE)
    scheduler = built(spec, optimizer)
    return _seen(optimizer, scheduler, needs_metrics=scheduler.needs_metrics)


def torch_rates(spec: Spec) -> Array:
    """Return torch's rate and momentum at each step `[STEPS, 2]`."""
    import torch
    from torch.optim import swa_utils

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)

    def torchs(name: str, options: dict[str, Any]) -> Any:
        found = {key: _as_torch(key, value, torchs) for key, value in options.items()}
        cls = getattr(torch.optim.lr_scheduler, name, None) or getattr(swa_utils, name)
        return cls(**found) if name == "ChainedScheduler" else cls(optimizer, **found)

    return _seen(optimizer, torchs(*spec), needs_metrics=spec[0] == "ReduceLROnPlateau")


def _as_torch(key: str, value: Any, torchs: Any) -> Any:
    if key == "schedulers":
        return [torchs(*each) for each in value]
    if key not in ("lr_lambda", "scale_fn"):
        return value
    names = {"pi": math.pi, "cos": math.cos, "sqrt": math.sqrt}
    return lambda t: eval(value, {}, {**names, "t": t})


def _seen(optimizer: Any, scheduler: Any, *, needs_metrics: bool) -> Array:
    """Return the rate and the momentum at each step, stepping as torch's users do."""
    found = []
    for metrics in METRICS.tolist():
        found.append([optimizer.param_groups[0][name] for name in ("lr", "momentum")])
        optimizer.step()
        scheduler.step(*([metrics] if needs_metrics else []))
    return np.array(found)


def built(spec: Spec, optimizer: Any = None) -> Any:
    """Return optrun's schedule."""
    name, options = spec
    members = {key: [built(each) for each in value] for key, value in options.items() if key == "schedulers"}
    return schedulers.find(name)(optimizer, **{**options, **members})


def _shown(value: Any) -> str:
    if isinstance(value, list) and isinstance(value[0], tuple):
        return f"[{', '.join(map(label, value))}]"
    return str(value)
