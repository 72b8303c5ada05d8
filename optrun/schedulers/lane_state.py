"""Scheduler state that depends on metrics, in the form of a state_dict: lists with one entry per lane."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.errors import StateError, counted

MEMBERS = "schedulers"
"""Key of the list of members' states; the only list in a state that is not per lane."""


def to_json(values: Array) -> list[float | None]:
    """Return the values as a JSON list; null for those that are not finite."""
    return [value if np.isfinite(value) else None for value in values.tolist()]


def floats_from_json(values: Any, lanes: int, name: str) -> Array:
    """Return the array of a list made by `to_json`, NaN for null; StateError if it is no list of ``lanes`` floats."""
    if not _is_list(values, lanes) or not all(each is None or type(each) is float for each in values):
        raise StateError(f"{name} is {values!r}, not a number for each of {counted(lanes, 'lane')}")
    return np.array([np.nan if each is None else each for each in values])


def counts_from_json(values: Any, lanes: int, name: str) -> Array:
    """Return the array of a list of counts; StateError if it is no list of ``lanes`` counts."""
    if not _is_list(values, lanes) or not all(type(each) is int and 0 <= each < 2**53 for each in values):
        raise StateError(f"{name} is {values!r}, not a count for each of {counted(lanes, 'lane')}")
    return np.array(values, np.int64)


def mapping(state: Any, owner: str) -> Mapping[str, Any]:
    """Return the state if it is a mapping; raise StateError otherwise."""
    if not isinstance(state, Mapping):
        raise StateError(f"{owner}: the state lacks the metrics' part")
    return state


def select_lanes(state: Mapping[str, Any], lanes: Sequence[int]) -> dict[str, Any]:
    """Return the state_dict of a scheduler for some of its lanes."""
    picked: dict[str, Any] = _merged([state], lambda lists: [lists[0][lane] for lane in lanes])
    return picked


def join_lanes(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join the state_dicts of one scheduler for different lanes into one; StateError if other parts differ."""
    joined: dict[str, Any] = _merged(states, lambda lists: [value for each in lists for value in each])
    return joined


def _merged(parts: Sequence[Any], lists: Callable[[Sequence[list[Any]]], list[Any]], name: str = "") -> Any:
    """Merge states: ``lists`` merges per-lane lists, everything else must be equal."""
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
