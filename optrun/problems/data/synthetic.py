"""Data sets generated from a seed."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from optrun.arrays import Array, stream
from optrun.errors import ConfigError
from optrun.registry import NonNegative

Samples = Annotated[int, Ge(2), Le(100_000)]
Count = Annotated[int, Ge(1), Le(1_000)]
Classes = Annotated[int, Ge(2), Le(1_000)]
Seed = Annotated[int, Ge(0)]

MOST_NUMBERS = 1 << 24
"""Largest product of samples and features, 128 MiB."""


def _check(samples: int, features: int) -> None:
    if samples * features > MOST_NUMBERS:
        raise ConfigError(
            f"data: {samples:,} samples × {features:,} features are more than {MOST_NUMBERS:,} numbers",
            field="data",
        )


def blobs(
    *,
    samples: Samples = 500,
    features: Count = 2,
    classes: Classes = 3,
    noise: NonNegative = 1.0,
    seed: Seed = 0,
) -> tuple[Array, Array]:
    """Gaussian clouds of standard deviation noise around centres drawn uniformly from [-5, 5]."""
    _check(samples, features)
    draws = stream(seed, "blobs")
    centres = draws.uniform(-5, 5, (classes, features))
    labels = np.arange(samples) % classes
    return centres[labels] + noise * draws.standard_normal((samples, features)), labels


def spirals(
    *, samples: Samples = 500, classes: Classes = 2, noise: NonNegative = 0.05, seed: Seed = 0
) -> tuple[Array, Array]:
    """Interleaved arms of one and a half turns in the unit disc, with Gaussian noise of standard deviation noise."""
    draws = stream(seed, "spirals")
    labels = np.arange(samples) % classes
    radius = np.sqrt(draws.uniform(0, 1, samples))
    angle = 3 * np.pi * radius + 2 * np.pi * labels / classes
    arms = radius * np.stack([np.cos(angle), np.sin(angle)])
    return arms.T + noise * draws.standard_normal((samples, 2)), labels


def linear(
    *, samples: Samples = 500, features: Count = 10, noise: NonNegative = 0.1, seed: Seed = 0
) -> tuple[Array, Array]:
    """A linear function of Gaussian features with Gaussian weights, plus noise; its target is real."""
    _check(samples, features)
    draws = stream(seed, "linear")
    x = draws.standard_normal((samples, features))
    weights = draws.standard_normal(features)
    # Summed elementwise: the bits of a BLAS product depend on the number of threads.
    return x, (x * weights).sum(axis=1) + draws.standard_normal() + noise * draws.standard_normal(samples)
