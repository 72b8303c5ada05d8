"""Asynchronous device steps: losses stay on the GPU and are synchronised every N steps."""

from collections.abc import Iterator

import numpy as np

from optrun.arrays import Array
from optrun.config.model.run import Stop
from optrun.kernels.cuda.stopping import DeviceStopping
from optrun.training.pack import Pack
from optrun.training.stopping import StoppingState, factor_of, first_losses, limit_of, limits

STEPS = 64
"""Largest number of steps between two synchronisations."""


class DeviceLosses:
    """The losses since the last synchronisation; applies the criteria of `Stopping` on the device."""

    steps = STEPS

    def __init__(self, pack: Pack, stop: Stop) -> None:
        self._arrays = pack.arrays
        self._lanes = pack.lanes
        self._stop = stop
        self._watch = DeviceStopping(
            pack.arrays,
            pack.lanes,
            STEPS,
            limit=limit_of(stop),
            factor=factor_of(stop),
            target=-np.inf if stop.target is None else stop.target,
            patience=stop.patience or 0,
        )
        self._stored: list[tuple[int, bool]] = []

    def is_full(self, t: int) -> bool:
        """Whether step t is the last before a synchronisation; these steps are the same if a run is resumed."""
        return (t + 1) % STEPS == 0

    def load(self, state: StoppingState) -> None:
        """Restore the state of `Stopping`."""
        best = [np.inf if value is None else value for value in state.best]
        self._watch.load(
            np.array(best), np.array(state.best_at, np.int64), limits(self._stop, first_losses(state))
        )

    def store(self, t: int, loss: Array, has_average: bool) -> Array:
        """Store the loss of step t and return the mask `[B]`, on the device, of the lanes that end at this step."""
        self._stored.append((t, has_average))
        return self._watch(t, len(self._stored) - 1, loss)

    def fetch(self) -> Iterator[tuple[int, Array, bool]]:
        """Yield the steps since the last synchronisation: t, the losses on the host, and whether an average existed."""
        losses = self._arrays.to_host(self._watch.losses[: len(self._stored)])
        stored, self._stored = self._stored, []
        for (t, has_average), loss in zip(stored, losses, strict=True):
            yield t, loss, has_average
