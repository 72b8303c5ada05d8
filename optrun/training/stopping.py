"""Stopping criteria: divergence, target loss, patience."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pydantic import BaseModel

from optrun.arrays import Array
from optrun.config.model.run import Divergence, Stop
from optrun.errors import counted
from optrun.store import Status

GREATEST = float(np.finfo(np.float64).max)


class StoppingState(BaseModel):
    """Per lane the lowest loss and its step, and the first loss; None for a loss not yet known.

    If the criteria observe a figure, it takes the place of the lowest loss, negated if higher is better.
    """

    best: list[float | None]
    best_at: list[int]
    first: list[float | None] = []
    """Empty if an older version wrote it, whose divergence limit did not depend on the first loss."""

    def select(self, lanes: Sequence[int]) -> "StoppingState":
        """Return the state of some of the lanes."""
        best, best_at, first = (
            [values[lane] for lane in lanes] if values else []
            for values in (self.best, self.best_at, self.first)
        )
        return StoppingState(best=best, best_at=best_at, first=first)  # type: ignore[arg-type]

    @staticmethod
    def join(states: Sequence["StoppingState"]) -> "StoppingState":
        """Join the states of different lanes."""
        return StoppingState(
            best=[value for state in states for value in state.best],
            best_at=[value for state in states for value in state.best_at],
            first=[value for state in states for value in state.first or [None] * len(state.best)],
        )


def factor_of(stop: Stop) -> float:
    """Return the factor of the first loss that counts as divergence; 0 if the limit is absolute or there is none."""
    return stop.divergence.factor if isinstance(stop.divergence, Divergence) else 0.0


def limit_of(stop: Stop) -> float:
    """Return the absolute divergence limit of the loss; the largest float if there is none."""
    return float(stop.divergence) if isinstance(stop.divergence, (int, float)) else GREATEST


def limits(stop: Stop, first: Array) -> Array:
    """Return the divergence limits `[B]` of the loss, given the first losses `[B]`, NaN where unknown.

    A first loss of magnitude below 1 counts as 1: a loss near 0 may grow a thousandfold without diverging.
    """
    if not (factor := factor_of(stop)):
        return np.full(first.shape, limit_of(stop))
    return np.where(
        np.isnan(first), GREATEST, np.minimum(factor * np.maximum(np.absolute(first), 1.0), GREATEST)
    )


class Stopping:
    """Checks the losses `[B]` of all lanes, or a figure of their evaluations, against the stopping criteria."""

    def __init__(self, stop: Stop, lanes: int) -> None:
        self._stop = stop
        self._first = np.full(lanes, np.nan)
        self._is_relative = factor_of(stop) > 0
        self._set_limits(self._first)
        self._observed = stop.metric or "loss"
        self._is_higher_better = stop.metric is not None and stop.goal_of(stop.metric) == "maximize"
        target = -np.inf if stop.target is None else stop.target
        # A Python float would be rounded to the precision of the losses that it is compared with.
        self._target = np.float64(-target if self._is_higher_better else target)
        self._best = np.full(lanes, np.inf)
        self._best_at = np.zeros(lanes, np.int64)
        self.alive = np.ones(lanes, bool)
        self.running = lanes
        """The number of lanes that have not ended."""
        self.improved = np.zeros(lanes, bool)
        """Which running lanes have a new best value by the last ones that were observed."""
        self._magnitude = np.empty(lanes)
        self._bounded = np.empty(lanes, bool)
        self._above = np.empty(lanes, bool)

    def check(self, t: int, loss: Array) -> Iterator[tuple[int, Status, str]]:
        """Yield each lane that ends at step t, with its status and the reason."""
        if t == 0 and self._is_relative:
            self._set_limits(loss)
        if self._has_fast_path and float(loss.dot(loss)) < self._fast_bound:  # false for NaN
            return
        np.absolute(loss, out=self._magnitude)
        np.less_equal(self._magnitude, self._limits, out=self._bounded)
        if not np.logical_and.reduce(self._bounded):  # takes a third of the time of all()
            for lane in np.flatnonzero(~self._bounded & self.alive):
                yield int(lane), *self.verdict(int(lane), t, float(loss[lane]))
        if self._stop.metric is None:
            yield from self._observe(t, loss)

    @property
    def limits(self) -> Array:
        """The limits ``[B]`` of the magnitude of losses."""
        return self._limits

    @property
    def target(self) -> float:
        """What losses have to be above; -inf where they need not be."""
        return float(self._target) if self._stop.metric is None else -np.inf

    def verdict(self, lane: int, t: int, loss: float) -> tuple[Status, str]:
        """Return the status of a lane whose loss at step t is beyond its limit, or not above the target; and why."""
        if not abs(loss) <= self._limits[lane]:
            return Status.DIVERGED, self._reason(lane, loss, f"at step {t}")
        return Status.TARGET_REACHED, f"{self._shown(loss)} at step {t}"

    def check_figures(self, t: int, figures: Mapping[str, Array]) -> Iterator[tuple[int, Status, str]]:
        """Yield each lane that ends by an evaluation at step t, whose figures are `[B]` each.

        Before a figure exists, as those of an average that begins later, no patience runs out.
        """
        if self._stop.metric is not None and self._stop.metric in figures:
            values = figures[self._stop.metric]
            np.isfinite(values, out=self._bounded)
            yield from self._observe(t, -values if self._is_higher_better else values)

    def _observe(self, t: int, values: Array) -> Iterator[tuple[int, Status, str]]:
        """Yield each lane that ends by the target or the patience, of values `[B]` that are to be low."""
        if self._stop.target is not None:
            np.greater(values, self._target, out=self._above)
            for lane in np.flatnonzero(~self._above & self._bounded & self.alive):
                yield int(lane), Status.TARGET_REACHED, f"{self._shown(values[lane])} at step {t}"
        if self._stop.patience is not None or self._stop.restore_best:
            np.less(values, self._best, out=self.improved)
            # A lane that has ended still takes steps until the next commit: its best value is that of its own end.
            self.improved &= self.alive
            self._best[self.improved] = values[self.improved]
            self._best_at[self.improved] = t
        if self._stop.patience is not None:
            for lane in np.flatnonzero((t - self._best_at >= self._stop.patience) & self.alive):
                beyond, sign = ("above", -1) if self._is_higher_better else ("below", 1)
                best = f"{beyond} {sign * self._best[lane]:g} at step {self._best_at[lane]}"
                long = counted(self._stop.patience, "step")
                yield int(lane), Status.EARLY_STOPPED, f"no {self._observed} {best} for {long}"

    def _shown(self, value: float) -> str:
        return f"{self._observed} is {-value if self._is_higher_better else value:g}"

    def may_end(self, lanes: Array, figures: Mapping[str, Array]) -> Array:
        """Return of which lanes `final_status` may be another one than completed."""
        if self._stop.target is not None:
            return np.ones(len(lanes), bool)
        return ~(np.absolute(figures["loss"]) <= self._limits[lanes])

    def final_status(self, lane: int, figures: Mapping[str, float], steps: int) -> tuple[Status, str]:
        """Return the status of a lane after its last step, and the reason, given its final figures."""
        loss, value = figures["loss"], figures[self._observed]
        value = -value if self._is_higher_better else value
        if not abs(loss) <= self._limits[lane]:
            return Status.DIVERGED, self._reason(lane, loss, f"after step {steps - 1}")
        if self._stop.target is not None and value <= self._target:
            return Status.TARGET_REACHED, f"{self._shown(value)} after the last step"
        return Status.COMPLETED, ""

    def best_step(self, lane: int, final: Mapping[str, float], steps: int) -> int | None:
        """Return the step of a lane's best evaluation; None if none was better than the final one, or finite."""
        value = -final[self._observed] if self._is_higher_better else final[self._observed]
        at = int(self._best_at[lane])
        return at if np.isfinite(self._best[lane]) and not value < self._best[lane] and at < steps else None

    def _set_limits(self, first: Array) -> None:
        self._first = first.astype(np.float64)
        self._limits = limits(self._stop, self._first)
        # Fast path: if the sum of squares is far below the limit, so is every loss, whatever the rounding errors.
        # The squares of smaller limits underflow in float32.
        least = float(self._limits.min())
        is_observed = self._stop.target is not None or self._stop.patience is not None
        is_needed = is_observed and self._stop.metric is None
        self._has_fast_path = not is_needed and least > 1e-15
        self._fast_bound = (least / 2) * (least / 2)

    def _reason(self, lane: int, loss: float, when: str) -> str:
        """Return why the loss of a lane counts as diverged."""
        words = f"loss is {loss:g} {when}"
        if not np.isfinite(loss):
            return words
        if not (factor := factor_of(self._stop)):
            return f"{words}, more than {self._limits[lane]:g} (stop.divergence)"
        first = self._first[lane]
        if abs(first) < 1:
            return f"{words}, more than {factor:g} (the first is {first:g})"
        return f"{words}, more than {factor:g} times the first, {first:g}"

    def end(self, lanes: Sequence[int] | Array) -> None:
        """Stop checking lanes."""
        self.running -= int(np.count_nonzero(self.alive[lanes]))
        self.alive[lanes] = False

    def state(self) -> StoppingState:
        """Return the state to resume from."""
        best, first = (
            [float(value) if np.isfinite(value) else None for value in values]
            for values in (self._best, self._first)
        )
        return StoppingState(best=best, best_at=self._best_at.tolist(), first=first)

    def load_state(self, state: StoppingState) -> None:
        """Restore a state."""
        self._best[:] = [np.inf if value is None else value for value in state.best]
        self._best_at[:] = state.best_at
        self._set_limits(first_losses(state))


def first_losses(state: StoppingState) -> Array:
    """Return the first losses `[B]` of a state, NaN where unknown."""
    return np.array([np.nan if value is None else value for value in state.first or [None] * len(state.best)])
