"""What metrics have come to, as a state_dict has it: a list with an entry for each lane."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.errors import StateError, counted

MEMBERS = "schedulers"
"""What the states of a schedule's members are called: a list of them, unlike all others not of lanes."""


def listed(values: Array) -> list[float | None]:
    """Return numbers as JSON has them, null for those that are not finite."""
    return [value if np.isfinite(value) else None for value in values.tolist()]


def numbers(values: Any, lanes: int, name: str) -> Array:
    """Return what `listed` returned as an array, NaN for null; StateError where it is not that of so many lanes."""
    if not _is_list(values, lanes) or not all(each is None or type(each) is float for each in values):
        raise StateError(f"{name} is {values!r}, not a number for each of {counted(lanes, 'lane')}")
    return np.array([np.nan if each is None else each for each in values])


def counts(values: Any, lanes: int, name: str) -> Array:
    """Return a list of counts as an array; StateError where it is not that of so many lanes."""
    if not _is_list(values, lanes) or not all(type(each) is int and 0 <= each < 2**53 for each in values):
        raise StateError(f"{name} is {values!r}, not a count for each of {counted(lanes, 'lane')}")
    return np.array(values, np.int64)


def mapping(state: Any, owner: str) -> Mapping[str, Any]:
    """Return a state that is a mapping; StateError for any other."""
    if not isinstance(state, Mapping):
        raise StateError(f"{owner}: the state says nothing of its metrics")
    return state


def picked_state(state: Mapping[str, Any], lanes: Sequence[int]) -> dict[str, Any]:
    """Return the state_dict of a scheduler for some of its lanes."""
    picked: dict[str, Any] = _merged([state], lambda lists: [lists[0][lane] for lane in lanes])
    return picked


def joined_states(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return state_dicts of one scheduler, each for lanes of its own, as one for all; StateError where they differ."""
    joined: dict[str, Any] = _merged(states, lambda lists: [value for each in lists for value in each])
    return joined


def _merged(parts: Sequence[Any], lists: Callable[[Sequence[list[Any]]], list[Any]], name: str = "") -> Any:
    """Return parts of states as one: what is a list of lanes is merged by ``lists``, all else must be alike."""
    first = parts[0]
    if any(type(part) is not type(first) for part in parts):
        raise StateError(f"the states of schedulers are of different kinds: {name}")
    if isinstance(first, Mapping):
        if any(part.keys() != first.keys() for part in parts):
            raise StateError("the states of schedulers are of different kinds")
        return {key: _merged([part[key] for part in parts], lists, key) for key in first}
    if not isinstance(first, list):
        if any(part != first for part in parts):
            raise StateError(f"the states of schedulers differ: {name} is {first!r} and others")
        return first
    if name != MEMBERS:
        return lists(parts)
    if any(len(part) != len(first) for part in parts):
        raise StateError("the states of schedulers have different members")
    return [_merged(member, lists) for member in zip(*parts, strict=True)]


def _is_list(values: Any, lanes: int) -> bool:
    return isinstance(values, list) and len(values) == lanes
