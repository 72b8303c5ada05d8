"""Losses of real targets, with torch's definitions."""

from optrun.arrays import Array, Arrays
from optrun.problems.losses import Loss
from optrun.problems.scratch import Scratch


class MeanSquaredError(Loss):
    """The mean squared error.

    L = 1/n Σ (z - y)²        ∂L/∂z = 2 (z - y) / n
    """

    def __call__(self, outputs: Array, targets: Array, out: Array) -> None:
        xp = self.arrays.xp
        residuals = outputs[..., 0, :]
        samples = residuals.shape[-1]
        squares = self.scratch("squares", *residuals.shape)
        xp.subtract(residuals, targets, out=residuals)
        xp.multiply(residuals, residuals, out=squares)
        xp.multiply(residuals, 2 / samples, out=residuals)
        squares.sum(axis=-1, out=out)
        out /= samples


class HuberLoss(Loss):
    """Squares near 0, and lines beyond δ.

    L = 1/n Σ c (r - c/2)        r = z - y,  c = r clipped to [-δ, δ]        ∂L/∂z = c / n
    """

    def __init__(self, arrays: Arrays, scratch: Scratch, delta: float) -> None:
        super().__init__(arrays, scratch)
        self.delta = arrays.array(delta)

    def __call__(self, outputs: Array, targets: Array, out: Array) -> None:
        xp = self.arrays.xp
        residuals = outputs[..., 0, :]
        samples = residuals.shape[-1]
        clipped, terms = self.scratch("clipped", 2, *residuals.shape)
        xp.subtract(residuals, targets, out=residuals)
        xp.minimum(residuals, self.delta, out=clipped)
        xp.maximum(clipped, -self.delta, out=clipped)
        xp.multiply(clipped, 0.5, out=terms)
        xp.subtract(residuals, terms, out=terms)
        terms *= clipped
        xp.divide(clipped, samples, out=residuals)
        terms.sum(axis=-1, out=out)
        out /= samples


class PoissonLoss(Loss):
    """The negative log-likelihood of a count y whose mean is eᶻ, without log y!.

    L = 1/n Σ eᶻ - y z        ∂L/∂z = (eᶻ - y) / n
    """

    scales_target = False

    def __call__(self, outputs: Array, targets: Array, out: Array) -> None:
        xp = self.arrays.xp
        logs = outputs[..., 0, :]
        samples = logs.shape[-1]
        means, terms = self.scratch("means", 2, *logs.shape)
        xp.exp(logs, out=means)
        xp.multiply(logs, targets, out=terms)
        xp.subtract(means, terms, out=terms)
        xp.subtract(means, targets, out=logs)
        logs /= samples
        terms.sum(axis=-1, out=out)
        out /= samples

    def predicted(self, outputs: Array) -> Array:
        means: Array = self.arrays.xp.exp(outputs[..., 0, :])
        return means

    def outputs_of(self, predicted: Array) -> Array:
        logs: Array = self.arrays.xp.log(predicted)
        return logs
