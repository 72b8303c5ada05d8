"""Penalties on weights, and their gradients, for all lanes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from optrun.arrays import Array, Arrays
from optrun.problems.scratch import Scratch


class Penalty(ABC):
    """A strength times a sum over weights; ``strength`` is a number or ``[B]``, and some lanes may have none."""

    share: float = 1.0
    """What the strength is multiplied by in the value, but not in the slope."""

    def __init__(self, arrays: Arrays, scratch: Scratch, strength: float | Array) -> None:
        self.arrays, self.scratch = arrays, scratch
        strengths = np.asarray(strength)
        self._of_slope, self._of_value = arrays.array(strengths), arrays.array(strengths * self.share)
        self._lacks = arrays.xp.asarray(strengths == 0) if strengths.ndim and not strengths.all() else None

    @abstractmethod
    def _term(self, weights: Array, out: Array) -> None:
        """Write each weight's term of the sum."""

    @abstractmethod
    def _slope(self, weights: Array, out: Array) -> Array:
        """Return each weight's slope of share × its term, which may be written to ``out``."""

    def value(self, params: Mapping[str, Array], names: Sequence[str]) -> Array:
        """Return the penalty ``[B]``."""
        lanes = len(params[names[0]])
        total, of_layer = self.scratch("penalty", 2, lanes)
        total[...] = 0
        for name in names:
            terms = self.scratch(f"terms {name}", *params[name].shape)
            self._term(params[name], terms)
            total += self.arrays.xp.sum(terms.reshape(lanes, -1), axis=1, out=of_layer)
        total *= self._of_value
        if self._lacks is not None:
            self.arrays.xp.copyto(total, 0, where=self._lacks)  # 0 · inf would be NaN
        found: Array = total
        return found

    def add_gradient(
        self, params: Mapping[str, Array], grads: Mapping[str, Array], names: Sequence[str]
    ) -> None:
        """Add the penalty's gradient."""
        for name in names:
            slopes = self.scratch(f"terms {name}", *params[name].shape)
            slope = self._slope(params[name], slopes)
            self.arrays.xp.multiply(slope, self._of_slope.reshape(-1, 1, 1), out=slopes)
            if self._lacks is not None:
                self.arrays.xp.copyto(slopes, -0.0, where=self._lacks[:, None, None])
            grad = grads[name]
            grad += slopes


class SquaredPenalty(Penalty):
    """l2/2 ‖w‖², whose gradient is l2 w."""

    share = 0.5

    def _term(self, weights: Array, out: Array) -> None:
        self.arrays.xp.multiply(weights, weights, out=out)

    def _slope(self, weights: Array, out: Array) -> Array:
        return weights


class AbsolutePenalty(Penalty):
    """l1 ‖w‖₁, whose gradient is l1 sign w, 0 at 0."""

    def _term(self, weights: Array, out: Array) -> None:
        self.arrays.xp.absolute(weights, out=out)

    def _slope(self, weights: Array, out: Array) -> Array:
        signs: Array = self.arrays.xp.sign(weights, out=out)
        return signs
