"""Random hyperparameters: what is drawn for an optimizer, and how far optrun is then from its oracle."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.registry import Option, optimizers
from tests.oracles import muon, rules, torch_rules

FACTOR = 10.0
NARROW = {"ns_a": 1.005, "ns_b": 1.005, "ns_c": 1.005}
"""Floats that may move only so far: Newton-Schulz diverges with other coefficients."""
RANGES = {"d": (1.0, 3.0), "t0": (1.0, 1000.0)}
LARGEST = 1e6
TRIES = 60

COUNT = 200
"""Draws for each optimizer and its flags."""


@dataclass(frozen=True)
class Outcome:
    """The largest difference over draws, how many had to be drawn anew, and the draw that differs most."""

    difference: float
    divergent: int
    chaotic: int
    worst: dict[str, Any]


def oracles(name: str, flags: Mapping[str, Any]) -> list[str]:
    """Return what an optimizer is compared with: torch that has it, and the formula that torch computes in bfloat16."""
    has = ["torch"] if rules.since(name, flags) == rules.FIRST else []
    return [*has, "formula"] if name == "Muon" else has


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


def compared(name: str, flags: Mapping[str, Any], dtype: str, oracle: str, number: int) -> Outcome:
    """Return how far optrun's lanes are from the oracle over this many draws.

    A draw is drawn anew where the oracle leaves the numbers below 1e6, and where it is chaotic: with a start and
    gradients that are one rounding error off it departs from itself by more than a tenth of the bound. What agrees
    that well is not asked.
    """
    tolerance = rules.bound(name, dtype, oracle) / 10
    joined = {"joined": True} if oracle == "torch" and not optimizers.find(name).per_tensor else {}
    largest, worst, divergent, chaotic = 0.0, {}, 0, 0
    pending = [(index, 0) for index in range(number)]
    while pending:
        options = [drawn(name, flags, *each) for each in pending]
        with np.errstate(all="ignore"):
            expected = theirs(name, options, dtype, oracle, **joined)
            tame = np.flatnonzero((np.abs(expected) < LARGEST).all(axis=(0, 2, 3)))
            options, expected = [options[i] for i in tame], expected[:, tame]
            found = rules.differences(
                rules.trajectories(name, _lanes(name, options), dtype, len(options)), expected
            )
            doubtful = np.flatnonzero(~(found <= tolerance))
            doubts = [options[i] for i in doubtful], expected[:, doubtful]
            wild = doubtful[_departures(name, *doubts, dtype, oracle, **joined) > tolerance]
        kept = np.setdiff1d(np.arange(len(tame)), wild)
        divergent, chaotic = divergent + len(pending) - len(tame), chaotic + len(wild)
        for i in kept:
            if not found[i] <= largest:
                largest, worst = float(found[i]), options[i]
        done = {int(tame[i]) for i in kept}
        pending = [(index, attempt + 1) for i, (index, attempt) in enumerate(pending) if i not in done]
        assert all(attempt < TRIES for _, attempt in pending), f"{rules.label(name, flags)}: no draw is fit"
    return Outcome(largest, divergent, chaotic, worst)


def _departures(
    name: str, options: list[dict[str, Any]], expected: Array, dtype: str, oracle: str, **how: Any
) -> Array:
    """Return how far the oracle departs from itself, `[lanes]`, shaken by rounding errors."""
    if not options:
        return np.zeros(0)
    shaken = [theirs(name, options, dtype, oracle, shaken=seed, **how) for seed in (1, 2)]
    departures = [rules.differences(each, expected) for each in shaken]
    return np.where(np.isnan(departures), np.inf, departures).max(axis=0)


def _lanes(name: str, options: list[dict[str, Any]]) -> dict[str, Any]:
    """Return options with their floats as one array, a value per lane; what is no float is the same in all."""
    known = optimizers.find(name).options()
    return {
        key: np.array([each[key] for each in options]) if known[key].is_float else value
        for key, value in (options[0] if options else {}).items()
    }


def _float(option: Option, rng: np.random.Generator) -> float:
    """Return a value around the default: log-uniform, as is the distance to 1 of momenta and of what 1 bounds."""
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
        decays = 1 in limits or option.name == "momentum"
        value = 1 + (option.default - 1) * factor if decays else option.default * factor
        if all(bound.holds(value) for bound in option.bounds):
            return float(value)
