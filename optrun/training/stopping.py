"""When a lane ends before its last step."""

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import BaseModel

from optrun.arrays import Array
from optrun.config.models import Stop
from optrun.store import Status


class StoppingState(BaseModel):
    """The lowest loss of each lane, None before there is one, and its step."""

    best: list[float | None]
    best_at: list[int]

    def of(self, lanes: Sequence[int]) -> "StoppingState":
        """Return the state of some of the lanes."""
        return StoppingState(
            best=[self.best[lane] for lane in lanes], best_at=[self.best_at[lane] for lane in lanes]
        )


class Stopping:
    """Watches the losses `[B]` of all lanes for what ends one of them."""

    def __init__(self, stop: Stop, lanes: int) -> None:
        self._stop = stop
        self._limit = float(np.finfo(np.float64).max) if stop.divergence is None else stop.divergence
        # Far from the limit, the sum of all squares, of which the last digits may be wrong, says enough.
        # Squares of smaller ones are no numbers of float32.
        self._is_quiet = stop.target is None and stop.patience is None and self._limit > 1e-15
        self._quiet_below = (self._limit / 2) * (self._limit / 2)
        self._target = -np.inf if stop.target is None else stop.target
        self._best = np.full(lanes, np.inf)
        self._best_at = np.zeros(lanes, np.int64)
        self.alive = np.ones(lanes, bool)
        self.living = lanes
        """How many lanes are watched."""
        self._magnitude = np.empty(lanes)
        self._bounded = np.empty(lanes, bool)
        self._above = np.empty(lanes, bool)

    def check(self, t: int, loss: Array) -> Iterator[tuple[int, Status, str]]:
        """Yield the lanes that end at step t: each with its status and the reason."""
        if self._is_quiet and float(loss.dot(loss)) < self._quiet_below:  # a NaN is not
            return
        np.absolute(loss, out=self._magnitude)
        np.less_equal(self._magnitude, self._limit, out=self._bounded)
        if not np.logical_and.reduce(self._bounded):  # a third of the time of all()
            for lane in np.flatnonzero(~self._bounded & self.alive):
                yield int(lane), Status.DIVERGED, f"loss is {loss[lane]:g} at step {t}"
        if self._stop.target is not None:
            np.greater(loss, self._target, out=self._above)
            for lane in np.flatnonzero(~self._above & self._bounded & self.alive):
                yield int(lane), Status.TARGET_REACHED, f"loss is {loss[lane]:g} at step {t}"
        if self._stop.patience is not None:
            better = loss < self._best
            self._best[better] = loss[better]
            self._best_at[better] = t
            for lane in np.flatnonzero((t - self._best_at >= self._stop.patience) & self.alive):
                best = f"{self._best[lane]:g} at step {self._best_at[lane]}"
                yield int(lane), Status.EARLY_STOPPED, f"no loss below {best} for {self._stop.patience} steps"

    def end(self, lanes: Sequence[int]) -> None:
        """Watch lanes no longer."""
        self.living -= int(np.count_nonzero(self.alive[lanes]))
        self.alive[lanes] = False

    def state(self) -> StoppingState:
        """Return what resuming needs."""
        best = [None if np.isinf(value) else float(value) for value in self._best]
        return StoppingState(best=best, best_at=self._best_at.tolist())

    def load_state(self, state: StoppingState) -> None:
        """Go on from a state."""
        self._best[:] = [np.inf if value is None else value for value in state.best]
        self._best_at[:] = state.best_at
