"""The interface to which a pack commits its results."""

from collections.abc import Mapping
from typing import Protocol

from optrun.arrays import Array
from optrun.store import Checkpoint
from optrun.training.of_runs import ParamsOfRuns, SeriesOfRuns, StatesOfRuns
from optrun.training.segments import Segments


class Sink(Protocol):
    """A destination of results: a store, or memory."""

    @property
    def resumable(self) -> bool:
        """Whether runs can be resumed from their last committed checkpoint."""
        ...

    def commit(
        self,
        *,
        curves: Segments,
        evaluations: SeriesOfRuns,
        states: StatesOfRuns,
        params: ParamsOfRuns,
        snapshots: Mapping[int, Mapping[int, Mapping[str, Array]]],
        checkpoints: Mapping[int, Checkpoint | None],
    ) -> None:
        """Store atomically what was recorded since the last commit."""
