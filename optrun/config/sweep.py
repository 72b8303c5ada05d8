"""The `sweep:` block of a config, and overrides such as `optimizer.lr=1e-3,1e-2` that add to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from optrun.config.axes import DRAWN, SPACED
from optrun.config.errors import ConfigErrors, Issue, Place, in_order
from optrun.config.explain import UNKNOWN_KEY, message
from optrun.config.extends import extended
from optrun.config.files import read_config
from optrun.config.overrides import named, override, placed
from optrun.config.reader import read
from optrun.config.resolve import Resolved
from optrun.config.schema import SWEEP
from optrun.config.sweep_block import Sweep
from optrun.config.tree import Document, Node, Path
from optrun.config.validate import completed, validate
from optrun.errors import did_you_mean

NOTHING = "nothing varies: add parameters to a sweep block, or values such as optimizer.lr=1e-3,1e-2"


@dataclass(frozen=True)
class SweepConfig:
    """A sweep as it was written: the config that all its runs share, and what varies."""

    sweep: Sweep
    node: Node
    """What was written under `sweep`."""
    base: Document
    """The rest of the config; it need not be complete without what varies."""
    name: str

    def place(self, *path: str | int) -> Place:
        """Return where a part of the sweep was written, or what is around it."""
        return list(self.node.along(path))[-1].place

    def issue(self, path: Path, text: str) -> Issue:
        """Return what is wrong with a part of the sweep."""
        return Issue.at(self.place(*path), (SWEEP, *path), text)

    def varied(self, *path: str | int, value: Any = None) -> Node:
        """Return what was written at a path of the sweep, as a value of the config; or ``value``, where it is made."""
        nodes = list(self.node.along(path))
        key = next((node.key for node in reversed(nodes) if node.key), None)
        node = nodes[-1]
        return Node(
            node.value if value is None else value, node.place, key, node.size if value is None else 1
        )

    def resolved(self, setting: Mapping[str, Node]) -> Resolved:
        """Return the config of a setting, values by their paths, and where they come from; raises ConfigErrors.

        A section is set before what is within it.
        """
        root = self.base.root
        for path in sorted(setting, key=lambda path: path.count(".")):
            node = setting[path]
            root = placed(root, path, node, node.key or node.place)
        document = Document(root, self.base.issues, self.base.spoiled, self.base.order)
        return Resolved(validate(document, self.name), root)

    def to_dict(self) -> dict[str, Any]:
        """Return the config with its sweep as plain values."""
        values = completed(self.base.root, self.name)
        return {"name": values.pop("name"), **values, SWEEP: self.node.plain()}


def swept(document: Document, overrides: Sequence[str] = ()) -> SweepConfig:
    """Return the sweep that a document and overrides define.

    An override with several values, `optimizer.lr=1e-3,1e-2`, sweeps over them; one with a single value of a swept
    parameter fixes it. Raises ConfigErrors.
    """
    source = document.root.place.source
    document = extended(document)
    if not isinstance(document.root.value, dict):
        place = document.root.place
        raise ConfigErrors([*document.issues, Issue.at(place, (), "a config is a mapping of keys to values")])
    several = {text: node for text in overrides if (node := _several(text)) is not None}
    root, issues = override(document.root, [text for text in overrides if text not in several])
    assert isinstance(root.value, dict)
    issues = [*document.issues, *issues]
    node = root.value.get(SWEEP)
    base = Node.mapping({key: child for key, child in root.value.items() if key != SWEEP}, root.place)
    if node is None or node.value is None:
        node = Node.mapping({}, root.place)
        if not several:
            raise ConfigErrors([*issues, Issue.at(root.place, (), NOTHING)])
    node = _on_top(_zip_listed(node), overrides, several, base)
    order = [*document.order, *map(named, overrides)]
    sweep = _validated(node, issues)
    if not (sweep.parameters or sweep.zip or sweep.include) and sweep.repeats == 1:
        raise ConfigErrors([Issue.at(node.key or node.place, (SWEEP,), NOTHING)])
    name = base.child("name")
    stem = SWEEP if source.startswith("<") else FilePath(source).stem
    shown = name.value if name is not None and isinstance(name.value, str) else stem
    return SweepConfig(sweep, node, Document(base, [], document.spoiled, order), shown)


def _validated(node: Node, issues: list[Issue]) -> Sweep:
    try:
        sweep = Sweep.model_validate(node.plain())
    except ValidationError as error:
        for each in error.errors(include_url=False):
            path, text = each["loc"], message(each)
            found = list(node.along(path))[-1]
            at = found.place
            if each["type"] == UNKNOWN_KEY:
                known = each["ctx"]["known"]
                text += "." + (did_you_mean(str(path[-1]), known) or f" Known here: {', '.join(known)}")
                at = found.key or at
            issues.append(Issue.at(at, (SWEEP, *path), text))
        raise ConfigErrors(in_order(issues, node.place.source)) from None
    if issues:
        raise ConfigErrors(in_order(issues, node.place.source))
    return sweep


def _several(text: str) -> Node | None:
    """Return what an override sweeps over: several values, or such as `{logspace: [1e-4, 1, 5]}`."""
    path, equals, value = text.partition("=")
    if not equals or path.split(".")[0] == SWEEP:
        return None
    place = Place(named(text))
    try:
        document = read(f"[{value}\n]", place.source)
    except ConfigErrors:
        return None  # what is wrong with it is said of it as an override of one value
    values = document.root.value
    if document.issues or not isinstance(values, list):
        return None
    first = values[0].value if values else None
    if (
        len(values) == 1
        and isinstance(first, dict)
        and len(first) == 1
        and next(iter(first)) in (*SPACED, *DRAWN)
    ):
        return Node.of(values[0].plain(), place, key=place)
    return Node.of(document.root.plain(), place, key=place) if len(values) > 1 else None


def _on_top(node: Node, overrides: Sequence[str], several: Mapping[str, Node], base: Node) -> Node:
    """Return the sweep with what overrides sweep over, and with swept parameters that they set to one value."""
    for text in overrides:
        path, place = text.partition("=")[0].strip(), Place(named(text))
        if values := several.get(text):
            node = _with(node, ("repeats",) if path == "seed" else ("parameters", path), values, place)
        elif len(list(node.along(("parameters", path)))) == 3:
            *_, value = base.along([int(step) if step.isdecimal() else step for step in path.split(".")])
            node = _with(node, ("parameters", path), Node.sequence([value], place, place), place)
        elif path in (paired := _paired(node)):
            others = ", ".join(other for other in paired if other != path)
            raise ConfigErrors(
                [Issue.at(place, (path,), f"is paired with {others} in sweep.zip: change it there")]
            )
    return node


def _zip_listed(node: Node) -> Node:
    """Return the sweep with its only group of paired parameters, written without a list, in one."""
    zipped = node.child("zip")
    if zipped is None or not isinstance(zipped.value, dict):
        return node
    return _with(node, ("zip",), Node.sequence([zipped], zipped.place, zipped.key), zipped.place)


def _paired(node: Node) -> list[str]:
    zipped = node.child("zip")
    groups = zipped.value if zipped and isinstance(zipped.value, list) else []
    return [path for group in groups if isinstance(group.value, dict) for path in group.value]


def _with(node: Node, path: Sequence[str], value: Node, place: Place) -> Node:
    if not path:
        return value
    if node.value is not None and not isinstance(node.value, dict):
        return node  # what is wrong with it is said where the block is validated
    children = dict(node.value or {})
    step, *rest = path
    children[step] = _with(children.get(step, Node(None, place, place)), rest, value, place)
    return Node.mapping(children, node.place, node.key)


def load_sweep(path: str | FilePath, overrides: Sequence[str] = ()) -> SweepConfig:
    """Return the sweep in a YAML file, with overrides applied; raises ConfigErrors."""
    return swept(read_config(FilePath(path)), overrides)


def sweep_from_mapping(data: Mapping[str, Any], overrides: Sequence[str] = ()) -> SweepConfig:
    """Return the sweep that plain values make; raises ConfigErrors."""
    return swept(Document(Node.of(data, Place("<config>")), [], set()), overrides)


def is_sweep(path: str | FilePath) -> bool:
    """Whether the config in a file, as far as it can be read, has a sweep."""
    try:
        node = extended(read_config(FilePath(path))).root.child(SWEEP)
    except ConfigErrors:
        return False
    return node is not None and node.value is not None
