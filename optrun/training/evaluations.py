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
        taken: dict[int, dict[str, Array]] = {}
        for lane in range(self._lanes) if self._kept else final:
            end = ends.get(lane)
            rows = [
                (t, {name: values[lane] for name, values in metrics.items()})
                for t, metrics in self._kept
                if lane not in self._over and (end is None or t <= end)
            ]
            if end is not None and lane in final and not (end < self._steps and self.is_due(end)):
                rows.append((end, dict(final[lane])))
            if rows:
                columns = {name: np.array([row[name] for _, row in rows], np.float64) for name in rows[0][1]}
                taken[lane] = {"step": np.array([t for t, _ in rows], np.int64), **columns}
        self._kept.clear()
        self._over.update(ends)
        return taken
