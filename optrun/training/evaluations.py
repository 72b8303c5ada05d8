"""The evaluations of a pack that are not yet committed."""

from collections.abc import Mapping

import numpy as np

from optrun.arrays import Array
from optrun.store.curve_columns import CurveColumns
from optrun.training.of_runs import SeriesOfRuns


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
        self._is_over = np.zeros(lanes, bool)
        """Which lanes have ended, and their final evaluation has been taken."""

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

    def take(self, lanes: Array, ends: Array, final: Mapping[str, Array], runs: Array) -> SeriesOfRuns:
        """Return and clear the evaluations since the last call, of each lane up to its end, by the runs of the lanes.

        ``lanes`` ``[n]`` have ended since, at the steps ``ends``; ``final`` are their final metrics, if they have any.
        """
        steps = np.array([t for t, _ in self._kept], np.int64)
        rows = np.where(self._is_over, 0, len(steps))
        rows[lanes] = np.searchsorted(steps, ends, "right")
        has_last = np.zeros(self._lanes, bool)
        is_last = ~self._was_due(ends) if final else np.zeros(len(lanes), bool)
        has_last[lanes] = is_last
        counts = rows + has_last
        begins = np.cumsum(counts) - counts
        is_kept = np.arange(len(steps)) < rows[:, None]
        kept_at = (begins[:, None] + np.arange(len(steps)))[is_kept]
        last_at = (begins + rows)[lanes[is_last]]

        def column(kept: Array, last: Array) -> Array:
            """Return the values of all lanes, one after another, of those kept ``[B, n]`` and those of their ends."""
            values = np.empty(int(counts.sum()), last.dtype)
            values[kept_at] = kept[is_kept]
            values[last_at] = last[is_last]
            return values

        columns = {"step": column(np.broadcast_to(steps, is_kept.shape), np.asarray(ends, np.int64))}
        for name in self._kept[0][1] if self._kept else final:
            kept = np.array([metrics[name] for _, metrics in self._kept], np.float64)
            last = np.asarray(final[name] if final else np.empty(len(lanes)), np.float64)
            columns[name] = column(kept.reshape(len(steps), self._lanes).T, last)
        self._kept.clear()
        self._is_over[lanes] = True
        has_rows = counts > 0
        return SeriesOfRuns(runs[has_rows], CurveColumns(counts[has_rows], columns))

    def _was_due(self, ends: Array) -> Array:
        """Whether the final steps of lanes were evaluated with all lanes."""
        return (ends < self._steps) & (ends % self._every == 0) if self._every else np.zeros(len(ends), bool)
