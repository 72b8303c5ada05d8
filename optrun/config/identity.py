"""What of a config determines the results of its run: the rest may change, and it is the same run."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from optrun.config.data_paths import path_mappings, path_options
from optrun.config.model.components import Component, class_of
from optrun.config.model.run import RunConfig
from optrun.registry import SECTIONS, TRANSFORMS, PathOrName, Registry, metrics, prediction_metrics

INERT = ("name", "engine", "checkpoint", "expect")
"""The parts of a config on which no number that a run leaves depends."""

ANY_PATH = "./"
"""Stands for the path of a file: which data it holds is told by their fingerprint, wherever it lies."""

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def determining(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a config, a JSON object, that determine results, without the paths of data."""
    return {name: _placeless(name, part) for name, part in document.items() if name not in INERT}


def canonical(document: Mapping[str, Any]) -> str:
    """Return a JSON object as the one text that all equal objects have."""
    return _ENCODER.encode(document)


def canonical_text(document: Mapping[str, Any], *, whole: bool = False) -> str:
    """Return the canonical text of what is determining in a config, or of the whole of it."""
    return next(canonical_texts([document], whole=whole))


def canonical_texts(documents: Iterable[Mapping[str, Any]], *, whole: bool = False) -> Iterator[str]:
    """Yield the canonical text of what is determining in each config, or of the whole of it.

    A part that is the very object that the config before has is not encoded again.
    """
    last: dict[str, tuple[Any, str]] = {}
    for document in documents:
        names = [name for name in sorted(document) if whole or name not in INERT]
        for name in names:
            part = document[name]
            if name not in last or last[name][0] is not part:
                chosen = part if whole else _placeless(name, part)
                last[name] = part, f"{_ENCODER.encode(name)}:{_ENCODER.encode(chosen)}"
        yield f"{{{','.join(last[name][1] for name in names)}}}"


def _placeless(name: str, part: Any) -> Any:
    cls = class_of("problem", part) if name == "problem" and isinstance(part, dict) else None
    files = [option for option in (path_options(cls) if cls else ()) if _is_path(part.get(option))]
    within = {
        option: {key: ANY_PATH if _is_path(value) else value for key, value in part[option].items()}
        for option in (path_mappings(cls) if cls else ())
        if isinstance(part.get(option), dict)
    }
    return part | dict.fromkeys(files, ANY_PATH) | within if files or within else part


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and PathOrName.is_path(value)


def classes_of(config: RunConfig) -> dict[str, Any]:
    """Return the classes of which a run is made, by their kinds and names: ``optimizer Adam``."""
    groups = config.optimizer.param_groups
    schedules = [config.scheduler, *config.schedules.values()]
    schedules += [each for group in groups for each in group.schedules.values()]
    of_groups = [Component(name=each.name or config.optimizer.name, options=each.options) for each in groups]
    chosen: list[tuple[str, Any]] = [("problem", config.problem), ("optimizer", config.optimizer)]
    chosen += [("optimizer", each) for each in of_groups]
    chosen += [("scheduler", each) for each in schedules] + [("average", config.average)]
    measured = [*config.record.measured, *(config.evaluate.metrics or ())]
    return {
        f"{known.kind} {each.name}": known.find(each.name)
        for kind, component in chosen
        for known, each in _components(component, SECTIONS[kind])
    } | {
        f"metric {name}": (metrics if name in metrics else prediction_metrics).find(name) for name in measured
    }


def _components(value: Any, known: Registry[Any]) -> Iterator[tuple[Registry[Any], Component]]:
    """Yield a component and those within its options, each with the registry in which it is."""
    if isinstance(value, Component):
        yield known, value
        for option, each in value.options.items():
            yield from _components(each, TRANSFORMS.get(option, known))
    for each in value if isinstance(value, list) else ():
        yield from _components(each, known)
