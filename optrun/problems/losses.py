"""Losses of a batch and their gradients, over lanes; the mean is torch's ``reduction="mean"``.

Outputs are ``[B, o, n]`` for n samples, targets ``[n]`` where all lanes see the same, else ``[B, n]``.
"""

from abc import ABC, abstractmethod
from typing import Protocol

from optrun.arrays import Array, Arrays


class Scratch(Protocol):
    """Returns the array of a name and shape."""

    def __call__(self, name: str, *shape: int) -> Array: ...


class Loss(ABC):
    """The mean loss of a batch."""

    outputs: int = 1
    """How many values it wants for a sample."""

    def __init__(self, arrays: Arrays, scratch: Scratch) -> None:
        self.arrays = arrays
        self.scratch = scratch

    @abstractmethod
    def __call__(self, outputs: Array, targets: Array) -> Array:
        """Return the loss ``[B]``, and overwrite the outputs by its gradient with respect to them."""

    def _mean(self, terms: Array) -> Array:
        """Return the mean ``[B]`` of ``[B, n]``, n contiguous."""
        lanes, samples = terms.shape
        total: Array = self.arrays.xp.sum(terms, axis=1, out=self.scratch("loss", lanes))
        total /= samples
        return total


class ClassLoss(Loss, ABC):
    """A loss whose targets are classes 0, 1, …, so that predictions can be right or wrong."""

    @abstractmethod
    def predicted(self, outputs: Array) -> Array:
        """Return the class ``[B, n]`` that the outputs speak for."""

    def accuracy(self, outputs: Array, targets: Array) -> Array:
        """Return the share ``[B]`` of samples whose class is predicted."""
        share: Array = (self.predicted(outputs) == targets).mean(axis=1).astype(outputs.dtype)
        return share


class MeanSquaredError(Loss):
    """The mean squared error of one real target.

    L = 1/n Σ (z - y)²        ∂L/∂z = 2 (z - y) / n
    """

    def __call__(self, outputs: Array, targets: Array) -> Array:
        lanes, _, samples = outputs.shape
        residuals = outputs[:, 0]
        residuals -= targets
        squares = self.scratch("squares", lanes, samples)
        self.arrays.xp.multiply(residuals, residuals, out=squares)
        residuals *= 2 / samples
        return self._mean(squares)


class BinaryCrossEntropy(ClassLoss):
    """The binary cross-entropy of a logit z and a class y of 0 or 1, stable for any z.

    L = 1/n Σ max(z, 0) - z y + log(1 + exp(-|z|))        ∂L/∂z = (σ(z) - y) / n
    """

    def __call__(self, outputs: Array, targets: Array) -> Array:
        xp = self.arrays.xp
        lanes, _, samples = outputs.shape
        logits = outputs[:, 0]
        small, terms, products = self.scratch("terms", 3, lanes, samples)
        xp.abs(logits, out=small)
        xp.negative(small, out=small)
        xp.exp(small, out=small)  # exp(-|z|)
        xp.log1p(small, out=terms)
        xp.multiply(logits, targets, out=products)
        terms -= products
        xp.maximum(logits, 0, out=products)
        terms += products
        small += 1
        xp.minimum(logits, 0, out=logits)
        xp.exp(logits, out=logits)
        logits /= small  # σ(z) = exp(min(z, 0)) / (1 + exp(-|z|))
        logits -= targets
        logits /= samples
        return self._mean(terms)

    def predicted(self, outputs: Array) -> Array:
        return outputs[:, 0] > 0


class CrossEntropy(ClassLoss):
    """The softmax cross-entropy of C logits z and a class y of 0 … C-1.

    L = 1/n Σ log Σⱼ exp(zⱼ - m) - (z_y - m)        m = max z
    ∂L/∂zⱼ = (softmax(z)ⱼ - [j = y]) / n
    """

    def __init__(self, arrays: Arrays, scratch: Scratch, classes: int) -> None:
        super().__init__(arrays, scratch)
        self.outputs = classes
        self._codes = arrays.array([[code] for code in range(classes)])
        self._ones = arrays.array([[1] * classes])

    def __call__(self, outputs: Array, targets: Array) -> Array:
        xp = self.arrays.xp
        lanes, classes, samples = outputs.shape
        largest = self.scratch("largest", lanes, 1, samples)
        sums = self.scratch("sums", lanes, 1, samples)
        one_hot = self.scratch("one hot", *targets.shape[:-1], classes, samples)
        chosen = self.scratch("chosen", lanes, classes, samples)
        xp.max(outputs, axis=1, keepdims=True, out=largest)
        outputs -= largest
        xp.equal(targets[..., None, :], self._codes, out=one_hot)
        xp.multiply(outputs, one_hot, out=chosen)
        of_target = xp.sum(
            chosen.reshape(lanes, classes * samples), axis=1, out=self.scratch("of target", lanes)
        )
        of_target /= samples
        xp.exp(outputs, out=outputs)
        xp.matmul(self._ones, outputs, out=sums)
        xp.log(sums, out=largest)
        outputs /= sums
        outputs -= one_hot
        outputs /= samples
        loss = self._mean(largest[:, 0])
        loss -= of_target
        return loss

    def predicted(self, outputs: Array) -> Array:
        largest: Array = outputs.argmax(axis=1)
        return largest
