"""What of a config determines the results of its run: the rest may change, and it is the same run."""

import json
from collections.abc import Mapping
from typing import Any

from optrun.config.components import class_of
from optrun.config.data_paths import path_options
from optrun.registry import PathOrName

INERT = ("name", "engine", "checkpoint", "expect")
"""The parts of a config on which no number that a run leaves depends."""

ANY_PATH = "./"
"""Stands for the path of a file: which data it holds is told by their fingerprint, wherever it lies."""

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def determining(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a complete config, a JSON object, that determine results, without the paths of data."""
    found = {name: value for name, value in document.items() if name not in INERT}
    problem = found.get("problem")
    if isinstance(problem, dict) and (cls := class_of("problem", problem)) is not None:
        files = {name for name in path_options(cls) if _is_path(problem.get(name))}
        if files:
            found["problem"] = problem | dict.fromkeys(files, ANY_PATH)
    return found


def canonical(document: Mapping[str, Any]) -> str:
    """Return a JSON object as the one text that all equal objects have."""
    return _ENCODER.encode(document)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and PathOrName.is_path(value)
