"""MNIST-1D: ten one-dimensional digits, padded, scaled, shifted, sheared and noisy, 40 numbers each.

Generated as Greydanus and Kobak (2020), Scaling Down Deep Learning with MNIST-1D, arXiv:2011.14439, describe it, with
the parameters of their public data set, whose samples are other draws.
"""

import numpy as np

from optrun.arrays import Array, stream
from optrun.problems.data.synthetic import Samples, Seed

PADDING = (36, 60)
"""The fewest and the most zeros after the twelve points of a digit."""
LENGTH = 72
"""Points of a signal until it is down-sampled."""
SCALE = 0.4
"""Width of the interval of factors around 1."""
SHIFTS = 48
"""The number of circular shifts, from 0 on."""
CORRELATED_NOISE = 0.25
"""Standard deviation, before smoothing, of the noise where a signal is zero."""
SMOOTHING = 2.0
"""Standard deviation of the Gaussian that smooths this noise, in points."""
NOISE = 0.02
"""Standard deviation of the independent noise of all points."""
SHEAR = 0.75
"""Width of the interval of slopes around 0."""
POINTS = 40
"""Features of a sample."""
TRAINING = 0.8
"""The part of the samples for training, the others are for testing."""

DIGITS = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
"""The heights of the digits 0 … 9 at twelve points."""

# What is added to a digit, so that its points of height zero are no padding.
_OFFSET = 1e-8


def mnist1d(*, samples: Samples = 5000, seed: Seed = 42) -> tuple[Array, Array, Array]:
    """MNIST-1D (arXiv:2011.14439): ten digits as noisy signals of 40 points; four fifths are for training."""
    draws = stream(seed, "mnist1d")
    labels = np.arange(samples) % 10
    signals = _dilated(labels, draws.integers(PADDING[0], PADDING[1] + 1, samples))
    signals *= 1 + SCALE * (draws.random((samples, 1)) - 0.5)
    shifts = draws.integers(SHIFTS, size=(samples, 1))
    signals = np.take_along_axis(signals, (np.arange(LENGTH) - shifts) % LENGTH, axis=1)
    noise = smoothed(CORRELATED_NOISE * draws.standard_normal((samples, LENGTH)), SMOOTHING)
    signals = np.where(signals == 0, noise, signals)
    signals += NOISE * draws.standard_normal((samples, LENGTH))
    signals -= SHEAR * (draws.random((samples, 1)) - 0.5) * np.linspace(-0.5, 0.5, LENGTH)
    signals = resampled(signals, POINTS)
    signals = (signals - signals.mean()) / signals.std()
    order = draws.permutation(samples)
    parts = np.where(np.arange(samples) < round(TRAINING * samples), "train", "test")
    return signals[order], labels[order], parts


def _dilated(labels: Array, padding: Array) -> Array:
    """Return the digits ``[N, 72]`` of labels ``[N]``, each with so many zeros after it, stretched to one length."""
    heights = np.array(DIGITS, np.float64)
    heights = (heights - heights.mean(axis=1, keepdims=True)) / heights.std(axis=1, keepdims=True)
    heights = (heights - heights[:, :1]) / 6 + _OFFSET
    signals = np.empty((len(labels), LENGTH))
    for row, label, zeros in zip(signals, labels, padding, strict=True):
        row[:] = resampled(np.append(heights[label], np.zeros(zeros))[None], LENGTH)[0]
    return signals


def resampled(signals: Array, points: int) -> Array:
    """Return signals ``[N, n]`` at so many evenly spaced points from the first to the last, linearly between."""
    last = signals.shape[1] - 1
    at = np.linspace(0, last, points)
    left = np.minimum(at.astype(int), last - 1)
    weight = at - left
    between: Array = (1 - weight) * signals[:, left] + weight * signals[:, left + 1]
    return between


def smoothed(signals: Array, deviation: float) -> Array:
    """Return signals ``[N, n]`` convolved with a Gaussian, cut at four deviations; they are mirrored at their ends."""
    reach = round(4 * deviation)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    mirrored = np.pad(signals, ((0, 0), (reach, reach)), "symmetric")
    total = np.zeros_like(signals)
    # Added point by point: the bits of a BLAS product depend on the number of threads.
    for i, weight in enumerate(weights / weights.sum()):
        total += weight * mirrored[:, i : i + signals.shape[1]]
    return total
