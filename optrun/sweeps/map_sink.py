"""What a map keeps of runs that have ended: a figure and a status, and for its minimum the parameters."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.errors import RunFailedError
from optrun.store import Status
from optrun.store.types import STEPS_TO_TARGET
from optrun.sweeps.map_file import Pixels
from optrun.training.of_runs import ParamsOfRuns, StatesOfRuns

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

    def commit(self, *, states: StatesOfRuns, params: ParamsOfRuns, **_: Any) -> None:
        failed = np.flatnonzero(states.states.are(Status.FAILED))
        if len(failed):
            raise RunFailedError(states.at(int(failed[0])).reason)
        has_ended = states.states.ended
        lanes, ended = states.runs[has_ended], states.states.chosen(has_ended)
        self._status[lanes] = ended.codes
        if self._color == MINIMUM:
            self._keep_ends(lanes, ~ended.are(Status.DIVERGED), params)
        elif self._color in _OF_STEPS:
            self._value[lanes] = np.where(ended.are(*_OF_STEPS[self._color]), ended.steps, np.nan)
        else:
            self._value[lanes] = ended.values(self._color)[0]

    def _keep_ends(self, lanes: Array, is_settled: Array, params: ParamsOfRuns) -> None:
        if not len(lanes):
            return
        flat = np.concatenate([params.own[name].reshape(len(lanes), -1) for name in self._parameters], axis=1)
        if self._ends is None:
            self._ends = np.full((len(self._value), flat.shape[1]), np.nan)
        self._ends[lanes[is_settled]] = flat[is_settled]
