"""Stores and curves to test with."""

from pathlib import Path
from typing import Any

import numpy as np

from optrun.store import Store


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
