"""Minibatches: which samples each step draws."""

import threading
from collections.abc import Sequence

import numpy as np

from optrun.arrays import Array, Arrays, stream
from optrun.problems.problem import Batches

KEPT_BYTES = 1 << 25
"""About how much of the epochs' orders a process keeps for its next pack."""

_orders: dict[tuple[int, int, int], Array] = {}
_keeping = threading.Lock()
"""Packs may run in threads of one process."""


class SampleBatches(Batches):
    """Indices of step t's samples, ``[S, n]``: lane i draws those of row i mod S.

    There is a row for each seed where the lanes have the same few seeds again and again, as the settings of a sweep
    have with ``repeats``; else one for each lane. Each epoch goes once through a permutation of its own; its last
    batch holds what is left.
    """

    def __init__(self, arrays: Arrays, seeds: Sequence[int], samples: int, batch_size: int) -> None:
        self.arrays = arrays
        self.seeds = _period(list(seeds))
        self.samples = samples
        self.starts = range(0, samples, batch_size)
        self._epoch = -1
        self._batches: list[Array] = []

    def __getitem__(self, t: int) -> Array:
        epoch, position = divmod(t, len(self.starts))
        if epoch != self._epoch:
            self._batches = self._shuffle(epoch)
            self._epoch = epoch
        return self._batches[position]

    def _shuffle(self, epoch: int) -> list[Array]:
        orders = [_order(seed, epoch, self.samples) for seed in self.seeds]
        batches = np.split(np.stack(orders), list(self.starts[1:]), axis=-1)
        # One transfer for the epoch: its batches lie one after the other, each contiguous.
        flat = self.arrays.xp.asarray(np.concatenate([batch.ravel() for batch in batches]))
        ends = np.cumsum([0, *(batch.size for batch in batches)]).tolist()
        return [
            flat[start:end].reshape(batch.shape)
            for start, end, batch in zip(ends, ends[1:], batches, strict=False)
        ]


def _period(seeds: list[int]) -> list[int]:
    """Return the seeds after which the same come again, up to the last."""
    period = len(set(seeds))
    is_periodic = len(seeds) % period == 0 and seeds == seeds[:period] * (len(seeds) // period)
    return seeds[:period] if is_periodic else seeds


def _order(seed: int, epoch: int, samples: int) -> Array:
    """Return the order of an epoch; runs of one seed share it, in other packs of a sweep too."""
    key = (seed, epoch, samples)
    order = _orders.get(key)
    if order is None:
        order = stream(seed, "batch order", epoch).permutation(samples)
        with _keeping:
            if sum(kept.nbytes for kept in _orders.values()) > KEPT_BYTES:
                _orders.clear()
            _orders[key] = order
    return order
