"""Arguments of the Python API, whose types nothing else checks."""

import os
from typing import Any

from optrun.errors import ConfigError, brief


def check_numbers(**given: Any) -> None:
    """Raise ConfigError for an argument that is neither a number nor None."""
    for name, value in given.items():
        if isinstance(value, bool) or not (value is None or isinstance(value, (int, float))):
            raise ConfigError(f"{name} must be a number, not {brief(value)}", field=name)


def check_texts(**given: Any) -> None:
    """Raise ConfigError for an argument that is neither a string nor None."""
    for name, value in given.items():
        if not (value is None or isinstance(value, str)):
            raise ConfigError(f"{name} must be a string, not {brief(value)}", field=name)


def check_paths(**given: Any) -> None:
    """Raise ConfigError for an argument that is no path."""
    for name, value in given.items():
        if not isinstance(value, (str, os.PathLike)):
            raise ConfigError(f"{name} must be a path, not {brief(value)}", field=name)
