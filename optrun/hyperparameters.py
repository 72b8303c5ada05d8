"""Hyperparameters: values checked against the signature that declares them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from optrun.arrays import Array
from optrun.errors import ConfigError, brief, did_you_mean
from optrun.registry import Option

Value = float | bool | int | str | Array | None


def checked(option: Option, value: Any, lanes: int, owner: str) -> Any:
    """Return a hyperparameter in the form in which it is kept: a float, or read-only float64 `[B]`, one per lane.

    Raises ConfigError where it has another type or lies out of bounds.
    """
    if not option.is_float:
        return _checked_flag(option, value, owner)
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "iuf" or array.shape not in ((), (1,), (lanes,)):
        per_lane = f" or {lanes} of them, one per lane" if lanes > 1 else ""
        raise ConfigError(
            f"{owner}: {option.name} must be a number{per_lane} (got {brief(value)})", field=option.name
        )
    numbers = np.asarray(array.astype(np.float64) + 0.0)  # no -0.0, which would be equal to 0.0
    if not np.isfinite(numbers).all():
        raise ConfigError(f"{owner}: {option.name} must be finite (got {brief(value)})", field=option.name)
    for bound in option.bounds:
        holds = np.asarray(bound.holds(numbers))
        if not np.all(holds):
            worst = numbers if not numbers.ndim else numbers[~holds][0]
            raise ConfigError(f"{owner}: {option.name} must be {bound} (got {worst})", field=option.name)
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
        name: checked(option_named(name, known, {}, owner), value, lanes or np.size(value), owner)
        for name, value in values.items()
    }


def _checked_flag(option: Option, value: Any, owner: str) -> Any:
    try:
        return option.adapter.validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        reason = str(first.get("ctx", {}).get("error") or first["msg"])
        got = "" if "(got " in reason else f" (got {brief(value)})"
        raise ConfigError(f"{owner}: {option.name}: {reason}{got}", field=option.name) from None


def spelled_out(
    values: Mapping[str, Any], tuples: Mapping[str, tuple[str, ...]], owner: str
) -> dict[str, Any]:
    """Return the values with torch's tuples, such as ``betas``, as one hyperparameter each."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        parts = tuples.get(name)
        if parts is None:
            result[name] = value
            continue
        if not isinstance(value, Sequence) or len(value) != len(parts):
            raise ConfigError(
                f"{owner}: {name} must be {len(parts)} numbers (got {brief(value)})", field=name
            )
        for part, number in zip(parts, value, strict=True):
            if part in values:
                raise ConfigError(f"{owner}: {name} and {part} say the same thing twice", field=part)
            result[part] = number
    return result


def option_named(
    name: str, options: Mapping[str, Option], tuples: Mapping[str, tuple[str, ...]], owner: str
) -> Option:
    """Return the option of this name, or raise ConfigError with the nearest one."""
    if name not in options:
        hint = did_you_mean(name, [*options, *tuples])
        raise ConfigError(f"{owner}: unknown hyperparameter {name!r}.{hint}", field=name)
    return options[name]
