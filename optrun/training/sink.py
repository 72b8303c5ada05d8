"""What takes in the results of a pack."""

from collections.abc import Mapping
from typing import Protocol

from optrun.arrays import Array
from optrun.store import Checkpoint, RunState


class Sink(Protocol):
    """Where results go: a store, or memory."""

    @property
    def resumable(self) -> bool:
        """Whether a run can go on from a checkpoint that was committed at any time."""
        ...

    def commit(
        self,
        *,
        curves: Mapping[int, Mapping[str, Array]],
        evaluations: Mapping[int, Mapping[str, Array]],
        states: Mapping[int, RunState],
        params: Mapping[int, Mapping[str, Array]],
        checkpoints: Mapping[int, Checkpoint | None],
    ) -> None:
        """Keep, all or nothing, what was recorded since the last commit."""
