"""Activations between dense layers: each bound to the array ``z [..., n, width]`` that it overwrites by a(z)."""

import math
from abc import ABC, abstractmethod
from typing import Any

from optrun.arrays import Array


class Activation(ABC):
    """a(z), in place, and the product of a gradient with its slope a'(z)."""

    def __init__(self, xp: Any, z: Array) -> None:
        self.xp = xp
        self.z = z

    @abstractmethod
    def forward(self) -> None:
        """Overwrite z by a(z)."""

    @abstractmethod
    def backward(self, delta: Array) -> None:
        """Multiply delta by a'(z), after `forward`."""


class Relu(Activation):
    """Rectified linear: a(z) = max(z, 0), with a'(0) = 0."""

    def __init__(self, xp: Any, z: Array) -> None:
        super().__init__(xp, z)
        # NumPy takes four times as long for the maximum with a number as for that with an array.
        self.zero = xp.zeros(z.shape[-2:], z.dtype)
        self.positive = xp.empty(z.shape, bool)

    def forward(self) -> None:
        self.xp.maximum(self.z, self.zero, out=self.z)

    def backward(self, delta: Array) -> None:
        self.xp.greater(self.z, 0, out=self.positive)
        self.xp.multiply(delta, self.positive, out=delta)


class Tanh(Activation):
    """Hyperbolic tangent: a'(z) = 1 - tanh² z."""

    def __init__(self, xp: Any, z: Array) -> None:
        super().__init__(xp, z)
        self.slope = xp.empty(z.shape, z.dtype)

    def forward(self) -> None:
        self.xp.tanh(self.z, out=self.z)

    def backward(self, delta: Array) -> None:
        self.xp.multiply(self.z, self.z, out=self.slope)
        self.xp.subtract(1, self.slope, out=self.slope)
        self.xp.multiply(delta, self.slope, out=delta)


class Gelu(Activation):
    """Gaussian error linear unit in its tanh form, Hendrycks & Gimpel (2016), arXiv:1606.08415.

    a(z) = ½ z (1 + tanh u)        u = √(2/π) (z + 0.044715 z³)
    a'(z) = ½ (1 + tanh u) (1 + (1 - tanh u) z u'(z))
    """

    LINEAR = math.sqrt(2 / math.pi)
    CUBIC = 0.044715 * LINEAR

    def __init__(self, xp: Any, z: Array) -> None:
        super().__init__(xp, z)
        self.slope, self.t, self.rest = xp.empty((3, *z.shape), z.dtype)

    def forward(self) -> None:
        xp, z, slope, t, rest = self.xp, self.z, self.slope, self.t, self.rest
        xp.multiply(z, z, out=rest)
        xp.multiply(rest, self.CUBIC, out=t)
        t += self.LINEAR
        t *= z
        xp.tanh(t, out=t)
        xp.multiply(rest, 3 * self.CUBIC, out=slope)
        slope += self.LINEAR
        slope *= z
        xp.subtract(1, t, out=rest)
        slope *= rest
        slope += 1
        t += 1
        t *= 0.5
        slope *= t
        z *= t

    def backward(self, delta: Array) -> None:
        self.xp.multiply(delta, self.slope, out=delta)


ACTIVATIONS: dict[str, type[Activation]] = {"relu": Relu, "tanh": Tanh, "gelu": Gelu}
