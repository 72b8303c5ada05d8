"""Torch's tuples of options, such as ``betas``, as one option each; a tuple of one is another name of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from optrun.checks.messages import shown
from optrun.checks.scalars import Path

Tuples = Mapping[str, Sequence[str]]
"""The names of the parts of a tuple, by its name."""


def spelled_out(
    values: Mapping[str, Any], tuples: Tuples
) -> tuple[dict[str, Any], dict[str, Path], dict[str, str]]:
    """Return the values with each tuple as its parts, where those were found, and what is wrong with which tuple."""
    result: dict[str, Any] = {}
    places: dict[str, Path] = {}
    wrong: dict[str, str] = {}
    for name, value in values.items():
        if name not in tuples:
            result[name] = value
            continue
        parts = tuples[name]
        both = [part for part in parts if part in values]
        if len(parts) == 1 and not both:
            result[parts[0]] = value
            places[parts[0]] = (name,)
        elif isinstance(value, str) or not isinstance(value, Sequence) or len(value) != len(parts):
            wrong[name] = f"must be a list of {len(parts)}: [{', '.join(parts)}] (got {shown(value)})"
        elif both:
            wrong[name] = f"{name} and {both[0]} are both set: choose one"
        else:
            result.update(zip(parts, value, strict=True))
            places.update({part: (name, i) for i, part in enumerate(parts)})
    return result, places, wrong
