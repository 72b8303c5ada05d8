"""Dense layers for all lanes, forward and backward.

A layer's weights ``[in, out]`` and biases ``[out]`` are adjacent in memory, as one matrix ``[in + 1, out]``. With a
column of ones in the inputs, one matrix product includes the biases, and one gives both gradients. Hidden values are
``[..., n, width]`` for n samples, the fastest layout for BLAS; outputs are ``[..., o, n]``, the fastest layout for
maxima and sums over classes. Batched products give each lane the bits of its solo run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from optrun.arrays import Array, Arrays, adjacent_view
from optrun.kernels.products import Product, multiply, parts, share
from optrun.kernels.stepper import LoopEngine
from optrun.problems.activations import Activation, bind_activation


@dataclass(frozen=True)
class Matrices:
    """The matrices ``[..., in + 1, out]`` of some lanes, one per layer."""

    all: Sequence[Array]
    transposed: Sequence[Array]
    """``[..., out, in]`` without biases, except for the last layer: ``[..., out, in + 1]`` with biases."""

    @classmethod
    def of(cls, matrices: Sequence[Array], bias: bool) -> "Matrices":
        """Return the matrices with their transposed views."""
        weights = [each[..., :-1, :] if bias else each for each in matrices]
        return cls(matrices, [each.swapaxes(-1, -2) for each in [*weights[1:], matrices[-1]]])

    def __getitem__(self, index: tuple[slice, slice]) -> "Matrices":
        return Matrices([each[index] for each in self.all], [each[index] for each in self.transposed])


class Layers:
    """Dense layers with activations in between; weights are ``[in, out]``, biases ``[out]``.

    z = Wᵀ h + b        h ← a(z)        the outputs are z of the last layer
    """

    def __init__(
        self,
        arrays: Arrays,
        widths: Sequence[int],
        *,
        prefixes: Sequence[str],
        bias: bool,
        activation: type[Activation],
    ) -> None:
        self.arrays = arrays
        self.activation = activation
        self.weights = [f"{prefix}weight" for prefix in prefixes]
        self.biases = [f"{prefix}bias" for prefix in prefixes] if bias else []
        self.widths = widths
        self.shapes: dict[str, tuple[int, ...]] = {}
        for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
            self.shapes[self.weights[layer]] = (fan_in, fan_out)
            if bias:
                self.shapes[self.biases[layer]] = (fan_out,)
        self.largest = max((fan_in + bias) * fan_out for fan_in, fan_out in pairwise(widths))
        """The multiplications for a sample in the largest product."""

    def parts(self, samples: int) -> list[slice]:
        """Return the parts of so many samples that threads share; none where they share nothing, or products."""
        return parts(samples, self.largest) if self.arrays.xp is np and len(self.widths) > 2 else []

    def matrices(self, tensors: Mapping[str, Array]) -> tuple[list[Array], list[tuple[Array, Array]]]:
        """Return each layer's matrix ``[B, in + 1, out]``, and the tensors to copy, each with its part of a matrix.

        If a weight and its bias are not adjacent in memory, their matrix is a copy instead of a view.
        """
        if not self.biases:
            return [tensors[name] for name in self.weights], []
        matrices, copies = [], []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            matrix = adjacent_view(tensors[weight], tensors[bias])
            if matrix is None:
                lanes, rows, columns = tensors[weight].shape
                matrix = self.arrays.empty((lanes, rows + 1, columns))
                copies += [(tensors[weight], matrix[:, :-1]), (tensors[bias], matrix[:, -1])]
            matrices.append(matrix)
        return matrices, copies


class Pass:
    """Forward and backward pass of some lanes, with preallocated arrays.

    Threads share the parts of a large batch, which are passes on the arrays of the ``whole``.
    """

    def __init__(
        self,
        layers: Layers,
        lanes: tuple[int, ...],
        samples: int,
        loops: LoopEngine | None = None,
        *,
        whole: "Pass | None" = None,
        rows: slice = slice(None),
    ) -> None:
        xp = layers.arrays.xp
        extra = len(layers.biases[:1])
        self.hidden: list[Array] = []
        self.deltas: list[Array] = []
        if whole is None:
            self.multiply = multiply(xp, samples * layers.largest)
            self.outputs = layers.arrays.empty((*lanes, layers.widths[-1], samples))
            for width in layers.widths[1:-1]:
                hidden, delta = layers.arrays.filled((2, *lanes, samples, width + extra), 0)
                self.hidden.append(hidden)
                self.deltas.append(delta)
        else:
            self.multiply = multiply(xp, 0)  # threads share the parts, not their products
            self.outputs = whole.outputs[..., rows]
            self.hidden = [each[..., rows, :] for each in whole.hidden]
            self.deltas = [each[..., rows, :] for each in whole.deltas]
        self.parts = [
            (part, Pass(layers, lanes, part.stop - part.start, loops, whole=self, rows=part))
            for part in (layers.parts(samples) if whole is None else ())
        ]
        self.activations = [
            bind_activation(layers.activation, xp, hidden, delta, loops)
            for hidden, delta in ([] if self.parts else zip(self.hidden, self.deltas, strict=True))
        ]
        # Elementwise operations include the column of ones, since NumPy is faster on contiguous arrays.
        ones = [hidden[..., -1] for hidden in self.hidden] if extra else []
        for each in ones:
            each.fill(1)
        self.ones = [] if layers.activation.keeps_ones else ones
        self.z, self.dz = (
            [each[..., :-extra] if extra else each for each in values]
            for values in (self.hidden, self.deltas)
        )

    def forward(self, matrices: Matrices, x: Array) -> Array:
        """Return the outputs ``[..., o, n]`` for the inputs ``[..., n, in + 1]``."""
        if self.parts:
            share(partial(part.forward, matrices, x[..., rows, :]) for rows, part in self.parts)
            return self.outputs
        inputs = x
        for layer, hidden in enumerate(self.hidden):
            self.multiply((inputs, matrices.all[layer], self.z[layer]))
            self.activations[layer][0]()
            if self.ones:
                self.ones[layer].fill(1)
            inputs = hidden
        self.multiply((matrices.transposed[-1], inputs.swapaxes(-1, -2), self.outputs))
        return self.outputs

    def backward(self, matrices: Matrices, grads: Sequence[Array], x: Array) -> None:
        """Write the gradients; before, ``outputs`` must be overwritten by the loss gradient with respect to them.

        Without ``grads`` it ends with the deltas of the layers.
        """
        delta = self.outputs.swapaxes(-1, -2)
        if self.parts:
            share(partial(part.backward, matrices, (), x) for _, part in self.parts)
            self.multiply(*map(_gradient, [x, *self.hidden], [*self.dz, delta], grads))
            return
        for layer in range(len(self.hidden), 0, -1):
            before = layer - 1
            product = (delta, matrices.transposed[before], self.dz[before])
            gradient = [_gradient(self.hidden[before], delta, grads[layer])] if grads else []
            self.multiply(*gradient, product)
            self.activations[before][1]()
            delta = self.dz[before]
        if grads:
            self.multiply(_gradient(x, delta, grads[0]))


def _gradient(values: Array, delta: Array, grad: Array) -> Product:
    """Return the product that is the gradient with respect to a layer's weights."""
    return values.swapaxes(-1, -2), delta, grad
