"""Paths of data within a config: relative to the file that holds them, those of overrides to the working directory."""

import os
from pathlib import Path as FilePath
from typing import Any

from optrun.config.yaml.errors import Place
from optrun.config.yaml.files import directory_of
from optrun.config.yaml.tree import YamlNode
from optrun.registry import PathOrName, PathsWithin, problems


def path_options(cls: type[Any]) -> list[str]:
    """Return the options of a problem that may be paths."""
    options = cls.options() if hasattr(cls, "options") else {}
    return [name for name, option in options.items() if option.marks(PathOrName)]


def path_mappings(cls: type[Any]) -> list[str]:
    """Return the options of a problem that may be mappings whose texts are paths."""
    options = cls.options() if hasattr(cls, "options") else {}
    return [name for name, option in options.items() if option.marks(PathsWithin)]


def resolved_path(value: Any, place: Place) -> Any:
    """Return a value that was written somewhere, absolute where it is a path."""
    if not isinstance(value, str) or not PathOrName.is_path(value):
        return value
    base = directory_of(place.source) if place.line is not None else FilePath()
    return os.path.abspath(base / os.path.expanduser(value))


def swept_paths(path: str, node: YamlNode) -> Any:
    """Return what a path of the config is swept over, as plain values in which paths of data are absolute."""
    section, _, option = path.partition(".")
    if section != "problem":
        return node.plain()
    names = {name for each in problems for name in path_options(problems.find(each))}
    if option and option not in names:
        return node.plain()
    return _resolved(node, names, is_path=bool(option))


def _resolved(node: YamlNode, names: set[str], is_path: bool) -> Any:
    if isinstance(node.value, dict):
        return {key: _resolved(child, names, is_path or key in names) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [_resolved(child, names, is_path) for child in node.value]
    return resolved_path(node.value, node.place) if is_path else node.value


def nearby(value: Any, directory: FilePath) -> Any:
    """Return a value of a config, where it is the path of a file that is gone, as one around a directory, if there is.

    A project that was moved has its files where they were, seen from its runs. Whether it is the same file is for
    whoever knows the fingerprint of the data to say.
    """
    if not isinstance(value, str) or not os.path.isabs(value) or os.path.exists(value):
        return value
    parts = FilePath(value).parts
    directory = directory.absolute()
    for around in (directory, *directory.parents, FilePath.cwd()):
        for first in range(1, len(parts)):
            if (found := around.joinpath(*parts[first:])).is_file():
                return str(found)
    return value


def with_nearby(node: YamlNode, directory: FilePath) -> YamlNode:
    """Return a tree in which paths of files that are gone are those of files around a directory, where there are."""
    if isinstance(node.value, dict):
        children = {key: with_nearby(child, directory) for key, child in node.value.items()}
        return YamlNode.mapping(children, node.place, node.key)
    if isinstance(node.value, list):
        return YamlNode.sequence(
            [with_nearby(child, directory) for child in node.value], node.place, node.key
        )
    return YamlNode(nearby(node.value, directory), node.place, node.key, node.size)
