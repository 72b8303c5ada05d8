"""What a map keeps of runs that have ended: a figure and a status, and for its minimum the parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.errors import RunFailedError
from optrun.store import RunState, Status
from optrun.store.types import STEPS_TO_TARGET
from optrun.sweeps.map_file import CODES, Pixels
from optrun.training.memory_store import NONE

DIVERGED_AT = "diverged_at"
"""The step at which a run diverged."""
STEPS = "steps"
"""The steps that a run made until it reached its target or diverged."""
MINIMUM = "minimum"
"""Which minimum a run ended at."""
OF_MAPS = (DIVERGED_AT, STEPS, MINIMUM)
"""Figures that are those of maps alone."""

_OF_STEPS = {
    DIVERGED_AT: (Status.DIVERGED,),
    STEPS_TO_TARGET: (Status.TARGET_REACHED,),
    STEPS: (Status.TARGET_REACHED, Status.DIVERGED),
}
"""Figures that are a number of steps, and how the runs ended that have them."""


class MapSink:
    """A sink that keeps the figures of a pack's runs, whose parameters have these names."""

    resumable = False

    def __init__(self, color: str, lanes: int, parameters: Sequence[str]) -> None:
        self._color, self._parameters = color, parameters
        self._value, self._status = np.full(lanes, np.nan), np.zeros(lanes, np.uint8)
        self._ends: Array | None = None

    def put_into(self, found: Pixels, runs: Array) -> None:
        """Write what was kept of all lanes into a map, whose runs they are."""
        found.value.flat[runs], found.status.flat[runs] = self._value, self._status
        if found.ends is not None and self._ends is not None:
            found.ends.reshape(-1, found.ends.shape[-1])[runs] = self._ends

    def commit(
        self,
        *,
        states: Mapping[int, RunState] = NONE,
        params: Mapping[int, Mapping[str, Array]] = NONE,
        **_: Any,
    ) -> None:
        for lane, state in states.items():
            if state.status is Status.FAILED:
                raise RunFailedError(state.reason)
            if state.status.final:
                self._status[lane] = CODES[state.status]
                value = self._value_of(state)
                self._value[lane] = np.nan if value is None else value
                if self._color == MINIMUM and state.status is not Status.DIVERGED:
                    self._keep_ends([lane], {name: of[None] for name, of in params[lane].items()})

    def end(
        self,
        runs: Array,
        statuses: Sequence[Status],
        steps: Array,
        figures: Mapping[str, Array],
        params: Mapping[str, Array],
    ) -> None:
        codes = np.array([CODES[each] for each in statuses], np.uint8)
        self._status[runs] = codes
        diverged = codes == CODES[Status.DIVERGED]
        if self._color == MINIMUM:
            self._keep_ends(runs[~diverged], {name: of[~diverged] for name, of in params.items()})
            return
        if self._color in _OF_STEPS:
            values = steps
            has_value = np.isin(codes, [CODES[each] for each in _OF_STEPS[self._color]])
        else:
            values = figures["loss" if self._color == "final_loss" else self._color]
            has_value = ~diverged & np.isfinite(values)
        self._value[runs] = np.where(has_value, values, np.nan)

    def _keep_ends(self, lanes: Any, params: Mapping[str, Array]) -> None:
        flat = np.concatenate([params[name].reshape(len(lanes), -1) for name in self._parameters], axis=1)
        if self._ends is None:
            self._ends = np.full((len(self._value), flat.shape[1]), np.nan)
        self._ends[lanes] = flat

    def _value_of(self, state: RunState) -> float | None:
        if self._color == MINIMUM:
            return None
        if self._color in _OF_STEPS:
            return state.steps if state.status in _OF_STEPS[self._color] else None
        return state.figure(self._color)
