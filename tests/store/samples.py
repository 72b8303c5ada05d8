"""Stores and curves to test with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optrun.store import RunState, Store, blobs
from optrun.store.config_columns import ConfigColumns
from optrun.store.curve_columns import CURVE, EVALUATION, CurveColumns
from optrun.store.json_pattern import JsonPattern
from optrun.store.pack_columns import PackColumns
from optrun.store.states import States


def new_store(parent: Path, runs: int = 1, **options: Any) -> Store:
    """Create a store of runs that nothing was recorded of."""
    pairs = [({"optimizer": {"name": "Adam", "lr": 1e-3}}, seed) for seed in range(runs)]
    return Store.create(parent, "a run", config_yaml="name: a run\n", runs=pairs, **options)


def columns(first: int, last: int) -> dict[str, Any]:
    """Return the rows first … last-1 of a curve whose values follow from the step."""
    steps = np.arange(first, last)
    return {
        "step": steps,
        "loss": 1 / (1.0 + steps),
        "lr": np.full(steps.size, 1e-3),
        "grad_norm": np.sqrt(steps),
    }


def joined(of: Sequence[Mapping[str, Any]]) -> CurveColumns:
    """Return the series of these runs, each columns ``[n]`` of the same names, or nothing."""
    names = list(next(filter(None, of), ()))
    counts = np.array([len(each["step"]) if each else 0 for each in of], np.int64)
    return CurveColumns(counts, {name: np.concatenate([each[name] for each in of if each]) for name in names})


def packed(
    left: Mapping[int, tuple[RunState, Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]],
) -> PackColumns:
    """Return as columns what runs leave: of each its state, curves, evaluations and parameters."""
    states, curves, evaluations, params = zip(*left.values(), strict=True)
    series = {kind: joined(own) for kind, own in ((CURVE, curves), (EVALUATION, evaluations))}
    named = {name: np.stack([each[name] for each in params]) for name in params[0]}
    return PackColumns(list(left), States.of(states), series, named)


def config_columns(count: int) -> ConfigColumns:
    """Return the configs of runs, of which every third is of another kind and has a float more."""
    places = np.arange(count)
    one = {"optimizer": {"name": "Adam", "lr": JsonPattern.marks(2)[0]}, "seed": JsonPattern.marks(2)[1]}
    two = {"b": JsonPattern.marks(3)[1], "seed": JsonPattern.marks(3)[2], "a": JsonPattern.marks(3)[0]}
    patterns = [JsonPattern.of(blobs.dumps(each, "")) for each in (one, two)]
    values = [1.0 / (1 + places), np.where(places % 3 == 0, 5e-324 * places, np.nan)]
    return ConfigColumns(patterns, [1, 2], (places % 3 == 0).astype(np.int64), values, places + 7)
