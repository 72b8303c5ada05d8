"""Hyperparameters: values checked against the signature that declares them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.checks.tuples import Tuples, spelled_out
from optrun.errors import ConfigError, brief, did_you_mean
from optrun.registry import Option, said_of

Value = float | bool | int | str | Array | None


def checked(option: Option, value: Any, lanes: int | None, owner: str) -> Any:
    """Return a hyperparameter in the form in which it is kept: a float, or read-only float64 `[B]`, one per lane.

    Raises ConfigError where it has another type or lies out of bounds. Without ``lanes`` it may be for any number.
    """
    if not option.is_float:
        return option.check(value, owner)
    if isinstance(value, (int, float)):
        return float(option.check(value, owner)) + 0.0  # no -0.0, which would be equal to 0.0
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    lanes = lanes or array.size or 1
    if array.dtype.kind not in "iuf" or array.shape not in ((), (1,), (lanes,)):
        if array.ndim and lanes > 1:
            per_lane = f"must be a number or {lanes} of them, one per lane (got {brief(value)})"
            raise ConfigError(said_of(owner, option.name, per_lane), field=option.name)
        # pydantic would take NumPy's truth for a number.
        return option.check(bool(value) if isinstance(value, np.bool_) else value, owner)
    numbers = np.asarray(array.astype(np.float64) + 0.0)
    for extreme in (numbers.min(), numbers.max()):
        option.check(float(extreme), owner)
    if numbers.size == 1:
        return float(numbers.flat[0])
    numbers.setflags(write=False)
    return numbers


def completed(
    known: Mapping[str, Option], given: Mapping[str, Any], owner: str, lanes: int | None = None
) -> dict[str, Any]:
    """Return all options, checked: those that are given, the defaults of the others.

    Raises ConfigError for one that is unknown, missing or wrong. Without ``lanes`` a float may be for any number.
    """
    values = {name: option.default for name, option in known.items() if not option.required} | dict(given)
    for name in known:
        if name not in values:
            raise ConfigError(f"{owner}: {name} is required", field=name)
    return {
        name: checked(option_named(name, known, {}, owner), value, lanes, owner)
        for name, value in values.items()
    }


def without_tuples(values: Mapping[str, Any], tuples: Tuples, owner: str) -> dict[str, Any]:
    """Return the values with torch's tuples, such as ``betas``, as one hyperparameter each, or raise ConfigError."""
    result, _, wrong = spelled_out(values, tuples)
    for name, message in wrong.items():
        raise ConfigError(said_of(owner, name, message), field=name)
    return result


def option_named(name: str, options: Mapping[str, Option], tuples: Tuples, owner: str) -> Option:
    """Return the option of this name, or raise ConfigError with the nearest one."""
    if name not in options:
        hint = did_you_mean(name, [*options, *tuples])
        raise ConfigError(f"{owner}: unknown option {name!r}.{hint}", field=name)
    return options[name]
