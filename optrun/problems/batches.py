"""Minibatches: the samples of each step."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from optrun.arrays import Array, Arrays, stream
from optrun.problems.problem import Batches

Sampling = Literal["shuffle", "replacement", "fixed"]

KEPT_BYTES = 1 << 25
"""Approximate size of the indices that a process caches for its next packs."""

_orders: dict[tuple[int, int, int, int], Array] = {}


@dataclass(frozen=True)
class Phase:
    """Epochs whose batches are of one size: its first epoch and step, and where the batches of an epoch start."""

    epoch: int
    step: int
    starts: range

    def steps_before(self, epoch: int) -> int:
        """Return the number of steps before an epoch of this phase."""
        return self.step + (epoch - self.epoch) * len(self.starts)


def phases_of(samples: int, batch_size: int, milestones: Sequence[int] = (), gamma: int = 1) -> list[Phase]:
    """Return the phases of batches that at each milestone, an epoch, are gamma times as large, at most all samples."""
    phases = [Phase(0, 0, range(0, samples, batch_size))]
    for epoch in milestones:
        batch_size = min(batch_size * gamma, samples)
        if (starts := range(0, samples, batch_size)) != phases[-1].starts:
            phases.append(Phase(epoch, phases[-1].steps_before(epoch), starts))
    return phases


class SampleBatches(Batches):
    """Indices ``[S, n]`` of the samples of step t; lane i uses row i mod S.

    There is one row per distinct seed if the lanes repeat the same seeds in the same order, as a sweep with ``repeats``
    does; otherwise one row per lane. An epoch has ⌈samples / batch_size⌉ batches, of the size of its phase:

        shuffle      of a new permutation of the samples in each epoch; the last batch may be smaller
        replacement  drawn independently, each sample with probability 1 / samples; all batches have the full size
        fixed        of the samples in their order, the same in each epoch and of all seeds; the last may be smaller
    """

    def __init__(
        self,
        arrays: Arrays,
        seeds: Sequence[int],
        samples: int,
        phases: Sequence[Phase],
        sampling: Sampling = "shuffle",
    ) -> None:
        self.arrays = arrays
        self.seeds = [0] if sampling == "fixed" else _period(list(seeds))
        self.samples = samples
        self.sampling = sampling
        self.phases = phases
        self._steps = [phase.step for phase in phases]
        self._epoch = -1
        self._batches: list[Array] = []

    def __getitem__(self, t: int) -> Array:
        phase = self.phases[bisect_right(self._steps, t) - 1]
        epoch, position = divmod(t - phase.step, len(phase.starts))
        epoch = phase.epoch + (0 if self.sampling == "fixed" else epoch)
        if epoch != self._epoch:
            self._batches = self._of_epoch(epoch, phase.starts)
            self._epoch = epoch
        return self._batches[position]

    def _of_epoch(self, epoch: int, starts: range) -> list[Array]:
        if self.sampling == "fixed":
            orders = [np.arange(self.samples)]
        else:
            full = len(starts) * starts.step
            drawn = full if self.sampling == "replacement" else 0
            orders = [_order(seed, epoch, self.samples, drawn) for seed in self.seeds]
        batches = np.split(np.stack(orders), list(starts[1:]), axis=-1)
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
    is_periodic = seeds == seeds[:period] * (len(seeds) // period)
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
        if len(_orders) * order.nbytes > KEPT_BYTES:
            _orders.clear()
        _orders[key] = order
    return order
