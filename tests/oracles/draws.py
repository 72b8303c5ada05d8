"""Random hyperparameters: what is drawn for an optimizer, and how far optrun is then from its oracle."""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.registry import Option, optimizers
from tests.oracles import muon, rules, torch_rules
from tests.oracles.objectives import start

FACTOR = 10.0
NARROW = {"ns_a": 1.005, "ns_b": 1.005, "ns_c": 1.005}
"""Floats that may move only so far: Newton-Schulz diverges with other coefficients."""
RANGES = {"t0": (1.0, 1000.0)}
LARGEST = 1e6
TENSOR_RULES = ("Adafactor", "LBFGS", "Muon")
TRIES = 60

Oracle = Callable[..., Array]


@dataclass(frozen=True)
class Outcome:
    """The largest difference over draws, how many had to be drawn anew, and the draw that differs most."""

    difference: float
    divergent: int
    chaotic: int
    worst: dict[str, Any]


def oracles(name: str) -> list[str]:
    """Return what an optimizer is compared with: torch, and the formula that torch computes in bfloat16."""
    return ["torch", "formula"] if name == "Muon" else ["torch"]


def theirs(name: str, options: list[dict[str, Any]], dtype: str, oracle: str = "torch", **how: Any) -> Array:
    """Return the oracle's trajectories, one lane per options."""
    return (
        muon.trajectories(options, **how)
        if oracle == "formula"
        else torch_rules.trajectories(name, options, dtype, **how)
    )


def drawn(name: str, flags: Mapping[str, Any], index: int, attempt: int) -> dict[str, Any]:
    """Return the flags with every float drawn; each index and attempt has a generator of its own."""
    rule = optimizers.find(name)
    rng = np.random.default_rng([zlib.crc32(rules.label(name, flags).encode()), index, attempt])
    options = [option for option in rule.options().values() if option.is_float]
    while True:
        chosen = {**flags, **{option.name: _float(option, rng) for option in options}}
        if rules.possible(rule, chosen):
            return chosen


def compared(
    name: str, flags: Mapping[str, Any], dtype: str, oracle: str = "torch", count: int = 200
) -> Outcome:
    """Return how far optrun's lanes are from the oracle over this many draws.

    A draw is drawn anew where the oracle leaves the numbers below 1e6, and where it is chaotic: started one rounding
    error aside it departs from itself by more than a tenth of the bound. What agrees that well is not asked.
    """
    tolerance, joined = (
        rules.bound(name, dtype, oracle) / 10,
        {} if name in TENSOR_RULES or oracle == "formula" else {"joined": True},
    )
    pending, attempts = list(range(count)), [0] * count
    largest, worst, divergent, chaotic = 0.0, {}, 0, 0
    while pending:
        options = [drawn(name, flags, index, attempts[index]) for index in pending]
        with np.errstate(all="ignore"):
            expected = theirs(name, options, dtype, oracle, **joined)
            ours = rules.trajectories(name, _lanes(options), dtype, len(options))
            found = rules.differences(ours, expected)
            tame = (np.abs(expected) < LARGEST).all(axis=(0, 2, 3))
            doubtful = np.flatnonzero(tame & ~(found <= tolerance))
            wild = _chaotic(
                name, [options[i] for i in doubtful], dtype, oracle, expected[:, doubtful], joined
            )
        again = ~tame
        again[doubtful[wild > tolerance]] = True
        divergent += int((~tame).sum())
        chaotic += int((again & tame).sum())
        for i in np.flatnonzero(~again):
            if not found[i] <= largest:
                largest, worst = float(found[i]), options[i]
        pending = [index for index, repeat in zip(pending, again, strict=True) if repeat]
        for index in pending:
            attempts[index] += 1
            assert attempts[index] < TRIES, (
                f"{rules.label(name, flags)}: no draw {index} is fit for a comparison"
            )
    return Outcome(largest, divergent, chaotic, worst)


def _chaotic(
    name: str, options: list[dict[str, Any]], dtype: str, oracle: str, expected: Array, how: dict[str, Any]
) -> Array:
    """Return how far the oracle departs from itself, `[lanes]`, started one rounding error up or down."""
    if not options:
        return np.zeros(0)
    origin = start(rules.SIZE).astype(dtype)
    departures = [
        rules.differences(
            theirs(name, options, dtype, oracle, origin=np.nextafter(origin, side, dtype=dtype), **how),
            expected,
        )
        for side in (np.inf, -np.inf)
    ]
    return np.where(np.isnan(departures), np.inf, departures).max(axis=0)


def _lanes(options: list[dict[str, Any]]) -> dict[str, Any]:
    """Return options with their floats as one array, a value per lane; what is no float is the same in all."""
    return {
        key: np.array([each[key] for each in options]) if type(value) is float else value
        for key, value in options[0].items()
    }


def _float(option: Option, rng: np.random.Generator) -> float:
    """Return a value around the default: log-uniform, as is the distance to 1 of what must be below or above 1."""
    limits = {bound.limit for bound in option.bounds}
    if option.name in RANGES:
        low, high = RANGES[option.name]
        return float(np.exp(rng.uniform(math.log(low), math.log(high))))
    if not option.default:
        zero, value = rng.random() < 0.3, float(np.exp(rng.uniform(math.log(1e-3), 0.0)))
        return 0.0 if zero else value
    spread = math.log(NARROW.get(option.name, FACTOR))
    while True:
        factor = math.exp(rng.uniform(-spread, spread))
        value = 1 + (option.default - 1) * factor if 1 in limits else option.default * factor
        if all(bound.holds(value) for bound in option.bounds):
            return float(value)
