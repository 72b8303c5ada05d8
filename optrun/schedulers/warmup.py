"""The options `warmup` and `warmup_start` of every schedule: a linear rise to its first value, before it begins."""

from typing import Annotated, Any

import numpy as np

from optrun.registry import Added, Fraction, NonNegativeSteps, Option

WARMUP = Option(
    "warmup",
    Annotated[NonNegativeSteps, Added(), "length of a linear rise to the first value; t counts from its end"],
    0,
)
WARMUP_START = Option(
    "warmup_start",
    Annotated[Fraction, Added(), "fraction of the first value from which the warm-up rises"],
    0.0,
)


def rise(t: Any, length: int, start: Any) -> Any:
    """Return the fraction of the first value that a warm-up has reached at the steps t; exactly 1 after it.

    w(t) = a + (1 - a) · min(t / W, 1);  W is warmup, a warmup_start
    """
    return np.where(t < length, start + (1.0 - start) * (t / length), 1.0)
