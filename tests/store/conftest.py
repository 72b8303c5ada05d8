"""Stores to test with."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optrun.store import Checkpoint, RunState, Status
from tests.store.samples import columns, new_store


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
            states={
                0: RunState(status=Status.COMPLETED, steps=40, summary={"final_loss": 0.5}),
                1: RunState(status=Status.RUNNING, steps=40),
            },
            params={0: {"weight": np.arange(6.0).reshape(2, 3), "bias": np.zeros(3, np.float32)}},
            checkpoints={0: Checkpoint({"exp_avg": np.ones((2, 5))}, {"step": 40})},
        )
        return store.path
