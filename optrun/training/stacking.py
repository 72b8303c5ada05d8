"""Stack the configs of a pack: floats that differ become arrays with one value per lane."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.config.model.components import Component
from optrun.errors import ConfigError
from optrun.registry import TRANSFORMS, Added, Option, Registry, schedulers
from optrun.schedulers import LRScheduler
from optrun.schedulers.binding import HasGroups


def stacked(values: Sequence[Any], known: Registry[Any] = schedulers) -> Any:
    """Return one value for all lanes; floats that differ become an array `[B]`.

    Mappings, lists and components are stacked recursively; components are of a known registry. Raises ConfigError if
    anything but floats differs.
    """
    first = values[0]
    if isinstance(first, Component) and all(
        isinstance(value, Component) and value.name == first.name for value in values
    ):
        options = [value.options for value in values]
        if any(each.keys() != options[0].keys() for each in options):
            options = [with_added_floats({"name": first.name, **each}, known) for each in options]
            options = [{key: each[key] for key in each if key != "name"} for each in options]
        return Component(name=first.name, options=stacked(options, known))
    if isinstance(first, dict) and all(value.keys() == first.keys() for value in values):
        return {key: stacked([value[key] for value in values], TRANSFORMS.get(key, known)) for key in first}
    if isinstance(first, list) and all(len(value) == len(first) for value in values):
        return [stacked(column, known) for column in zip(*values, strict=True)]
    if all(isinstance(value, float) for value in values):
        numbers = np.array(values)
        return first if is_one_number(numbers) else numbers
    if all(value == first for value in values):
        return first
    raise ConfigError(f"runs of one pack may differ in numbers alone, not {first!r} and others")


def with_added_floats(chosen: Mapping[str, Any], known: Registry[Any]) -> dict[str, Any]:
    """Return a name with its options, also the `Added` floats that a config leaves out at their defaults."""
    options: Mapping[str, Option] = known.find(chosen["name"]).options()
    added = {
        key: option.default for key, option in options.items() if option.is_float and option.marks(Added)
    }
    return {**added, **chosen}


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
