"""The evaluations of a pack since the last commit."""

from collections.abc import Mapping

import numpy as np

from optrun.arrays import Array


class Evaluations:
    """Keeps the metrics, each `[B]`, of the steps at which all lanes are evaluated.

    ``every`` so many steps there is an evaluation, None for none but that of each lane's end.
    """

    def __init__(self, lanes: int, steps: int, every: int | None) -> None:
        self.last: tuple[int, dict[str, Array]] | None = None
        """The last evaluation of all, and its step."""
        self._lanes = lanes
        self._steps = steps
        self._every = every
        self._kept: list[tuple[int, dict[str, Array]]] = []
        self._over: set[int] = set()
        """Lanes whose end was taken."""

    def is_due(self, t: int) -> bool:
        """Whether there is one at step t."""
        return bool(self._every) and t % (self._every or 1) == 0

    def add(self, t: int, metrics: dict[str, Array]) -> None:
        """Keep the evaluation of step t."""
        self.last = t, metrics
        self._kept.append(self.last)

    def take(
        self, ends: Mapping[int, int], final: Mapping[int, Mapping[str, float]]
    ) -> dict[int, dict[str, Array]]:
        """Return each lane's evaluations since the last time, up to its end, and forget them.

        ``ends`` are the steps of those that have ended since, ``final`` is how they were evaluated there.
        """
        taken = self._columns(ends) if self._kept else {}
        ended = [lane for lane in final if lane in ends and not self._was_due(ends[lane])]
        last = {"step": np.array([ends[lane] for lane in ended], np.int64)}
        for name in final[ended[0]] if ended else ():
            last[name] = np.array([final[lane][name] for lane in ended], np.float64)
        for row, lane in enumerate(ended):
            own = {name: values[row : row + 1] for name, values in last.items()}
            before = taken.get(lane)
            taken[lane] = _joined(before, own) if before else own
        self._kept.clear()
        self._over.update(ends)
        return taken

    def _was_due(self, end: int) -> bool:
        """Whether a lane that ends at this step was evaluated there with all others."""
        return end < self._steps and self.is_due(end)

    def _columns(self, ends: Mapping[int, int]) -> dict[int, dict[str, Array]]:
        """Return what is kept of each lane up to its end, if it is anything."""
        steps = np.array([t for t, _ in self._kept], np.int64)
        columns = {
            name: np.array([metrics[name] for _, metrics in self._kept], np.float64)
            for name in self._kept[0][1]
        }
        rows = {lane: int(np.searchsorted(steps, end, "right")) for lane, end in ends.items()}
        return {
            lane: {"step": steps[:own], **{name: values[:own, lane] for name, values in columns.items()}}
            for lane in range(self._lanes)
            if lane not in self._over and (own := rows.get(lane, len(steps)))
        }


def _joined(before: Mapping[str, Array], after: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.concatenate([before[name], values]) for name, values in after.items()}
