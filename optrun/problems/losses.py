"""Losses of a batch and their gradients, for all lanes; the mean is torch's ``reduction="mean"``.

Outputs are ``[..., S, o, n]`` for n samples, targets ``[S, n]``: lanes with the same samples share their targets.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from optrun.arrays import Array, Arrays
from optrun.problems.scratch import Scratch


class Loss(ABC):
    """The mean loss of a batch."""

    outputs: int = 1
    """The number of outputs per sample."""
    weights: Sequence[float] | None = None
    """The weight of each class; None if all have the same, or there are none."""

    scales_target: bool = True
    """Whether a real target is scaled to mean 0 and variance 1."""

    def __init__(self, arrays: Arrays, scratch: Scratch) -> None:
        self.arrays = arrays
        self.scratch = scratch

    def prepared(self, targets: Array) -> Array:
        """Return the targets in the form that a call needs; the next call may overwrite them."""
        return targets

    @abstractmethod
    def __call__(self, outputs: Array, targets: Array, out: Array) -> None:
        """Write the loss ``[..., S]`` to ``out``, and overwrite the outputs by the gradient with respect to them."""

    def predicted(self, outputs: Array) -> Array:
        """Return what is predicted, ``[..., n]``: numbers, or the indices of classes."""
        numbers: Array = outputs[..., 0, :]
        return numbers

    def outputs_of(self, predicted: Array) -> Array:
        """Return the outputs that predict these numbers."""
        return predicted


class ClassLoss(Loss, ABC):
    """A loss whose targets are class indices, for which an accuracy is defined.

    Classes may have weights, as scikit-learn's ``class_weight``: the mean is over samples, not over weights.

    L = 1/n Σ w_y loss(z, y)
    """

    @abstractmethod
    def probabilities(self, outputs: Array) -> Array:
        """Return the probabilities of the C classes ``[..., C, n]``, on the host and of its dtype."""

    def accuracy(self, outputs: Array, targets: Array) -> Array:
        """Return the fraction ``[...]`` of correctly predicted samples, in float64."""
        share: Array = (self.predicted(outputs) == targets).mean(axis=-1)
        return share


class BinaryCrossEntropy(ClassLoss):
    """Binary cross-entropy of a logit z and a class y of 0 or 1, numerically stable for any z.

    L = 1/n Σ max(z, 0) - z y + log(1 + exp(-|z|))        ∂L/∂z = (σ(z) - y) / n
    """

    def __init__(self, arrays: Arrays, scratch: Scratch) -> None:
        super().__init__(arrays, scratch)
        self._zeros: dict[int, Array] = {}

    def __call__(self, outputs: Array, targets: Array, out: Array) -> None:
        xp = self.arrays.xp
        logits = outputs[..., 0, :]
        samples = logits.shape[-1]
        small, terms, products = self.scratch("terms", 3, *logits.shape)
        if samples not in self._zeros:
            # For np.maximum, an array operand is four times faster than a scalar.
            self._zeros[samples] = self.arrays.filled((samples,), 0)
        zero = self._zeros[samples]
        xp.absolute(logits, out=small)
        xp.negative(small, out=small)
        xp.exp(small, out=small)  # exp(-|z|)
        xp.log1p(small, out=terms)
        xp.multiply(logits, targets, out=products)
        terms -= products
        xp.maximum(logits, zero, out=products)
        terms += products
        small += 1
        xp.minimum(logits, zero, out=logits)
        xp.exp(logits, out=logits)
        logits /= small  # σ(z) = exp(min(z, 0)) / (1 + exp(-|z|))
        logits -= targets
        if self.weights is not None:
            # `small` is not needed any more.
            small[...] = self.weights[0]
            xp.copyto(small, self.weights[1], where=targets > 0.5)
            logits *= small
            terms *= small
        logits /= samples
        terms.sum(axis=-1, out=out)
        out /= samples

    def predicted(self, outputs: Array) -> Array:
        return outputs[..., 0, :] > 0

    def probabilities(self, outputs: Array) -> Array:
        small = np.exp(-np.abs(outputs))
        one, other = 1 / (1 + small), small / (1 + small)
        return np.concatenate([np.where(outputs > 0, other, one), np.where(outputs > 0, one, other)], axis=-2)


class CrossEntropy(ClassLoss):
    """Softmax cross-entropy of C logits z and a class y of 0 … C-1.

    L = 1/n Σ log Σⱼ exp(zⱼ - m) - (z_y - m)        m = max z
    ∂L/∂zⱼ = (softmax(z)ⱼ - [j = y]) / n
    """

    def __init__(self, arrays: Arrays, scratch: Scratch, classes: int) -> None:
        super().__init__(arrays, scratch)
        self.outputs = classes
        self._codes = arrays.array([[code] for code in range(classes)])
        self._ones = arrays.filled((1, classes), 1)
        self._masks: dict[tuple[int, ...], Array] = {}

    def prepared(self, targets: Array) -> Array:
        """Return w_y [j = y] / n for every class and sample, ``[S, C, n]``; without weights w is 1."""
        samples = targets.shape[-1]
        shape = (*targets.shape[:-1], self.outputs, samples)
        if shape not in self._masks:
            self._masks[shape] = self.arrays.xp.empty(shape, bool)
        is_class = self._masks[shape]
        one_hot = self.scratch("one hot", *shape)
        self.arrays.xp.equal(targets[..., None, :], self._codes, out=is_class)
        one_hot[...] = is_class
        one_hot /= samples
        if self.weights is not None:
            one_hot *= self.arrays.array([[weight] for weight in self.weights])
        return one_hot

    def __call__(self, outputs: Array, targets: Array, out: Array) -> None:
        xp = self.arrays.xp
        *lanes, classes, samples = outputs.shape
        largest = self.scratch("largest", *lanes, 1, samples)
        sums = self.scratch("sums", *lanes, 1, samples)
        of_target = self.scratch("of target", *lanes, 1, 1)
        outputs.max(axis=-2, keepdims=True, out=largest)
        xp.subtract(outputs, largest, out=outputs)
        xp.matmul(
            outputs.reshape(*lanes, 1, classes * samples),
            targets.reshape(*targets.shape[:-2], classes * samples, 1),
            out=of_target,
        )
        xp.exp(outputs, out=outputs)
        xp.matmul(self._ones, outputs, out=sums)
        xp.log(sums, out=largest)
        if self.weights is None:
            xp.multiply(sums, samples, out=sums)
            xp.divide(outputs, sums, out=outputs)
            xp.subtract(outputs, targets, out=outputs)
            largest[..., 0, :].sum(axis=-1, out=out)
            out /= samples
        else:
            # All terms but one are 0, so that the sum is w_y / n.
            shares = self.scratch("shares", *targets.shape[:-2], 1, samples)
            targets.sum(axis=-2, keepdims=True, out=shares)
            xp.divide(outputs, sums, out=outputs)
            xp.multiply(outputs, shares, out=outputs)
            xp.subtract(outputs, targets, out=outputs)
            xp.multiply(largest, shares, out=largest)
            largest[..., 0, :].sum(axis=-1, out=out)
        xp.subtract(out, of_target[..., 0, 0], out=out)

    def predicted(self, outputs: Array) -> Array:
        largest: Array = outputs.argmax(axis=-2)
        return largest

    def probabilities(self, outputs: Array) -> Array:
        exponentials = np.exp(outputs - outputs.max(axis=-2, keepdims=True))
        # In the order of the classes, so that the bits of a lane depend on no other.
        total = sum(exponentials[..., c, :] for c in range(self.outputs))
        shares: Array = exponentials / total[..., None, :]
        return shares
