"""Stopping criteria on the device, one launch per step."""

from typing import Any

import numpy as np

from optrun.arrays import Array, Arrays
from optrun.kernels.cuda.engine import kernel
from optrun.kernels.cuda.source import watch_source


class DeviceStopping:
    """Stores the losses of up to ``steps`` steps, and finds the lanes that end; a lane ends once.

    A lane ends if the magnitude of its loss exceeds ``limit``, or is NaN; if ``factor`` is not 0, the limit is that
    factor times the magnitude of the loss at step 0, or of 1 if that is more. It also ends if its loss is at most
    ``target``, or has not fallen below its minimum for ``patience`` steps (0: never).
    """

    def __init__(
        self,
        arrays: Arrays,
        lanes: int,
        steps: int,
        *,
        limit: float,
        factor: float,
        target: float,
        patience: int,
    ) -> None:
        xp = arrays.xp
        self.losses: Array = xp.empty((steps, lanes), arrays.dtype)
        self._best: Array = xp.full(lanes, np.inf, np.float64)
        self._best_at: Array = xp.zeros(lanes, np.int64)
        self._alive: Array = xp.ones(lanes, bool)
        self._ending: Array = xp.zeros(lanes, bool)
        self._kernel: Any = kernel(watch_source(arrays.dtype), "watch")
        self._limit: Array = xp.full(lanes, limit, np.float64)
        self._criteria = (np.float64(factor), np.float64(target), np.int64(patience), np.int64(lanes))
        self._block = (min(256, max(32, -(-lanes // 32) * 32)),)
        self._blocks = (-(-lanes // self._block[0]),)

    def load(self, best: Array, best_at: Array, limit: Array) -> None:
        """Restore the lowest losses, their steps, and the limits."""
        self._best.set(best)  # type: ignore[attr-defined]
        self._best_at.set(best_at)  # type: ignore[attr-defined]
        self._limit.set(limit)  # type: ignore[attr-defined]

    def __call__(self, t: int, row: int, loss: Array) -> Array:
        """Store the losses of step t in a row, and return the mask `[B]` of the lanes that end at this step."""
        given = (loss, self.losses, self._best, self._best_at, self._limit, self._alive, self._ending)
        place, distance = (np.int64(t), np.int64(row)), np.int64(loss.strides[0] // loss.itemsize)
        self._kernel(self._blocks, self._block, (*given, *place, *self._criteria, distance))
        return self._ending
