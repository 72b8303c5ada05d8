"""A config with everything that it extends, its overrides and its defaults, and where each value comes from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

from optrun.config.extends import extended
from optrun.config.model.options import GROUPS, MAP, SCHEDULES, SWEEP
from optrun.config.model.run import RunConfig
from optrun.config.overrides import named, override
from optrun.config.paths import steps_of
from optrun.config.sweep.expect import split
from optrun.config.validate import validate
from optrun.config.yaml.errors import ConfigErrors, Issue, Place
from optrun.config.yaml.files import is_stream, read_config
from optrun.config.yaml.tree import Document, Path, YamlNode
from optrun.errors import ConfigError
from optrun.registry import SECTIONS, TRANSFORMS, Registry, tuples_of


@dataclass(frozen=True)
class Origin:
    """Where a value of a config was set."""

    path: Path
    value: Any
    place: Place | None
    """In a file or an override; None for a default."""

    def __str__(self) -> str:
        return "default" if self.place is None else str(self.place)


@dataclass(frozen=True)
class Resolved:
    """A config and the values that it was made of."""

    config: RunConfig
    root: YamlNode

    @cached_property
    def origins(self) -> list[Origin]:
        """Every value of the complete config, in its order, with where it was set."""
        return list(origins_of((), self.config.to_dict(), self.root))

    def place(self, path: Path) -> Place | None:
        """Return where the value at a path was set, or None for a default."""
        return next((origin.place for origin in self.origins if origin.path == path), None)

    def located(self, error: ConfigError) -> ConfigErrors:
        """Return an error that names a part of the config in its ``field`` with the place of that part."""
        path = tuple(int(part) if part.isdigit() else part for part in steps_of(error.field))
        node = self.root
        for part in path:
            child = _source(node, part, None) if isinstance(part, str) else node.child(part)
            if child is None:
                break
            node = child
        message = str(error).removeprefix(f"{path[-1]}: ")
        return ConfigErrors([Issue.at(node.place, path if error.field else (), message)])


def resolve(path: str | FilePath, overrides: Sequence[str] = ()) -> Resolved:
    """Return the config in a YAML file, with overrides such as ``optimizer.lr=1e-3`` applied, and its origins.

    Raises ConfigErrors with every issue of the file, and of those it extends, and its place.
    """
    return resolved(read_config(FilePath(path)), overrides)


def resolved(document: Document, overrides: Sequence[str]) -> Resolved:
    """Return the config that a document and overrides make, and its origins."""
    source = document.root.place.source
    document = extended(document)
    root, issues = override(document.root, overrides)
    root = _of_one_run(root)
    name = "run" if source.startswith("<") or is_stream(source) else FilePath(source).stem
    order = [*document.order, *map(named, overrides)]
    config = validate(Document(root, [*document.issues, *issues], document.spoiled, order), name)
    return Resolved(config, root)


def _of_one_run(root: YamlNode) -> YamlNode:
    """Return a config without a sweep or a map that is turned off, and what a sweep is to reach.

    Raises ConfigErrors for one that is not turned off.
    """
    if not isinstance(root.value, dict):
        return root
    for key in (SWEEP, MAP):
        many = root.child(key)
        if many is not None and many.value is not None:
            source = root.place.source
            command = f"optrun {key} {'FILE' if source.startswith('<') else source}"
            text = f"these are many runs: `{command}` runs them, {key}=null is the run without them"
            raise ConfigErrors([Issue.at(many.key or many.place, (key,), text)])
    if SWEEP not in root.value:
        return without(root, MAP)
    return split(without(root, SWEEP, MAP))[0]


def without(root: YamlNode, *keys: str) -> YamlNode:
    """Return a config without some of its keys."""
    return YamlNode.mapping(
        {key: child for key, child in root.children.items() if key not in keys}, root.place
    )


def origins_of(
    path: Path,
    value: Any,
    node: YamlNode | None,
    registry: Registry[Any] | None = None,
    cls: type[Any] | None = None,
) -> Iterator[Origin]:
    """Yield every value below a path with where it was set."""
    if isinstance(value, dict):
        cls = registry.find(value["name"]) if registry and "name" in value else cls
        for key, child in value.items():
            below = registry or (None if path else SECTIONS.get(key))
            if key == SCHEDULES and (not path or path[-2:-1] == (GROUPS,)):
                below = SECTIONS["scheduler"]
            if path[:1] == ("optimizer",):
                below = TRANSFORMS.get(key, below)
            yield from origins_of((*path, key), child, _source(node, key, cls), below, cls)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for i, item in enumerate(value):
            yield from origins_of((*path, i), item, node.child(i) if node else None, registry, cls)
    else:
        yield Origin(path, value, node.place if node else None)


def _source(node: YamlNode | None, key: str, cls: type[Any] | None) -> YamlNode | None:
    """Return what was written for a key, which may be a bare name or a part of one of torch's tuples."""
    if node is None:
        return None
    if found := node.child(key):
        return found
    if isinstance(node.value, str):
        return node if key == "name" else None
    for joint, parts in tuples_of(cls).items():
        if key in parts and (values := node.child(joint)):
            return values.child(parts.index(key))
    return None
