"""`extends:`, a config that builds on others.

Mappings are merged key by key, the later over the earlier: the files in the order in which they are named, then the
file that names them. Anything else, a list too, is replaced. A problem, optimizer or schedule of another name
replaces the one below it whole: options of an Adam mean nothing to an SGD. ``betas`` and ``beta1`` are one thing in two
spellings.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from optrun.checks.messages import shown
from optrun.config.model.options import METRIC, SCHEDULES
from optrun.config.tuples import below, tuples_named
from optrun.config.yaml.errors import ConfigErrors, Issue, Place, in_order
from optrun.config.yaml.files import YAML, directory_of, read_file
from optrun.config.yaml.tree import MAX_NODES, Document, Path, YamlNode
from optrun.errors import fold, unreadable
from optrun.registry import SECTIONS

EXTENDS = "extends"
MAX_FILES = 16


def extended(document: Document) -> Document:
    """Return a document with everything that it extends merged below it.

    Raises ConfigErrors, at the place that names it, for a file that is missing, unreadable or extends itself.
    """
    files = _Files()
    source = document.root.place.source
    root = files.merged(document, (source,))
    if root.size > MAX_NODES:
        files.refuse(root.place, f"more than {MAX_NODES:,} values in all files together")
    if files.broken:
        raise ConfigErrors(in_order(files.issues, source))
    return Document(root, files.issues, files.spoiled, files.order)


def merge(base: YamlNode, over: YamlNode, path: Path = ()) -> YamlNode:
    """Return the values of `over` and those of `base` that it says nothing about."""
    if (len(path) == 1 and path[0] in SECTIONS) or (len(path) == 2 and path[0] == SCHEDULES):
        base, over = _spelled_out(base), _spelled_out(over)
        if _renamed(base, over):
            return over
        if path[0] in SECTIONS and isinstance(over.value, dict):
            base = below(base, over.value, tuples_named(path[0], over, base))
    if list(path) == METRIC and isinstance(over.value, dict):
        base = _spelled_out(base)
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    children = dict(base.value)
    for key, node in over.value.items():
        children[key] = merge(children[key], node, (*path, key)) if key in children else node
    return YamlNode.mapping(children, over.place, over.key)


def _spelled_out(node: YamlNode) -> YamlNode:
    return YamlNode.mapping({"name": node}, node.place, node.key) if isinstance(node.value, str) else node


def _renamed(base: YamlNode, over: YamlNode) -> bool:
    before, after = base.child("name"), over.child("name")
    if not before or not after or not isinstance(before.value, str) or not isinstance(after.value, str):
        return False
    return fold(before.value) != fold(after.value)


@dataclass
class _Files:
    issues: list[Issue] = field(default_factory=list)
    spoiled: set[Path] = field(default_factory=set)
    order: list[str] = field(default_factory=list)
    """The files in the order in which they are merged."""

    count: int = 0
    broken: bool = False
    """Whether a file could not be merged: what else is wrong may follow from that."""

    def merged(self, document: Document, chain: tuple[str, ...]) -> YamlNode:
        """Return a document's values over those of the files that it extends."""
        self.issues += document.issues
        self.spoiled |= document.spoiled
        root = document.root
        if not isinstance(root.value, dict) or EXTENDS not in root.value:
            self.order.append(chain[-1])
            return root
        own = {key: node for key, node in root.value.items() if key != EXTENDS}
        result = YamlNode.mapping({}, root.place)
        for node, file in self._named(root.value[EXTENDS], chain):
            base = self._base(node.place, file, chain)
            result = merge(result, base) if base else result
        self.order.append(chain[-1])
        return merge(result, YamlNode.mapping(own, root.place))

    def refuse(self, place: Place, message: str) -> None:
        """Note what is wrong with an `extends`."""
        self.broken = True
        self.issues.append(Issue.at(place, (EXTENDS,), message))

    def _named(self, named: YamlNode, chain: tuple[str, ...]) -> Iterator[tuple[YamlNode, str]]:
        """Yield each file that is named, with the node that names it."""
        source = chain[-1]
        if named.value is not None and source.startswith("<"):
            self.refuse(named.place, "only a file can extend others: there is none here to look beside")
            return
        nodes = named.value if isinstance(named.value, list) else [named]
        for node in nodes:
            # A path that cannot be printed holds what no file system takes, such as U+0000.
            if isinstance(node.value, str) and node.value and node.value.isprintable():
                yield node, str(directory_of(source) / os.path.expanduser(node.value))
            elif node.value is not None or node is not named:
                self.refuse(node.place, f"must be a path, or a list of paths (got {shown(node.plain())})")

    def _base(self, place: Place, file: str, chain: tuple[str, ...]) -> YamlNode | None:
        self.count += 1
        if os.path.realpath(file) in map(os.path.realpath, chain):
            self.refuse(place, f"a cycle: {' → '.join((*chain, file))}")
        elif self.count > MAX_FILES:
            if self.count == MAX_FILES + 1:
                self.refuse(place, f"more than {MAX_FILES} files")
        elif os.path.exists(file) and not os.path.isfile(file):
            self.refuse(place, f"{file}: is not a file")
        else:
            return self._read(place, file, chain)
        return None

    def _read(self, place: Place, file: str, chain: tuple[str, ...]) -> YamlNode | None:
        try:
            document = read_file(FilePath(file))
        except OSError as error:
            self.refuse(place, f"{file}: {unreadable(FilePath(file), error, YAML)}")
        except ConfigErrors as errors:
            self.broken = True
            self.issues += errors.issues
        else:
            if isinstance(document.root.value, dict):
                return self.merged(document, (*chain, file))
            self.refuse(place, f"{file}: a config is a mapping of keys to values")
        return None
