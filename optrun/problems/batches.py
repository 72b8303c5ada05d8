"""Minibatches: the samples of each step."""

import threading
from collections.abc import Sequence
from typing import Literal

import numpy as np

from optrun.arrays import Array, Arrays, stream
from optrun.forks import renew_after_fork
from optrun.problems.problem import Batches

Sampling = Literal["shuffle", "replacement", "fixed"]

KEPT_BYTES = 1 << 25
"""Approximate size of the indices that a process caches for its next packs."""

_orders: dict[tuple[int, int, int, int], Array] = {}
_keeping = threading.Lock()
"""Guards the cache: packs may run in several threads of a process."""
renew_after_fork(globals(), "_keeping")


class SampleBatches(Batches):
    """Indices ``[S, n]`` of the samples of step t; lane i uses row i mod S.

    There is one row per distinct seed if the lanes repeat the same seeds in the same order, as a sweep with ``repeats``
    does; otherwise one row per lane. An epoch has ⌈samples / batch_size⌉ batches:

        shuffle      of a new permutation of the samples in each epoch; the last batch may be smaller
        replacement  drawn independently, each sample with probability 1 / samples; all batches have the full size
        fixed        of the samples in their order, the same in each epoch and of all seeds; the last may be smaller
    """

    def __init__(
        self,
        arrays: Arrays,
        seeds: Sequence[int],
        samples: int,
        batch_size: int,
        sampling: Sampling = "shuffle",
    ) -> None:
        self.arrays = arrays
        self.seeds = [0] if sampling == "fixed" else _period(list(seeds))
        self.samples = samples
        self.sampling = sampling
        self.starts = range(0, samples, batch_size)
        self._epoch = -1
        self._batches: list[Array] = []

    def __getitem__(self, t: int) -> Array:
        epoch, position = divmod(t, len(self.starts))
        if self.sampling == "fixed":
            epoch = 0
        if epoch != self._epoch:
            self._batches = self._of_epoch(epoch)
            self._epoch = epoch
        return self._batches[position]

    def _of_epoch(self, epoch: int) -> list[Array]:
        if self.sampling == "fixed":
            orders = [np.arange(self.samples)]
        else:
            full = len(self.starts) * self.starts.step
            drawn = full if self.sampling == "replacement" else 0
            orders = [_order(seed, epoch, self.samples, drawn) for seed in self.seeds]
        batches = np.split(np.stack(orders), list(self.starts[1:]), axis=-1)
        # One transfer per epoch: its batches are contiguous slices of one array.
        flat = self.arrays.xp.asarray(np.concatenate([batch.ravel() for batch in batches]))
        ends = np.cumsum([0, *(batch.size for batch in batches)]).tolist()
        return [
            flat[start:end].reshape(batch.shape)
            for start, end, batch in zip(ends, ends[1:], batches, strict=False)
        ]


def _period(seeds: list[int]) -> list[int]:
    """Return the seeds up to their first repetition if they are periodic, otherwise all of them."""
    period = len(set(seeds))
    is_periodic = len(seeds) % period == 0 and seeds == seeds[:period] * (len(seeds) // period)
    return seeds[:period] if is_periodic else seeds


def _order(seed: int, epoch: int, samples: int, drawn: int = 0) -> Array:
    """Return the samples of an epoch, cached for other packs with the same seed.

    They are so many independent draws with replacement, or a permutation if ``drawn`` is 0.
    """
    key = (seed, epoch, samples, drawn)
    order = _orders.get(key)
    if order is None:
        if drawn:
            order = stream(seed, "batches with replacement", epoch).integers(samples, size=drawn)
        else:
            order = stream(seed, "batch order", epoch).permutation(samples)
        with _keeping:
            if sum(kept.nbytes for kept in _orders.values()) > KEPT_BYTES:
                _orders.clear()
            _orders[key] = order
    return order
