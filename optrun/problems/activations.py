"""Activations between dense layers; each is bound to the array ``z [..., n, width]`` that it overwrites by a(z)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from optrun.arrays import Array
from optrun.kernels.lower import lower
from optrun.kernels.program import coefficients_of, node
from optrun.kernels.stepper import LoopEngine
from optrun.kernels.symbols import Symbol
from optrun.ops import maximum


class Activation(ABC):
    """An activation a(z), computed in place, and the product of a gradient delta, shaped like z, with a'(z)."""

    keeps_ones: ClassVar[bool] = False
    """Whether a(1) = 1."""

    loops: ClassVar[Mapping[str, Callable[[Any, Any], Any]]] = {}
    """What `forward` makes of z, and `backward` of delta, where engines have loops for it: functions of both in the
    words of `optrun.ops`, with the bits of the calls."""

    def __init__(self, xp: Any, z: Array, delta: Array) -> None:
        self.xp = xp
        self.z = z
        self.delta = delta

    @abstractmethod
    def forward(self) -> None:
        """Overwrite z by a(z)."""

    @abstractmethod
    def backward(self) -> None:
        """Multiply delta by a'(z), after `forward`."""


class Relu(Activation):
    """Rectified linear: a(z) = max(z, 0), with a'(0) = 0."""

    keeps_ones = True
    loops: ClassVar = {"z": lambda z, delta: maximum(z, 0.0), "delta": lambda z, delta: delta * (z > 0)}

    def __init__(self, xp: Any, z: Array, delta: Array) -> None:
        super().__init__(xp, z, delta)
        # For np.maximum, an array operand is four times faster than a scalar.
        self.zero = xp.zeros(z.shape[-2:], z.dtype)
        self.positive = xp.empty_like(z, bool)

    def forward(self) -> None:
        self.xp.maximum(self.z, self.zero, out=self.z)

    def backward(self) -> None:
        self.xp.greater(self.z, 0, out=self.positive)
        self.xp.multiply(self.delta, self.positive, out=self.delta)


class Tanh(Activation):
    """Hyperbolic tangent: a'(z) = 1 - tanh² z."""

    loops: ClassVar = {"delta": lambda z, delta: delta * (1 - z * z)}

    def __init__(self, xp: Any, z: Array, delta: Array) -> None:
        super().__init__(xp, z, delta)
        self.slope = xp.empty_like(z)

    def forward(self) -> None:
        self.xp.tanh(self.z, out=self.z)

    def backward(self) -> None:
        self.xp.multiply(self.z, self.z, out=self.slope)
        self.xp.subtract(1, self.slope, out=self.slope)
        self.xp.multiply(self.delta, self.slope, out=self.delta)


class Gelu(Activation):
    """Gaussian error linear unit, tanh approximation, Hendrycks & Gimpel (2016), arXiv:1606.08415.

    a(z) = ½ z (1 + tanh u)        u = √(2/π) (z + 0.044715 z³)
    a'(z) = ½ (1 + tanh u) (1 + (1 - tanh u) z u'(z))
    """

    LINEAR = math.sqrt(2 / math.pi)
    CUBIC = 0.044715 * LINEAR

    def __init__(self, xp: Any, z: Array, delta: Array) -> None:
        super().__init__(xp, z, delta)
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

    def backward(self) -> None:
        self.xp.multiply(self.delta, self.slope, out=self.delta)


ACTIVATIONS: dict[str, type[Activation]] = {"relu": Relu, "tanh": Tanh, "gelu": Gelu}


def bind_activation(
    activation: type[Activation], xp: Any, z: Array, delta: Array, loops: LoopEngine | None
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return the bound `forward` and `backward` of an activation, each as one loop if the engine has loops."""
    made = activation(xp, z, delta)
    if loops is None:
        return made.forward, made.backward
    flat = {"z": z.reshape(1, -1), "delta": delta.reshape(1, -1), "p": z.reshape(1, -1)}
    symbols = [Symbol(node("input", name=name, is_array=True)) for name in ("z", "delta")]

    def as_loop(name: str, calls: Callable[[], None]) -> Callable[[], None]:
        if name not in activation.loops:
            return calls
        outputs = {name: activation.loops[name](*symbols).node}
        constants = coefficients_of(outputs)
        values = [np.array(constant.value, z.dtype) for constant in constants]
        return loops.bind_loop(lambda: calls, lower(outputs, constants), flat, values)

    return as_loop("z", made.forward), as_loop("delta", made.backward)
