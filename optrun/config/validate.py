"""A tree of values → a RunConfig, or every issue with its place."""

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from optrun.config.components import REGISTRIES
from optrun.config.errors import ConfigErrors, Issue, in_order
from optrun.config.explain import CONFLICT, MISSING, UNKNOWN_KEY, message
from optrun.config.models import RunConfig
from optrun.config.schema import Model
from optrun.config.tree import Document, Node, Path
from optrun.errors import fold, nearest
from optrun.registry import PathOrName


def validate(document: Document, name: str) -> RunConfig:
    """Return the config of a document; `name` is the run's where it gives none.

    Paths are relative to the file that holds them; those of overrides to the working directory.
    Raises ConfigErrors.
    """
    root = document.root
    if not isinstance(root.value, dict):
        place = root.place
        raise ConfigErrors([*document.issues, Issue.at(place, (), "a config is a mapping of keys to values")])
    data = root.plain()
    if data.get("name") is None:
        data["name"] = name
    _resolve_paths(data, root)
    try:
        config = RunConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigErrors(_issues(error.errors(include_url=False), document, data)) from None
    if document.issues:
        raise ConfigErrors(document.issues)
    return config


def _issues(errors: list[ErrorDetails], document: Document, data: Mapping[str, Any]) -> list[Issue]:
    homes = _homes(data)
    suggested: set[Path] = set()
    issues = list(document.issues)
    for error in sorted(errors, key=lambda each: each["type"] != UNKNOWN_KEY):
        path = error["loc"]
        other = (*path[:-1], error.get("ctx", {}).get("other", ""))
        follows = error["type"] == MISSING.type and not suggested.isdisjoint((path, other))
        if follows or any(path[:i] in document.spoiled for i in range(len(path) + 1)):
            continue
        text = message(error)
        if error["type"] == CONFLICT and _rank(document, other) > _rank(document, path):
            path, text = other, error["ctx"]["instead"]
        if error["type"] == UNKNOWN_KEY:
            meant, advice = _meant(path, error["ctx"]["known"], homes)
            suggested.add(meant)
            text += advice + _replacing(document, path)
        issues.append(_issue(document.root, path, text, at_key=error["type"] == UNKNOWN_KEY))
    return in_order(issues, document.root.place.source)


def _rank(document: Document, path: Path) -> int:
    """Return how late the source of a value comes among those of the config."""
    source = list(document.root.along(path))[-1].place.source
    ranks = [i for i, each in enumerate(document.order) if each == source]
    return max(ranks, default=-1)


def _replacing(document: Document, path: Path) -> str:
    """Return the advice for a key that an override of the name has left without a meaning."""
    section = document.root.child(path[0])
    name = section and section.child("name")
    if path[0] not in REGISTRIES or len(path) < 2 or not name or name.place.line is not None:
        return ""
    if _rank(document, (path[0], "name")) <= _rank(document, path):
        return ""
    return f"; to replace the whole section write {path[0]}={name.value}"


def _issue(root: Node, path: Path, text: str, *, at_key: bool) -> Issue:
    node = list(root.along(path))[-1]
    return Issue.at(node.key if at_key and node.key else node.place, path, text)


def _meant(path: Path, known: list[str], homes: Mapping[str, list[str]]) -> tuple[Path, str]:
    """Return the path that an unknown key was meant for, and the advice to go there."""
    key = str(path[-1])
    elsewhere = homes.get(fold(key), [])
    if len(elsewhere) == 1 and fold(key) not in map(fold, known):
        return tuple(elsewhere[0].split(".")), f". Did you mean {elsewhere[0]!r}?"
    near = nearest(key, known)
    if near is None:
        return path, f". Known here: {', '.join(known)}"
    return (*path[:-1], near), f". Did you mean {near!r}?"


def _homes(data: Mapping[str, Any]) -> Mapping[str, list[str]]:
    """Return where in this config each key may stand, by its folded name."""
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for section in RunConfig.known_keys():
        homes[fold(section)].append(section)
    for section, info in RunConfig.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Model):
            for key in info.annotation.known_keys():
                homes[fold(key)].append(f"{section}.{key}")
    for section in REGISTRIES:
        if cls := _class_of(section, data):
            for key in (*cls.options(), *getattr(cls, "tuples", {})):
                homes[fold(key)].append(f"{section}.{key}")
    return homes


def _class_of(section: str, data: Mapping[str, Any]) -> type[Any] | None:
    given = data.get(section)
    name = given.get("name") if isinstance(given, dict) else given
    known = REGISTRIES[section]
    return known.find(name) if isinstance(name, str) and name in known else None


def _resolve_paths(data: dict[str, Any], root: Node) -> None:
    problem = data.get("problem")
    cls = _class_of("problem", data)
    if cls is None or not isinstance(problem, dict):
        return
    for name, option in cls.options().items():
        value = problem.get(name)
        if isinstance(value, str) and _mentions_path(option.annotation) and PathOrName.is_path(value):
            *_, node = root.along(("problem", name))
            base = FilePath(node.place.source).parent if node.place.line is not None else FilePath()
            problem[name] = os.path.abspath(base / os.path.expanduser(value))


def _mentions_path(annotation: Any) -> bool:
    return isinstance(annotation, PathOrName) or any(map(_mentions_path, get_args(annotation)))
