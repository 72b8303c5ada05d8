"""Whether the config.yaml of a run still says what the run was started with."""

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from optrun.checks.messages import shown
from optrun.config.data_paths import nearby
from optrun.config.identity import determining
from optrun.config.model.components import Component
from optrun.config.model.run import RunConfig
from optrun.config.resolution import resolve
from optrun.config.yaml.errors import ConfigErrors, Issue, Place
from optrun.config.yaml.tree import Path

_ABSENT: Any = object()


def as_in_file(file: FilePath, config: RunConfig) -> RunConfig:
    """Return a config with the paths of data that a file has, if it is there, or found around it: data may have moved.

    Raises ConfigErrors where the file says something else that determines results.
    """
    problem = _checked(file, config) if file.exists() else config.problem
    options = {name: nearby(value, file.parent) for name, value in problem.options.items()}
    return config.model_copy(update={"problem": problem.model_copy(update={"options": options})})


def _checked(file: FilePath, config: RunConfig) -> Component:
    """Return the problem of a file; raises ConfigErrors where it says something else that determines results."""
    resolved = resolve(file)
    issues = []
    now, then = (determining(each.to_dict()) for each in (resolved.config, config))
    for path, here, before in _differences(now, then):
        place = resolved.place(path) or Place(str(file))
        said = f"is {_text(here)} here, and the run was started with {_text(before)}"
        issues.append(Issue.at(place, path, f"{said}: put that back, or run anew: optrun run {file}"))
    if issues:
        raise ConfigErrors(issues)
    return resolved.config.problem


def _differences(now: Any, then: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """Yield where two configs differ, and both values."""
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        for key in dict.fromkeys([*then, *now]):
            yield from _differences(now.get(key, _ABSENT), then.get(key, _ABSENT), (*path, key))
    elif now != then:
        yield path, now, then


def _text(value: Any) -> str:
    return "absent" if value is _ABSENT else shown(value)
