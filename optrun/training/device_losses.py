"""Steps ahead of the host: losses stay on the device, which marks the lanes that end, until the host looks at them."""

from collections.abc import Iterator

import numpy as np

from optrun.arrays import Array
from optrun.config.model.run import Stop
from optrun.kernels.cuda.stopping import Watch
from optrun.training.pack import Pack
from optrun.training.stopping import StoppingState, factor_of, firsts, limit_of, limits

STEPS = 64
"""The most steps from one look to the next."""


class Ahead:
    """The losses of the steps since the last look, and on the device the same criteria as `Stopping`'s."""

    steps = STEPS

    def __init__(self, pack: Pack, stop: Stop) -> None:
        self._arrays = pack.arrays
        self._lanes = pack.lanes
        self._stop = stop
        self._watch = Watch(
            pack.arrays,
            pack.lanes,
            STEPS,
            limit=limit_of(stop),
            factor=factor_of(stop),
            target=-np.inf if stop.target is None else stop.target,
            patience=stop.patience or 0,
        )
        self._marked: list[tuple[int, bool]] = []

    def is_full(self, t: int) -> bool:
        """Whether there is room for step t and no other; looks are at the same steps, wherever a run is resumed."""
        return (t + 1) % STEPS == 0 or len(self._marked) + 1 >= STEPS

    def load(self, state: StoppingState) -> None:
        """Go on from a state of `Stopping`."""
        best = [np.inf if value is None else value for value in state.best]
        self._watch.load(np.array(best), np.array(state.best_at, np.int64), limits(self._stop, firsts(state)))

    def mark(self, t: int, loss: Array, has_average: bool) -> Array:
        """Keep the loss of step t and return a mask `[B]`, on the device, of the lanes that end there."""
        self._marked.append((t, has_average))
        return self._watch(t, len(self._marked) - 1, loss)

    def fetched(self) -> Iterator[tuple[int, Array, bool]]:
        """Yield each step since the last look, its losses on the host, and whether there was an average then."""
        losses = self._arrays.to_host(self._watch.losses[: len(self._marked)])
        marked, self._marked = self._marked, []
        for (t, has_average), loss in zip(marked, losses, strict=True):
            yield t, loss, has_average
