"""Random options of the schedules, and how far optrun's rates are then from torch's."""

import zlib
from typing import Any, Literal, get_args, get_origin

import numpy as np

from optrun.registry import Added, Option, schedulers
from tests.oracles.schedules import BASE, SCHEDULES, Spec, rates, torch_rates

FACTORS = ("ConstantLR", "LinearLR", "MultiStepLR", "StepLR", "ExponentialLR", "PolynomialLR")
"""What torch may chain: factors of the rate, which do not ask where it came from."""

MEMBERS = {"ChainedScheduler": FACTORS, "SequentialLR": (*FACTORS, "CosineAnnealingLR")}
"""What composites are drawn from: closed forms, which torch restarts where they begin."""

RANGES: dict[str, tuple[float, float]] = {
    "base_lr": (0.01, 0.2),
    "base_momentum": (0.1, 0.5),
    "div_factor": (2.0, 50.0),
    "end_factor": (0.0, 1.0),
    "eps": (0.0, 1e-3),
    "eta_min": (0.0, 0.2),
    "factor": (0.01, 0.99),
    "final_div_factor": (2.0, 1e4),
    "gamma": (0.9, 1.0),
    "max_lr": (0.2, 2.0),
    "max_momentum": (0.5, 0.99),
    "min_lr": (0.0, 0.1),
    "pct_start": (0.05, 0.6),
    "power": (0.3, 4.0),
    "start_factor": (0.01, 1.0),
    "swa_lr": (0.0, 1.0),
    "threshold": (0.0, 0.3),
}
COUNTS: dict[str, tuple[int, int]] = {
    "cooldown": (0, 10),
    "patience": (0, 10),
    "step_size_down": (1, 100),
    "step_size_up": (1, 100),
    "T_mult": (1, 4),
    "total_steps": (200, 400),
}


def names() -> list[str]:
    """Return the schedulers of which options are drawn: those that torch has."""
    known = {name for name, _ in SCHEDULES}
    return [name for name in schedulers if name in known]


def bound(title: str) -> float:
    """Return what a row of the ledger may show: torch's own cosine drifts where its end is near the rate."""
    return 1e-12 if title.startswith("CosineAnnealingLR, ") else 1e-13


def drawn(name: str, index: int) -> Spec:
    """Return a schedule with its options drawn; each index has a generator of its own."""
    return _drawn(name, np.random.default_rng([zlib.crc32(name.encode()), index]))


def difference(spec: Spec) -> float:
    """Return the largest difference of optrun's rates from torch's, relative to the base rate."""
    return float(np.abs(rates(spec) - torch_rates(spec)).max() / BASE)


def _drawn(name: str, rng: np.random.Generator) -> Spec:
    if name in MEMBERS:
        chosen = [_drawn(str(rng.choice(MEMBERS[name])), rng) for _ in range(rng.integers(2, 4))]
        milestones = {} if name == "ChainedScheduler" else {"milestones": _steps(rng, len(chosen) - 1)}
        return name, {"schedulers": chosen, **milestones}
    # Torch lacks what has been added.
    options = [option for option in schedulers.find(name).options().values() if not option.marks(Added)]
    return name, {option.name: value for option in options if (value := _value(option, rng)) is not None}


def _value(option: Option, rng: np.random.Generator) -> Any:
    """Return a value of an option, or None to leave it at its default."""
    if option.name in RANGES:
        return float(rng.uniform(*RANGES[option.name]))
    if option.name in COUNTS or option.type is int:
        return int(rng.integers(*COUNTS.get(option.name, (2, 250))))
    if option.name == "milestones":
        return _steps(rng, 3)
    if option.name == "lr_lambda":
        return f"1 - {rng.uniform(0, 0.1)} / (t + 1)"
    if option.type is bool:
        return bool(rng.random() < 0.5)
    choices = get_args(option.type) if get_origin(option.type) is Literal else (None,)
    return choices[rng.integers(len(choices))]


def _steps(rng: np.random.Generator, count: int) -> list[int]:
    return sorted(int(step) for step in rng.choice(np.arange(1, 190), count, replace=False))
