"""What metrics have come to, as a state_dict has it: a list with an entry for each lane."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.errors import StateError


def listed(values: Array) -> list[float | None]:
    """Return numbers as JSON has them, null for those that are not finite."""
    return [value if np.isfinite(value) else None for value in values.tolist()]


def numbers(values: Any, lanes: int, name: str) -> Array:
    """Return what `listed` returned as an array, NaN for null; StateError where it is not that of so many lanes."""
    if not _is_list(values, lanes) or not all(each is None or type(each) is float for each in values):
        raise StateError(f"{name} is {values!r}, not a number for each of {lanes} lanes")
    return np.array([np.nan if each is None else each for each in values])


def counts(values: Any, lanes: int, name: str) -> Array:
    """Return a list of counts as an array; StateError where it is not that of so many lanes."""
    if not _is_list(values, lanes) or not all(type(each) is int and 0 <= each < 2**53 for each in values):
        raise StateError(f"{name} is {values!r}, not a count for each of {lanes} lanes")
    return np.array(values, np.int64)


def mapping(state: Any, owner: str) -> Mapping[str, Any]:
    """Return a state that is a mapping; StateError for any other."""
    if not isinstance(state, Mapping):
        raise StateError(f"{owner}: the state says nothing of its metrics")
    return state


def _is_list(values: Any, lanes: int) -> bool:
    return isinstance(values, list) and len(values) == lanes
