"""Dense layers over lanes, forward and backward.

Hidden values are ``[B, n, width]`` for n samples, as BLAS is fastest, and outputs ``[B, o, n]``, as maxima and
sums over classes are. Stacked products give each lane the bits of its solo run.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from optrun.arrays import Array, Arrays
from optrun.problems.losses import Scratch

Activation: TypeAlias = Callable[[Any, Array, Array, Array], None]
"""Overwrites z by the activation a(z) and ``slope`` by a'(z), given numpy or cupy, z, slope and work ``[2, …]``."""


def relu(xp: Any, z: Array, slope: Array, work: Array) -> None:
    """Rectified linear: a(z) = max(z, 0), with a'(0) = 0."""
    xp.greater(z, 0, out=slope)
    xp.maximum(z, 0, out=z)


def tanh(xp: Any, z: Array, slope: Array, work: Array) -> None:
    """Hyperbolic tangent: a(z) = tanh z."""
    xp.tanh(z, out=z)
    xp.multiply(z, z, out=slope)
    xp.subtract(1, slope, out=slope)


def gelu(xp: Any, z: Array, slope: Array, work: Array) -> None:
    """Gaussian error linear unit in its tanh form, Hendrycks & Gimpel (2016), arXiv:1606.08415.

    a(z) = ½ z (1 + tanh u)        u = √(2/π) (z + 0.044715 z³)
    a'(z) = ½ (1 + tanh u) (1 + (1 - tanh u) z u'(z))
    """
    t, rest = work
    linear, cubic = math.sqrt(2 / math.pi), 0.044715 * math.sqrt(2 / math.pi)
    xp.multiply(z, z, out=rest)
    xp.multiply(rest, cubic, out=t)
    t += linear
    t *= z
    xp.tanh(t, out=t)
    xp.multiply(rest, 3 * cubic, out=slope)
    slope += linear
    slope *= z
    xp.subtract(1, t, out=rest)
    slope *= rest
    slope += 1
    t += 1
    t *= 0.5
    slope *= t
    z *= t


ACTIVATIONS: dict[str, Activation] = {"relu": relu, "tanh": tanh, "gelu": gelu}


class Layers:
    """Dense layers with an activation between them; the weights are ``[in, out]``, the biases ``[out]``.

    z = Wᵀ h + b        h ← a(z)        the last layer's z are the outputs
    """

    def __init__(
        self,
        arrays: Arrays,
        scratch: Scratch,
        widths: Sequence[int],
        *,
        prefixes: Sequence[str],
        bias: bool,
        activation: Activation,
    ) -> None:
        self.arrays = arrays
        self.scratch = scratch
        self.activation = activation
        self.weights = [f"{prefix}weight" for prefix in prefixes]
        self.biases = [f"{prefix}bias" for prefix in prefixes] if bias else []
        self.widths = widths
        self.shapes: dict[str, tuple[int, ...]] = {}
        for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
            self.shapes[self.weights[layer]] = (fan_in, fan_out)
            if bias:
                self.shapes[self.biases[layer]] = (fan_out,)
        self._inputs: list[Array] = []
        self._slopes: list[Array] = []
        self._rows_of_ones: dict[int, Array] = {}

    def forward(self, params: Mapping[str, Array], x: Array) -> Array:
        """Return the outputs ``[B, o, n]`` for samples ``[n, d]`` or ``[B, n, d]``."""
        xp = self.arrays.xp
        lanes, samples = len(params[self.weights[0]]), x.shape[-2]
        self._inputs, self._slopes = [x], []
        for layer, width in enumerate(self.widths[1:-1]):
            z = self.scratch(f"z{layer}", lanes, samples, width)
            slope = self.scratch(f"slope{layer}", lanes, samples, width)
            xp.matmul(self._inputs[-1], params[self.weights[layer]], out=z)
            if self.biases:
                z += params[self.biases[layer]][:, None, :]
            self.activation(xp, z, slope, self.scratch("work", 2, lanes, samples, width))
            self._slopes.append(slope)
            self._inputs.append(z)
        outputs = self.scratch("outputs", lanes, self.widths[-1], samples)
        xp.matmul(params[self.weights[-1]].swapaxes(1, 2), self._inputs[-1].swapaxes(-1, -2), out=outputs)
        if self.biases:
            outputs += params[self.biases[-1]][:, :, None]
        return outputs

    def backward(self, params: Mapping[str, Array], grads: Mapping[str, Array], delta: Array) -> None:
        """Write the gradients, given that of the loss with respect to the outputs, ``delta [B, o, n]``."""
        xp = self.arrays.xp
        delta = delta.swapaxes(1, 2)
        for layer in reversed(range(len(self.weights))):
            xp.matmul(self._inputs[layer].swapaxes(-1, -2), delta, out=grads[self.weights[layer]])
            if self.biases:
                xp.matmul(self._ones(delta.shape[1]), delta, out=grads[self.biases[layer]][:, None, :])
            if layer > 0:
                above, slope = delta, self._slopes[layer - 1]
                delta = self.scratch(f"delta{layer}", *slope.shape)
                xp.matmul(above, params[self.weights[layer]].swapaxes(1, 2), out=delta)
                delta *= slope

    def _ones(self, samples: int) -> Array:
        if samples not in self._rows_of_ones:
            self._rows_of_ones[samples] = self.arrays.array(np.ones((1, samples)))
        return self._rows_of_ones[samples]

    def penalty(self, params: Mapping[str, Array], strength: float) -> Array:
        """Return strength/2 ‖weights‖² ``[B]``."""
        xp = self.arrays.xp
        lanes = len(params[self.weights[0]])
        total, of_layer = self.scratch("penalty", 2, lanes)
        total[...] = 0
        for name in self.weights:
            squares = self.scratch(f"squares {name}", *params[name].shape)
            xp.multiply(params[name], params[name], out=squares)
            total += xp.sum(squares.reshape(lanes, -1), axis=1, out=of_layer)
        total *= strength / 2
        penalty: Array = total
        return penalty

    def add_penalty_grad(
        self, params: Mapping[str, Array], grads: Mapping[str, Array], strength: float
    ) -> None:
        """Add the gradient of the penalty, strength · weights."""
        for name in self.weights:
            scaled = self.scratch(f"squares {name}", *params[name].shape)
            grad = grads[name]
            grad += self.arrays.xp.multiply(params[name], strength, out=scaled)
