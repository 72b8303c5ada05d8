"""The `sweep:` block of a config, and overrides such as `optimizer.lr=1e-3,1e-2` that add to it."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from optrun.checks.messages import UNKNOWN_KEY, message
from optrun.config.data_paths import swept_paths, with_nearby
from optrun.config.extends import extended
from optrun.config.model.options import MAP, SWEEP
from optrun.config.overrides import given_twice, named, override, path_of, placed
from optrun.config.resolution import Resolved, without
from optrun.config.sweep.examples import meant, with_form
from optrun.config.sweep.expect import EXPECT, SweepExpectation, split
from optrun.config.sweep.model import SweepBlock, sweep_model
from optrun.config.sweep.optimizers import drawn_over, with_optimizers
from optrun.config.sweep.overrides import check_calls, check_paths, on_top, several, zip_listed
from optrun.config.validate import completed, validate
from optrun.config.yaml.errors import ConfigErrors, Issue, Place, in_order
from optrun.config.yaml.files import is_stream, read_config
from optrun.config.yaml.tree import Document, Path, YamlNode
from optrun.errors import did_you_mean

NOTHING = "nothing varies: add parameters to a sweep block, or values such as optimizer.lr=1e-3,1e-2"

MOST_TRIED = 100
"""Of how many values of a parameter mistakes are looked for where the sweep cannot be read."""


@dataclass(frozen=True)
class SweepConfig:
    """A sweep as it was written: the config that all its runs share, and what varies."""

    sweep: SweepBlock
    node: YamlNode
    """What was written under `sweep`."""
    base: Document
    """The rest of the config; it need not be complete without what varies."""
    name: str
    expected: SweepExpectation | None = None
    """What the sweep as a whole is to reach."""
    notes: tuple[str, ...] = ()
    """What of the config has no effect on the sweep."""

    def place(self, *path: str | int) -> Place:
        """Return where a part of the sweep was written, or what is around it."""
        return self.node.at(path).place

    def issue(self, path: Path, text: str) -> Issue:
        """Return what is wrong with a part of the sweep."""
        return Issue.at(self.place(*path), (SWEEP, *path), text)

    def varied(self, *path: str | int, value: Any = None) -> YamlNode:
        """Return what was written at a path of the sweep, as a value of the config; or ``value``, where it is made."""
        return self.varied_to(path, [value])[0]

    def varied_to(self, path: Path, values: Sequence[Any]) -> list[YamlNode]:
        """Return what was written at a path of the sweep as values of the config: each of these, None is as it was."""
        nodes = list(self.node.along(path))
        key = next((node.key for node in reversed(nodes) if node.key), None)
        node = nodes[-1]
        return [
            YamlNode(node.value, node.place, key, node.size)
            if value is None
            else YamlNode(value, node.place, key, 1)
            for value in values
        ]

    def resolved(self, setting: Mapping[str, YamlNode]) -> Resolved:
        """Return the config of a setting, values by their paths, and where they come from; raises ConfigErrors.

        A section is set before what is within it. What one parameter has set, no other may set again.
        """
        root = self.base.root
        for path in sorted(setting, key=lambda path: path.count(".")):
            node = setting[path]
            root = placed(root, path, node, node.key or node.place)
        if issues := list(_set_again(setting, root)):
            raise ConfigErrors(issues)
        document = Document(root, self.base.issues, self.base.spoiled, self.base.order)
        return Resolved(validate(document, self.name), root)

    def of_settings(self, settings: Sequence[Mapping[str, YamlNode]], seeds: Sequence[int]) -> "SweepConfig":
        """Return the sweep of exactly these settings, each on these seeds, that ranks them by the same metric.

        A setting without parameters comes last.
        """
        place = self.node.place

        def space(setting: Mapping[str, YamlNode]) -> YamlNode:
            values = {path: YamlNode.sequence([of], of.place, of.key) for path, of in setting.items()}
            return YamlNode.mapping({"parameters": YamlNode.mapping(values, place)}, place)

        block = {}
        if spaces := [space(setting) for setting in settings if setting]:
            block["spaces"] = YamlNode.sequence(spaces, place)
            if not all(settings):
                block["include"] = YamlNode.of([{}], place)
        block["repeats"] = YamlNode.of(list(seeds), place)
        block["metric"] = YamlNode.of(self.sweep.metric.model_dump(), place)
        node = YamlNode.mapping(block, place, self.node.key)
        return replace(
            self, sweep=sweep_model().model_validate(node.plain()), node=node, expected=None, notes=()
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the config with its sweep as plain values."""
        values = completed(self.base.root, self.name)
        if self.expected is not None:
            values[EXPECT] = {**(values.get(EXPECT) or {}), SWEEP: self.expected.node.plain()}
        return {"name": values.pop("name"), **values, SWEEP: _with_paths(self.node)}


def _set_again(setting: Mapping[str, YamlNode], root: YamlNode) -> Iterator[Issue]:
    """Yield which values of a setting are not in the config that was made of it, for others took their places."""
    if len(setting) > 1:
        there = {(leaf.place, repr(leaf.value)) for leaf in root.leaves()}
        for path, node in setting.items():
            for leaf in node.leaves():
                if (leaf.place, repr(leaf.value)) not in there:
                    section = path.partition(".")[0]
                    others = [each for each in setting if each != path and each.partition(".")[0] == section]
                    text = f"{leaf.value!r} is set again by {' or '.join(others)}: a value has one parameter"
                    yield Issue.at(leaf.place, (path,), text)


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
    if twice := list(given_twice(overrides)):
        raise ConfigErrors(twice)
    check_paths(overrides)
    check_calls(overrides)
    axes = {text: node for text in overrides if (node := several(text)) is not None}
    root, issues = override(document.root, [text for text in overrides if text not in axes])
    assert isinstance(root.value, dict)
    issues = [*document.issues, *issues]
    if (drawn := root.value.get(MAP)) is not None and drawn.value is not None:
        said = f"a map is no sweep: `optrun map` makes its runs, {MAP}=null is the config without it"
        issues.append(Issue.at(drawn.key or drawn.place, (MAP,), said))
    root = without(root, MAP)
    assert isinstance(root.value, dict)
    node = root.value.get(SWEEP)
    base = YamlNode.mapping({key: child for key, child in root.value.items() if key != SWEEP}, root.place)
    base, expected, wrong = split(base)
    issues += wrong
    if node is None or node.value is None:
        if not axes:
            place, path = ((node.key or node.place), (SWEEP,)) if node else (root.place, ())
            wrong = [each for each in _issues_of(replace(document, root=base), SWEEP) if each not in issues]
            raise ConfigErrors([*issues, *wrong] or [Issue.at(place, path, NOTHING)])
        node = YamlNode.mapping({}, root.place)
    written, whole = node, base
    node, base, wrong = with_optimizers(node, base, [path_of(text) for text in axes])
    issues += wrong
    node = on_top(zip_listed(node), overrides, axes, whole)
    order = [*document.order, *map(named, overrides)]
    stem = SWEEP if source.startswith("<") or is_stream(source) else FilePath(source).stem
    document = Document(base, [], document.spoiled, order)
    sweep = _validated(node, issues, document, stem)
    if not (sweep.parameters or sweep.zip or sweep.spaces or sweep.include) and sweep.repeats == 1:
        raise ConfigErrors([Issue.at(node.key or node.place, (SWEEP,), NOTHING)])
    name = base.child("name")
    shown = name.value if name is not None and isinstance(name.value, str) else stem
    return SweepConfig(sweep, node, document, shown, expected, tuple(drawn_over(written, node, whole)))


def _validated(node: YamlNode, issues: list[Issue], base: Document, name: str) -> SweepBlock:
    try:
        sweep = sweep_model().model_validate(node.plain())
    except ValidationError as error:
        for each in error.errors(include_url=False):
            path, text = each["loc"], message(each)
            found = node.at(path)
            at = found.place
            if each["type"] == UNKNOWN_KEY:
                known = each["ctx"]["known"]
                text += "." + meant(str(path[-1]), found, known)
                at = found.key or at
                if path[-3:-2] == ("parameters",) and not did_you_mean(str(path[-1]), known):
                    text = f"is no way to vary a value: parameters are paths, so write {path[-2]}.{path[-1]}: [...]"
            issues.append(Issue.at(at, (SWEEP, *path), with_form(path, text)))
        refused = {str(each["loc"][1]) for each in error.errors() if each["loc"][1:]}
        issues += _beside(node, base, name, refused)
        raise ConfigErrors(in_order(list(dict.fromkeys(issues)), node.place.source)) from None
    if issues:
        raise ConfigErrors(in_order(issues, node.place.source))
    return sweep


def _beside(node: YamlNode, base: Document, name: str, refused: Set[str]) -> Iterator[Issue]:
    """Yield what is wrong with a config around a sweep that cannot be read, and with lists that are not refused."""
    parameters = node.child("parameters")
    axes = parameters.children if parameters is not None else {}
    varied = [f"{key}." for key in _keys(node)]
    for issue in _issues_of(base, name):
        at = f"{issue.path}."
        if not (
            issue.message.startswith("missing") or any(at.startswith(p) or p.startswith(at) for p in varied)
        ):
            yield issue
    for path, axis in axes.items():
        for item in axis.items[:MOST_TRIED] if path not in refused else []:
            value = replace(item, key=axis.key)  # what is wrong with the path is said once, at the path
            try:
                root = placed(base.root, path, value, value.key or value.place)
            except ConfigErrors:
                continue
            places = {value.key, *(leaf.place for leaf in value.leaves())}
            for issue in _issues_of(replace(base, root=root), name):
                if Place(issue.file, issue.line, issue.column) in places:
                    yield issue


def _keys(node: YamlNode) -> Iterator[str]:
    for key, child in node.children.items():
        yield key
        yield from _keys(child)
    for child in node.items:
        yield from _keys(child)


def _issues_of(document: Document, name: str) -> list[Issue]:
    try:
        validate(replace(document, issues=[]), name)
    except ConfigErrors as error:
        return error.issues
    return []


def _with_paths(node: YamlNode) -> dict[str, Any]:
    """Return a block, or a space of it, as plain values in which paths of data are absolute."""
    plain: dict[str, Any] = node.plain()
    for key, child in node.children.items():
        if key == "parameters":
            plain[key] = {path: swept_paths(path, values) for path, values in child.children.items()}
        elif key in ("zip", "include", "exclude"):
            plain[key] = [
                {path: swept_paths(path, value) for path, value in group.children.items()}
                for group in child.items
            ]
        elif key == "spaces":
            plain[key] = [_with_paths(space) for space in child.items]
    return plain


def load_sweep(
    path: str | FilePath, overrides: Sequence[str] = (), *, moved_to: FilePath | None = None
) -> SweepConfig:
    """Return the sweep in a YAML file, with overrides applied; raises ConfigErrors.

    Data that are gone are looked for around ``moved_to``, where their project may be now.
    """
    document = read_config(FilePath(path))
    if moved_to is not None:
        document = replace(document, root=with_nearby(document.root, moved_to))
    return swept(document, overrides)


def sweep_from_mapping(data: Mapping[str, Any], overrides: Sequence[str] = ()) -> SweepConfig:
    """Return the sweep that plain values make; raises ConfigErrors."""
    return swept(Document(YamlNode.of(data, Place("<config>")), [], set()), overrides)


def is_sweep(path: str | FilePath) -> bool:
    """Whether the config in a file, as far as it can be read, has a sweep."""
    try:
        node = extended(read_config(FilePath(path))).root.child(SWEEP)
    except ConfigErrors:
        return False
    return node is not None and node.value is not None
