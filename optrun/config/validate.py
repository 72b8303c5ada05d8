"""A tree of values → a RunConfig, or every issue with its place."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from optrun.checks.messages import CONFLICT, MISSING, UNKNOWN_KEY, message, of_seeds
from optrun.config.data_paths import path_mappings, path_options, resolved_path
from optrun.config.model.components import class_of
from optrun.config.model.options import SCHEDULES, START, Model
from optrun.config.model.run import RunConfig
from optrun.config.yaml.errors import ConfigErrors, Issue, in_order
from optrun.config.yaml.tree import Document, Path, YamlNode
from optrun.errors import fold, nearest
from optrun.registry import DECAY, SECTIONS, TRANSFORMS, tuples_of

_FORMS: Mapping[Path, str] = {
    ("seeds",): "{init: 0, data: seed}",
    ("problem", "start"): "{x: 1.0, y: [0.5, 1.0]}",
    ("record",): "{every: 10, metrics: [grad_norm]}",
    ("evaluate",): "{every: 100}",
    ("checkpoint",): "{every: 30s}",
    ("stop",): "{target: 1e-6, patience: 100}",
    ("expect",): "{final_loss: {max: 1e-6}}",
    ("expect", "*"): "{max: 1e-6}",
    ("schedules",): "{weight_decay: {name: LinearLR}}",
}
"""What the sections look like that are mappings; * is any key."""


def validate(document: Document, name: str) -> RunConfig:
    """Return the config of a document; `name` is the run's where it gives none.

    Paths are relative to the file that holds them; those of overrides to the working directory.
    Raises ConfigErrors.
    """
    root = document.root
    if not isinstance(root.value, dict):
        place = root.place
        raise ConfigErrors([*document.issues, Issue.at(place, (), "a config is a mapping of keys to values")])
    data = completed(root, name)
    try:
        config = RunConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigErrors(_issues(error.errors(include_url=False), document, data)) from None
    if document.issues:
        raise ConfigErrors(document.issues)
    return config


def completed(root: YamlNode, name: str) -> dict[str, Any]:
    """Return the values of a config with its name and absolute paths; `name` is the run's where it gives none."""
    data: dict[str, Any] = root.plain()
    if data.get("name") is None:
        data["name"] = name
    _resolve_paths(data, root)
    return data


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
        text = _with_form(path, message(error))
        if error["type"] == CONFLICT:
            if _rank(document, other) > _rank(document, path):
                path, other, text = other, path, error["ctx"]["instead"]
            text += _elsewhere(document, path, other)
        if error["type"] == UNKNOWN_KEY:
            meant, advice = _meant(path, error["ctx"]["known"], homes)
            suggested.add(meant)
            text += advice + _replacing(document, path)
        issues.append(_issue(document.root, path, text, at_key=error["type"] == UNKNOWN_KEY))
    return in_order(issues, document.root.place.source)


def _with_form(path: Path, text: str) -> str:
    """Return what is wrong with a part of the config, and where it is no mapping what it looks like."""
    if path == ("seed",):
        return of_seeds(text)
    form = _FORMS.get(path) or _FORMS.get(path[:1] if len(path) < 2 else (*path[:1], "*"))
    must = "must be a mapping"
    return text.replace(must, f"{must} such as {form}", 1) if form and text.startswith(must) else text


def _rank(document: Document, path: Path) -> int:
    """Return how late the source of a value comes among those of the config."""
    source = document.root.at(path).place.source
    ranks = [i for i, each in enumerate(document.order) if each == source]
    return max(ranks, default=-1)


def _elsewhere(document: Document, path: Path, other: Path) -> str:
    """Return where a key is that another one does not go with, if it is in another file."""
    place = document.root.at(other).place
    is_there = place.line is None or place.source == document.root.at(path).place.source
    return "" if is_there else f"; {other[-1]} is at {place}"


def _replacing(document: Document, path: Path) -> str:
    """Return the advice for a key that an override of the name has left without a meaning."""
    section = path[: 2 if path[0] == SCHEDULES else 1]
    name = document.root.at(section).child("name")
    if (
        path[0] not in (*SECTIONS, SCHEDULES)
        or len(path) <= len(section)
        or not name
        or name.place.line is not None
    ):
        return ""
    if _rank(document, (*section, "name")) <= _rank(document, path):
        return ""
    return f"; to replace the whole section write {'.'.join(map(str, section))}={name.value}"


def _issue(root: YamlNode, path: Path, text: str, *, at_key: bool) -> Issue:
    node = root.at(path)
    return Issue.at(node.key if at_key and node.key else node.place, path, text)


_ELSEWHERE_CALLED = {
    **dict.fromkeys(
        (
            "maxgradnorm",
            "gradclip",
            "gradclipnorm",
            "clipgradnorm",
            "gradientclipval",
            "globalclipnorm",
            "clip",
        ),
        "ClipNorm",
    ),
    "clipgradvalue": "ClipValue",
}
"""Transforms by the folded keys that other programs have for them."""


def _meant(path: Path, known: list[str], homes: Mapping[str, list[str]]) -> tuple[Path, str]:
    """Return the path that an unknown key was meant for, and the advice to go there."""
    if list(path) == START:
        return path, ": the parameters of this problem are drawn from the seed"
    key = str(path[-1])
    elsewhere = homes.get(fold(key), [])
    if len(elsewhere) in (1, 2) and fold(key) not in map(fold, known):
        where = "" if "." in elsewhere[0] or len(path) == 1 else " at the top level"
        return tuple(elsewhere[0].split(".")), f". Did you mean {' or '.join(map(repr, elsewhere))}{where}?"
    near = nearest(key, known)
    name = _ELSEWHERE_CALLED.get(fold(key), key)
    kind = next((kind for kind, registry in TRANSFORMS.items() if name in registry), None)
    if kind is not None and (len(path) == 1 or path[0] == "optimizer"):
        spelled = TRANSFORMS[kind].spelled(name)
        return path, f". Did you mean 'optimizer.{kind}: [{{name: {spelled}}}]'?"
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
    for kind in (*TRANSFORMS, DECAY):
        homes[fold(kind)].append(f"optimizer.{kind}")
    for section in SECTIONS:
        if cls := class_of(section, data.get(section)):
            for key in (*cls.options(), *tuples_of(cls)):
                homes[fold(key)].append(f"{section}.{key}")
    return homes


def _resolve_paths(data: dict[str, Any], root: YamlNode) -> None:
    problem = data.get("problem")
    cls = class_of("problem", problem)
    if cls is None or not isinstance(problem, dict):
        return
    for name in path_options(cls):
        if name in problem:
            problem[name] = resolved_path(problem[name], root.at(("problem", name)).place)
    for name in path_mappings(cls):
        if isinstance(given := problem.get(name), dict):
            problem[name] = {
                key: resolved_path(value, root.at(("problem", name, key)).place)
                for key, value in given.items()
            }
