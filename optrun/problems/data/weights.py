"""Weights of classes."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError, did_you_mean
from optrun.problems.data.cells import capital
from optrun.problems.data.dataset import listed


def class_weights(
    chosen: Literal["balanced"] | Mapping[str, float], names: Sequence[str], codes: Array
) -> list[float]:
    """Return the weight of each class, of which ``codes [n]`` are those of the training samples.

    ``balanced`` is n / (classes · n of the class). Otherwise a class that is not named has the weight 1. Raises
    ConfigError if a name is of no class, or two are of one.
    """
    if chosen == "balanced":
        counts = np.bincount(codes, minlength=len(names))
        weights: list[float] = (len(codes) / (len(names) * np.maximum(counts, 1))).tolist()
        return weights
    weights_of: dict[str, float] = {}
    for name, weight in chosen.items():
        # A table's TRUE and true are the class True, so that either may be written here.
        own = name if name in names else capital(name)
        if own not in names:
            known = did_you_mean(name, names) or f" There are {listed(names)}"
            raise ConfigError(f"class_weight: no class {name!r}.{known}", field="class_weight")
        if own in weights_of:
            raise ConfigError(f"class_weight: the class {own!r} has two weights", field="class_weight")
        weights_of[own] = weight
    return [weights_of.get(name, 1.0) for name in names]
