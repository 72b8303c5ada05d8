"""Stack the configs of a pack: floats that differ become arrays with one value per lane."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.config.model.components import Component
from optrun.errors import ConfigError
from optrun.registry import schedulers
from optrun.schedulers import LRScheduler
from optrun.schedulers.binding import HasGroups


def stacked(values: Sequence[Any]) -> Any:
    """Return one value for all lanes; floats that differ become an array `[B]`.

    Mappings, lists and components are stacked recursively. Raises ConfigError if anything but floats differs.
    """
    first = values[0]
    if isinstance(first, Component) and all(
        isinstance(value, Component) and value.name == first.name for value in values
    ):
        return Component(name=first.name, options=stacked([value.options for value in values]))
    if isinstance(first, dict) and all(value.keys() == first.keys() for value in values):
        return {key: stacked([value[key] for value in values]) for key in first}
    if isinstance(first, list) and all(len(value) == len(first) for value in values):
        return [stacked(column) for column in zip(*values, strict=True)]
    if all(isinstance(value, float) for value in values):
        numbers = np.array(values)
        return first if is_one_number(numbers) else numbers
    if all(value == first for value in values):
        return first
    raise ConfigError(f"runs of one pack may differ in numbers alone, not {first!r} and others")


def is_one_number(values: Array) -> bool:
    """Return whether floats are all the same; 0.0 and -0.0 are not."""
    return bool((values.view(np.int64) == values.view(np.int64)[0]).all())


def built(chosen: Component, optimizer: HasGroups | None = None, **binding: Any) -> LRScheduler:
    """Return the scheduler of a component, with the schedulers of nested components."""
    options = {name: _built_within(value) for name, value in chosen.options.items()}
    scheduler: LRScheduler = schedulers.find(chosen.name)(optimizer, **{**options, **binding})
    return scheduler


def _built_within(value: Any) -> Any:
    if isinstance(value, Component):
        return built(value)
    return [_built_within(each) for each in value] if isinstance(value, list) else value
