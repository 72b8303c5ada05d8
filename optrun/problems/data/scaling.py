"""Scaling to mean 0 and variance 1."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from optrun.arrays import Array


@dataclass(frozen=True, eq=False)
class Scaling:
    """Scales columns by the mean and the standard deviation of training samples.

        (x - mean) / std        a column that is constant in training is only shifted

    Extreme columns are first multiplied by a power of 2, since their squares would overflow or underflow:
    x · 2⁻ᵉ, with e = 0 for all others.
    """

    shift: Array
    """``[*shape]``"""
    scale: Array
    """``[*shape]``"""
    exponent: Array
    """``[*shape]``"""

    @classmethod
    def fit(cls, train: Array) -> Self:
        """Return the scaling of training samples ``[n, *shape]``."""
        least, most = train.min(axis=0), train.max(axis=0)
        magnitude = np.maximum(np.abs(least), np.abs(most))
        exponent = np.where((magnitude > 1e100) | (magnitude < 1e-100), np.frexp(magnitude)[1], 0)
        if np.any(exponent):
            with np.errstate(over="ignore", under="ignore"):
                train = np.ldexp(train, -exponent)
            least, most = train.min(axis=0), train.max(axis=0)
        # For a constant column, the computed mean and deviation may have rounding errors.
        is_constant = least == most
        shift = np.where(is_constant, least, train.mean(axis=0))
        return cls(shift, np.where(is_constant, 1.0, train.std(axis=0)), exponent)

    def apply(self, values: Array) -> Array:
        """Return samples ``[N, *shape]``, scaled."""
        if np.any(self.exponent):
            with np.errstate(over="ignore", under="ignore"):
                values = np.ldexp(values, -self.exponent)
        scaled: Array = values - self.shift
        scaled /= self.scale
        return scaled

    def invert(self, scaled: Array) -> Array:
        """Return the samples ``[N, *shape]`` of scaled ones."""
        with np.errstate(over="ignore", under="ignore"):
            values: Array = np.ldexp(scaled * self.scale + self.shift, self.exponent)
        return values

    def to_json(self) -> dict[str, Any]:
        """Return the scaling as plain data."""
        plain = {"shift": self.shift.tolist(), "scale": self.scale.tolist()}
        return plain | {"exponent": self.exponent.tolist()} if np.any(self.exponent) else plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Return the scaling of what `to_json` has returned."""
        shift, scale = (np.array(plain[name], np.float64) for name in ("shift", "scale"))
        exponent = np.array(plain["exponent"], np.int64) if "exponent" in plain else np.zeros_like(shift, int)
        return cls(shift, scale, exponent)
