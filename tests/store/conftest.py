"""Stores to test with."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optrun.store import Checkpoint, RunState, Status, Store


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


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """A store of three runs, open for writing."""
    with new_store(tmp_path, runs=3) as store:
        yield store


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The directory of a store with something in every table."""
    with new_store(tmp_path, runs=2) as store:
        store.commit(
            curves={0: columns(0, 40), 1: columns(0, 40)},
            evaluations={0: {"step": [0, 40], "accuracy": [0.1, 0.9]}},
            states={0: RunState(status=Status.COMPLETED, steps=40, summary={"final_loss": 0.5})},
            params={0: {"weight": np.arange(6.0).reshape(2, 3), "bias": np.zeros(3, np.float32)}},
            checkpoints={0: Checkpoint({"exp_avg": np.ones((2, 5))}, {"step": 40})},
        )
        return store.path
