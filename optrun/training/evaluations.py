"""The evaluations of a pack that are not yet committed."""

from collections.abc import Mapping

import numpy as np

from optrun.arrays import Array


class Evaluations:
    """Keeps the metrics, each `[B]`, of the evaluated steps.

    All lanes are evaluated every ``every`` steps (never if None), and each lane at its end.
    """

    def __init__(self, lanes: int, steps: int, every: int | None) -> None:
        self.last: tuple[int, dict[str, Array]] | None = None
        """The last evaluation of all lanes: its step and its metrics."""
        self._lanes = lanes
        self._steps = steps
        self._every = every
        self._kept: list[tuple[int, dict[str, Array]]] = []
        self._over: set[int] = set()
        """Lanes whose final evaluation has been taken."""

    def is_due(self, t: int) -> bool:
        """Whether all lanes are evaluated at step t."""
        return bool(self._every) and t % (self._every or 1) == 0

    def next_due(self, t: int, stop: int) -> int:
        """Return the first step from t on at which all lanes are evaluated; ``stop`` if that is first."""
        return min(stop, t + -t % self._every) if self._every else stop

    def add(self, t: int, metrics: dict[str, Array]) -> None:
        """Keep the evaluation of all lanes at step t."""
        self.last = t, metrics
        self._kept.append(self.last)

    def take(
        self, ends: Mapping[int, int], final: Mapping[int, Mapping[str, float]]
    ) -> dict[int, dict[str, Array]]:
        """Return and clear each lane's evaluations since the last call, up to its end.

        ``ends`` are the last steps of lanes that have ended since, ``final`` their final metrics.
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
        """Whether the final step of a lane was evaluated with all lanes."""
        return end < self._steps and self.is_due(end)

    def _columns(self, ends: Mapping[int, int]) -> dict[int, dict[str, Array]]:
        """Return the kept columns of each lane up to its end; lanes without rows are left out."""
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
