"""The interface to which a pack commits its results."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from optrun.arrays import Array
from optrun.store import Checkpoint, RunState, Status


class Sink(Protocol):
    """A destination of results: a store, or memory."""

    @property
    def resumable(self) -> bool:
        """Whether runs can be resumed from their last committed checkpoint."""
        ...

    def commit(
        self,
        *,
        curves: Mapping[int, Mapping[str, Array]],
        evaluations: Mapping[int, Mapping[str, Array]],
        states: Mapping[int, RunState],
        params: Mapping[int, Mapping[str, Array]],
        snapshots: Mapping[int, Mapping[int, Mapping[str, Array]]],
        checkpoints: Mapping[int, Checkpoint | None],
    ) -> None:
        """Store atomically what was recorded since the last commit."""


@runtime_checkable
class EndsSink(Protocol):
    """A destination of no more than how runs have ended."""

    def end(
        self,
        runs: Array,
        statuses: Sequence[Status],
        steps: Array,
        figures: Mapping[str, Array],
        params: Mapping[str, Array],
    ) -> None:
        """Keep of runs statuses, steps and final figures, all ``[n]``, and final parameters ``[n, *shape]``."""
        ...
