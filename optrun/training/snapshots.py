"""Snapshots: the parameters that a run keeps along its way, at the steps of `record.params`."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from optrun.arrays import Array
from optrun.training.pack import Pack

BUFFER_BYTES = 1 << 26
"""Approximate size of the snapshots that wait in memory; beyond it, a commit is due."""


class SnapshotBuffer:
    """The snapshots of a pack's lanes that are not yet committed."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._in_order = pack.configs[0].record.kept(pack.steps)
        self._steps = frozenset(self._in_order)
        self._taken: dict[int, dict[int, dict[str, Array]]] = {}
        self._bytes = 0

    def is_due(self, t: int) -> bool:
        """Whether the parameters before the update of step t are kept."""
        return t in self._steps

    def next_due(self, t: int, stop: int) -> int:
        """Return the first step from t on whose parameters are kept; ``stop`` if that is first."""
        place = bisect_left(self._in_order, t)
        return self._in_order[place] if place < len(self._in_order) else stop

    @property
    def full(self) -> bool:
        """Whether a commit is due."""
        return self._bytes >= BUFFER_BYTES

    def add(self, t: int, lanes: Sequence[int]) -> None:
        """Copy the current parameters of lanes."""
        to_host = self._pack.arrays.to_host
        params: dict[str, Any] = {name: to_host(values) for name, values in self._pack.evaluated().items()}
        for lane in lanes:
            own = {name: values[lane].copy() for name, values in params.items()}
            self._taken.setdefault(lane, {})[t] = own
            self._bytes += sum(values.nbytes for values in own.values())

    def take(self) -> dict[int, dict[int, dict[str, Array]]]:
        """Return and clear the snapshots by lane and step."""
        taken, self._taken, self._bytes = self._taken, {}, 0
        return taken
