"""The `map:` block of a config: two numbers along two axes, and the figure whose value is the colour of a pixel."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any

from annotated_types import Gt, MaxLen, MinLen
from pydantic import ValidationError

from optrun.checks.messages import UNKNOWN_KEY, message
from optrun.config.extends import extended
from optrun.config.model.components import class_of
from optrun.config.model.options import MAP, START, SWEEP, Model
from optrun.config.overrides import given_twice, named, override, path_of
from optrun.config.resolution import without
from optrun.config.sweep.axes import AxisOf
from optrun.config.sweep.model import SweepBlock
from optrun.config.sweep.overrides import check_calls, several
from optrun.config.sweep.resolve import SweepConfig
from optrun.config.validate import completed
from optrun.config.yaml.errors import ConfigErrors, Issue, Place, in_order
from optrun.config.yaml.files import is_stream, read_config
from optrun.config.yaml.reader import read
from optrun.config.yaml.tree import Document, YamlNode
from optrun.errors import did_you_mean

Along = Annotated[dict[str, AxisOf], MinLen(1), MaxLen(1)]

_AXIS = re.compile(rf"{MAP}\.([xy])\.(.+)")


class MapBlock(Model):
    """What varies over a picture of which each pixel is a run."""

    x: Annotated[
        Along, "the path of a number with its values from left to right: linspace, logspace, range or a list"
    ]
    y: Annotated[Along, "the same from bottom to top"]
    color: Annotated[
        Annotated[str, MinLen(1)],
        "a figure such as final_loss; steps_to_target, diverged_at, or steps, which is both; minimum: which one",
    ] = "final_loss"
    tolerance: Annotated[
        Annotated[float, Gt(0)], "how near to a minimum a run ends that has found it, for color: minimum"
    ] = 0.1


@dataclass(frozen=True)
class MapConfig:
    """A map as it was written."""

    block: MapBlock
    swept: SweepConfig
    """The config that all its runs share, and what was written under `map`."""

    @property
    def name(self) -> str:
        """What the map is called."""
        return self.swept.name

    def path(self, axis: str) -> str:
        """Return the path of the number that varies along x or y."""
        return next(iter(self.block.x if axis == "x" else self.block.y))

    def refused(self, text: str, *path: str) -> ConfigErrors:
        """Return what is wrong with a part of the map, at its place."""
        node = self.swept.node.at(path)
        return ConfigErrors([Issue.at(node.key or node.place, (MAP, *path), text)])

    def to_dict(self) -> dict[str, Any]:
        """Return the config with its map as plain values."""
        return {**completed(self.swept.base.root, self.name), MAP: self.swept.node.plain()}


def load_map(path: str | FilePath, overrides: Sequence[str] = ()) -> MapConfig:
    """Return the map in a YAML file, with overrides applied; raises ConfigErrors.

    `map.x.PATH={linspace: […]}` or `map.x.PATH=0,1,2` gives another window of an axis, or another number for it.
    """
    return _mapped(read_config(FilePath(path)), overrides)


def map_from_mapping(data: Mapping[str, Any], overrides: Sequence[str] = ()) -> MapConfig:
    """Return the map that plain values make; raises ConfigErrors."""
    return _mapped(Document(YamlNode.of(data, Place("<config>")), [], set()), overrides)


def _mapped(document: Document, overrides: Sequence[str]) -> MapConfig:
    document = extended(document)
    root = document.root
    source = root.place.source
    if not isinstance(root.value, dict):
        raise ConfigErrors(
            [*document.issues, Issue.at(root.place, (), "a config is a mapping of keys to values")]
        )
    if twice := list(given_twice(overrides)):
        raise ConfigErrors(twice)
    root, issues = override(root, [text for text in overrides if not _AXIS.fullmatch(path_of(text))])
    issues = [*document.issues, *issues]
    node = root.child(MAP)
    if node is None or node.value is None:
        place = (node.key or node.place) if node else root.place
        raise ConfigErrors(
            issues or [Issue.at(place, (MAP,) if node else (), f"no map is here: give map: {_form(root)}")]
        )
    if (many := root.child(SWEEP)) is not None and many.value is not None:
        said = f"a sweep is no map: `optrun sweep` makes its runs, {SWEEP}=null is the config without it"
        issues.append(Issue.at(many.key or many.place, (SWEEP,), said))
    for text in overrides:
        if found := _AXIS.fullmatch(path_of(text)):
            node = _with_axis(node, found[1], found[2], text)
    issues += _shape(node, _form(root))
    if issues:
        raise ConfigErrors(in_order(issues, source))
    try:
        block = MapBlock.model_validate(node.plain())
    except ValidationError as error:
        raise ConfigErrors(in_order(list(_issues(error, node)), source)) from None
    base = without(root, MAP, SWEEP)
    stem = MAP if is_stream(source) or source.startswith("<") else FilePath(source).stem
    order = [*document.order, *map(named, overrides)]
    given = base.child("name")
    name = given.value if given is not None and isinstance(given.value, str) else stem
    swept = SweepConfig(SweepBlock(), node, Document(base, [], document.spoiled, order), name)
    return MapConfig(block, swept)


def is_map(path: str | FilePath) -> bool:
    """Whether the config in a file, as far as it can be read, has a map."""
    try:
        node = extended(read_config(FilePath(path))).root.child(MAP)
    except ConfigErrors:
        return False
    return node is not None and node.value is not None


def _with_axis(node: YamlNode, axis: str, path: str, text: str) -> YamlNode:
    """Return the block with the axis that an override gives in place of the written one."""
    check_calls([text])
    place = Place(named(text))
    document = read(text.partition("=")[2], place.source)
    if document.issues:
        raise ConfigErrors([Issue.at(place, (MAP, axis, path), document.issues[0].message)])
    value = several(text) or YamlNode.of(document.root.plain(), place, key=place)
    along = YamlNode.mapping({path: value}, place, place)
    return YamlNode.mapping({**node.children, axis: along}, node.place, node.key)


def _form(root: YamlNode) -> str:
    """Return an example of a map.

    It is one of starts, whose paths have the names of the start that is written, or else numbers; or one of rates and
    seeds where the problem has no start.
    """
    problem = root.at(("problem",))
    cls = class_of("problem", problem.plain())
    if cls is not None and START[-1] not in cls.options():
        return "{x: {optimizer.lr: {logspace: [1e-4, 1, 512]}}, y: {seed: {range: [0, 512, 1]}}}"
    start = problem.child(START[-1]) or YamlNode({}, problem.place)
    paths = [
        f"{name}.{i}" if isinstance(values.value, list) else name
        for name, values in (start.children.items() if isinstance(start.value, dict) else ())
        for i in range(len(values.value) if isinstance(values.value, list) else 1)
    ]
    x, y = paths[:2] if len(paths) > 1 else ("0", "1")
    window = "{linspace: [-5, 5, 512]}"
    return f"{{x: {{problem.start.{x}: {window}}}, y: {{problem.start.{y}: {window}}}}}"


def _shape(node: YamlNode, form: str) -> Iterator[Issue]:
    """Yield what of a block is no mapping of one path to its values."""
    if not isinstance(node.value, dict):
        yield Issue.at(node.place, (MAP,), f"must be a mapping such as {form}")
        return
    for axis in ("x", "y"):
        along = node.child(axis)
        if along is not None and (not isinstance(along.value, dict) or len(along.value) != 1):
            said = "must be one path with its values, such as {optimizer.lr: {logspace: [1e-4, 1, 512]}}"
            yield Issue.at(along.place, (MAP, axis), said)


def _issues(error: ValidationError, node: YamlNode) -> Iterator[Issue]:
    for each in error.errors(include_url=False):
        path, text = each["loc"], message(each)
        at = node.at(path)
        if each["type"] == UNKNOWN_KEY:
            known = each["ctx"]["known"]
            text += f".{did_you_mean(str(path[-1]), known) or ' Known here: ' + ', '.join(known)}"
        yield Issue.at(at.key if each["type"] == UNKNOWN_KEY and at.key else at.place, (MAP, *path), text)
