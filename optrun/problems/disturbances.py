"""Noise of the lanes of a pack: what each step draws, and what is kept from step to step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optrun.arrays import Array, Arrays, stream
from optrun.problems.noise import KINDS, NoiseKind
from optrun.problems.problem import Batches


class Disturbances:
    """The kinds of noise of a problem's lanes, in their order, and what they keep from step to step."""

    def __init__(self, arrays: Arrays, given: Any, dim: int) -> None:
        self.arrays, self.dim = arrays, dim
        self.kinds: list[NoiseKind] = []
        for each in given if isinstance(given, list) else [given]:
            made: Callable[..., NoiseKind] = KINDS[each["kind"]]
            self.kinds.append(made(**{name: value for name, value in each.items() if name != "kind"}))
        self.nothing = arrays.empty((0,))
        self.kept: dict[str, Array] = {}
        """By the place of a kind, ``[B, slots, n]``."""

    def batches(self, seeds: Sequence[int]) -> "Draws":
        """Return the draws of each step."""
        return Draws(self, seeds)

    def apply(self, loss: Array, grad: Array, drawn: "Drawn") -> None:
        """Change losses ``[B]`` and gradients ``[B, n]``."""
        xp = self.arrays.xp
        for place, (kind, own) in enumerate(zip(self.kinds, drawn.of_kinds, strict=True)):
            kept = self.nothing
            if kind.slots:
                key = f"noise.{place}"
                if key not in self.kept:
                    self.kept[key] = xp.zeros((len(grad), kind.slots, self.dim), grad.dtype)
                kept = self.kept[key].transpose(1, 2, 0)
            kind.apply(xp, loss, grad.T, own, kept, drawn.t)


@dataclass(frozen=True)
class Drawn:
    """What is drawn for step t: of each kind an array ``[n, B]``, empty where it draws nothing."""

    t: int
    of_kinds: Sequence[Array]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return np.concatenate([each.ravel() for each in self.of_kinds], dtype=dtype)


class Draws(Batches):
    """What each step draws for all kinds of noise, for ``BLOCK`` steps at a time from each lane's own streams."""

    BLOCK = 64

    def __init__(self, of: Disturbances, seeds: Sequence[int]) -> None:
        self._of = of
        self._seeds = list(seeds)
        self._block = -1
        self._drawn: list[Array | None] = []

    def __getitem__(self, t: int) -> Drawn:
        block, step = divmod(t, self.BLOCK)
        if block != self._block:
            self._drawn = [self._of_kind(place, kind, block) for place, kind in enumerate(self._of.kinds)]
            self._block = block
        return Drawn(t, [self._of.nothing if each is None else each[step] for each in self._drawn])

    def _of_kind(self, place: int, kind: NoiseKind, block: int) -> Array | None:
        index = (block, place) if place else (block,)
        shape = (self.BLOCK, self._of.dim)
        lanes = len(self._seeds)
        shaping = [np.broadcast_to(getattr(kind, name), lanes).tolist() for name in kind.shaping]
        each_lane = list(zip(self._seeds, *shaping, strict=True))
        drawn: dict[tuple[Any, ...], int] = {}
        arrays: list[Array] = []
        for key in dict.fromkeys(each_lane):
            options = dict(zip(kind.shaping, key[1:], strict=True))
            own = kind.draw(stream(key[0], "gradient noise", *index), shape, **options)
            if own is None:
                return None
            drawn[key] = len(arrays)
            arrays.append(own)
        of_lanes = np.stack(arrays, axis=-1)[:, :, [drawn[key] for key in each_lane]]
        return self._of.arrays.array(kind.prepared(of_lanes, block * self.BLOCK))
