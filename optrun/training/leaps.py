"""Leaps: many steps of a pack at once, in an engine, where nothing but the recorder observes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optrun.arrays import Array
from optrun.kernels import engine_named
from optrun.kernels.trajectory import Elements, TrajectoryEngine, Watch
from optrun.training.pack import Pack

OF_RULE = 14
"""About as many instructions has a rule for each element: those of Adam."""


def leaps_of(pack: Pack) -> "Leaps | None":
    """Return the leaps of a pack; None where every step is made by itself."""
    config = pack.configs[0]
    engine, elements = engine_named(config.engine, config.backend), pack.problem.elements
    schedules = pack.schedulers
    is_plain = (
        pack.optimizer.makes_stretches
        and not pack.keeps_average
        and not pack.optimizer.evaluated
        and not config.record.measured
        and all(each.is_known_ahead and not each.needs_metrics for each in schedules)
        and (config.stop.metric is not None or config.stop.patience is None)
    )
    if elements is None or not is_plain or not isinstance(engine, TrajectoryEngine):
        return None
    return Leaps(pack, engine, elements)


@dataclass(frozen=True)
class Landing:
    """What came of the steps from some step on."""

    steps: int
    recorded: range
    """The recorded steps, counted from the first."""
    ended: Sequence[tuple[int, int]]
    """The lanes that ended and the steps at which they did, in the order of these."""
    last: Array
    """The losses ``[B]`` of lanes at these steps."""
    final: Array
    """The parameters ``[B, n]`` of lanes at these steps."""


class Leaps:
    """Makes the steps, and tells of each lane where its loss left its bounds."""

    def __init__(self, pack: Pack, engine: TrajectoryEngine, elements: Elements) -> None:
        self._pack, self._engine, self._elements = pack, engine, elements
        self._loop = f"{type(pack.optimizer).__name__} {elements.listing}"
        self._is_worth = False
        lanes, dtype = pack.lanes, pack.arrays.dtype
        self._final = pack.arrays.empty((lanes, pack.params.size))
        self._ended, self._last = np.zeros(lanes, np.intp), np.empty(lanes, dtype)
        self._limits: Array = np.empty(0)
        self._within = np.empty(lanes, dtype)

    def is_worth(self, left: int) -> bool:
        """Whether the steps that are left are to be made at once; asked before every step that is made by itself."""
        if not self._is_worth:
            instructions = len(self._elements.listing.instructions) + OF_RULE * self._pack.params.size
            self._is_worth = self._engine.is_worth(self._loop, instructions, self._pack.lanes, left)
            if self._is_worth:
                self._pack.look_far(left)
        return self._is_worth

    def make(
        self, t: int, most: int, every: int, losses: Array, limits: Array, target: float, running: Array
    ) -> "Landing":
        """Make the steps from t on, at most so many.

        Losses are recorded at multiples of ``every``, and written to the first rows of ``losses``, ``[n, B]``. A lane
        ends if the magnitude of its loss is not within its limit, or if its loss is not above the target.
        """
        dtype = self._pack.arrays.dtype
        stretch = self._pack.optimizer.stretch(most)
        if limits is not self._limits:
            self._limits, self._within = limits, _at_most(limits, dtype)
        recorded = range(-t % every, stretch.steps, every)
        watch = Watch(
            recorded,
            losses,
            self._within,
            _at_most(np.array([target]), dtype),
            running.astype(np.uint8),
            self._ended,
            self._last,
            self._final,
        )
        self._engine.trajectory(self._elements, stretch, watch)()
        lanes = np.flatnonzero(running & (watch.running == 0))
        lanes = lanes[np.argsort(self._ended[lanes], kind="stable")]
        ended = list(zip(lanes.tolist(), (t + self._ended[lanes]).tolist(), strict=True))
        return Landing(stretch.steps, recorded, ended, self._last, self._final)


def _at_most(values: Array, dtype: str) -> Array:
    """Return the largest numbers of a dtype that are not above the values, which compare with numbers of it alike."""
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype)
    return np.where(rounded > values, np.nextafter(rounded, np.array(-np.inf, dtype)), rounded)
