"""A config as a tree of values that know where they were written."""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optrun.checks.scalars import Path as Path
from optrun.checks.scalars import Scalar
from optrun.config.yaml.errors import ConfigErrors, Issue, Place

MAX_DEPTH = 32
MAX_NODES = 10_000

_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class YamlNode:
    """A scalar, a list of nodes or a mapping of nodes; `size` counts it and all below, aliases expanded."""

    value: "Scalar | list[YamlNode] | dict[str, YamlNode]"
    place: Place
    key: Place | None = None
    """Where its key is, for a value of a mapping."""

    size: int = 1

    @classmethod
    def of(cls, data: Any, place: Place, path: Path = (), key: Place | None = None) -> "YamlNode":
        """Return plain data as a tree whose nodes all have one place.

        Raises ConfigErrors for what a config cannot hold.
        """
        data = _as_plain(data)
        problem = _unusable(data) if len(path) <= MAX_DEPTH else f"nested deeper than {MAX_DEPTH} levels"
        if problem:
            raise ConfigErrors([Issue.at(place, path, problem)])
        if isinstance(data, Mapping):
            children = {name: cls.of(value, place, (*path, name), place) for name, value in data.items()}
            return cls.mapping(children, place, key)
        if isinstance(data, (list, tuple)):
            return cls.sequence(
                [cls.of(value, place, (*path, i)) for i, value in enumerate(data)], place, key
            )
        return cls(data, place, key)

    @classmethod
    def mapping(cls, children: "dict[str, YamlNode]", place: Place, key: Place | None = None) -> "YamlNode":
        """Return the node of a mapping."""
        return cls(children, place, key, 1 + sum(child.size for child in children.values()))

    @classmethod
    def sequence(cls, children: "list[YamlNode]", place: Place, key: Place | None = None) -> "YamlNode":
        """Return the node of a list."""
        return cls(children, place, key, 1 + sum(child.size for child in children))

    def plain(self) -> Any:
        """Return the values without their places."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def leaves(self) -> "Iterator[YamlNode]":
        """Iterate over what is no mapping and no list."""
        if not isinstance(self.value, (dict, list)):
            yield self
            return
        for child in self.value.values() if isinstance(self.value, dict) else self.value:
            yield from child.leaves()

    @property
    def items(self) -> "list[YamlNode]":
        """What a list holds; nothing of anything else."""
        return self.value if isinstance(self.value, list) else []

    @property
    def children(self) -> "dict[str, YamlNode]":
        """What a mapping holds; nothing of anything else."""
        return self.value if isinstance(self.value, dict) else {}

    def child(self, step: str | int) -> "YamlNode | None":
        """Return the value under a key or an index, or None."""
        if isinstance(self.value, dict):
            return self.value.get(str(step))
        if isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            return self.value[step]
        return None

    def along(self, path: Sequence[str | int]) -> "Iterator[YamlNode]":
        """Iterate over the nodes on the way down a path, as far as it exists."""
        node: YamlNode | None = self
        yield self
        for step in path:
            node = node.child(step) if node else None
            if node is None:
                return
            yield node

    def at(self, path: Sequence[str | int]) -> "YamlNode":
        """Return what was written at a path, or the last of what is around it."""
        *_, node = self.along(path)
        return node


@dataclass(frozen=True)
class Document:
    """What was read."""

    root: YamlNode
    issues: list[Issue]
    spoiled: set[Path]
    """Where a value was given up: what else is wrong there follows from that."""

    order: Sequence[str] = ()
    """The sources of the values, the later ones over the earlier ones."""


def _as_plain(data: Any) -> Any:
    np = sys.modules.get("numpy")  # a scalar of it has imported it, and nothing else here needs it
    if np and isinstance(data, (np.integer, np.floating, np.bool_, np.str_)):
        return data.item()
    return os.fspath(data) if isinstance(data, os.PathLike) else data


def _unusable(data: Any) -> str:
    if isinstance(data, Mapping):
        return next((problem for key in data if (problem := _unusable_key(key))), "")
    if isinstance(data, str) and not _is_text(data):
        return f"{data!r} holds a character that no text has"
    if data is None or isinstance(data, (bool, int, float, str, list, tuple)):
        return ""
    return f"a config holds plain values, not {type(data).__name__}"


def _unusable_key(key: Any) -> str:
    return "" if isinstance(key, str) and _is_text(key) else f"a key must be a string (got {key!r})"


def _is_text(text: str) -> bool:
    return not _NO_TEXT.search(text)
