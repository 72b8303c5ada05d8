"""Overrides of a sweep: `optimizer.lr=1e-3,1e-2` sweeps over values, a single value fixes what is swept."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from optrun.checks.scalars import with_point
from optrun.config.model.options import SWEEP
from optrun.config.overrides import lost, named, path_of
from optrun.config.paths import steps_of
from optrun.config.sweep.axes import DRAWN, SPACED, as_written
from optrun.config.tuples import below, tuples_named
from optrun.config.yaml.errors import ConfigErrors, Issue, Place
from optrun.config.yaml.reader import read
from optrun.config.yaml.tree import Path, YamlNode
from optrun.errors import fold
from optrun.registry import SECTIONS

_WITHIN = f"{SWEEP}.parameters."
_RANGE = re.compile(r"\{range: \[(\d{1,9}), *(\d{1,9})\]\}")


def check_paths(overrides: Iterable[str]) -> None:
    """Raise ConfigErrors for overrides that name a parameter, with dots in it, within the block."""
    wrong = []
    for text in overrides:
        path, _, value = text.partition("=")
        parameter = path.strip().removeprefix(_WITHIN)
        if parameter != path.strip() and ("." in parameter or several(f"{parameter}={value}")):
            values = value.strip()
            listed = values[1:-1] if values.startswith("[") and values.endswith("]") else values
            said = f"a swept parameter is named by its own path: {parameter}={listed[:80]}"
            wrong.append(Issue.at(Place(named(text)), (path.strip(),), said))
    if wrong:
        raise ConfigErrors(wrong)


def check_calls(overrides: Iterable[str]) -> None:
    """Raise ConfigErrors for values given as a call, `range(0, 5)`, numbers with commas, seeds in another form."""
    wrong = []
    for text in overrides:
        path, value = (part.strip() for part in text.partition("=")[::2])
        written = as_written(value)
        if path == "seed" and (written or value.startswith("{")):
            found = _RANGE.fullmatch(written or value)
            first, end = map(int, found.groups()) if found else (0, 3)
            counted = f"seed={first} sweep.repeats={max(end - first, 1)}"
            said = f"several seeds are listed, seed=0,1,2, or counted: {counted}"
        elif written:
            said = f"is written '{path}={written}'"
        elif (number := with_point(value)) and value.partition(",")[2].startswith("0"):
            said = f"{value} lists several values: a number has a decimal point and no other mark, {number}"
        else:
            continue
        wrong.append(Issue.at(Place(named(text)), (path,), said))
    if wrong:
        raise ConfigErrors(wrong)


def several(text: str) -> YamlNode | None:
    """Return what an override sweeps over: several values, or such as `{logspace: [1e-4, 1, 5]}`.

    Raises ConfigErrors where one of several values cannot be read.
    """
    path, equals, value = text.partition("=")
    if not equals or path.split(".")[0] == SWEEP:
        return None
    place = Place(named(text))
    try:
        document = read(f"[{value}\n]", place.source)
    except ConfigErrors:
        return None  # what is wrong with it is said of it as an override of one value
    values = document.root.value
    if not isinstance(values, list):
        return None
    if any(isinstance(each.value, str) and each.value.count("(") != each.value.count(")") for each in values):
        return None  # the commas are those of a function
    if document.issues:
        if len(values) > 1:
            raise ConfigErrors([Issue.at(place, (path.strip(),), document.issues[0].message)])
        return None
    first = values[0].value if values else None
    if (
        len(values) == 1
        and isinstance(first, dict)
        and len(first) == 1
        and next(iter(first)) in (*SPACED, *DRAWN)
    ):
        return YamlNode.of(values[0].plain(), place, key=place)
    return YamlNode.of(document.root.plain(), place, key=place) if len(values) > 1 else None


def on_top(
    node: YamlNode, overrides: Sequence[str], axes: Mapping[str, YamlNode], base: YamlNode
) -> YamlNode:
    """Return the sweep with what overrides sweep over, `axes`, and with swept parameters that they set to one value.

    One that they set to a tuple or a section is set part by part. Where spaces sweep a parameter, they do so over what
    an override says.
    """
    for text in overrides:
        before, node = node, _with_override(node, text, axes, base)
        if issues := list(lost(before, node, overrides, text)):
            raise ConfigErrors(issues)
    return node


def _with_override(node: YamlNode, text: str, axes: Mapping[str, YamlNode], base: YamlNode) -> YamlNode:
    path, place = path_of(text), Place(named(text))
    holders = list(_holders(node))
    for within, holder in holders:
        if others := _paired_with(holder, path):
            there = ".".join(map(str, (SWEEP, *within, "zip")))
            said = f"is paired with {', '.join(others)} in {there}: change it there"
            raise ConfigErrors([Issue.at(place, (path,), said)])
    if text in axes and path == "seed":
        return _with(node, ("repeats",), axes[text], place)
    if path == "seed" and (repeats := node.child("repeats")) and isinstance(repeats.value, list):
        seed = base.child("seed") or YamlNode(None, place, place)
        return _with(node, ("repeats",), YamlNode.sequence([seed], place, place), place)
    value = base.at([int(step) if step.isdecimal() else step for step in steps_of(path)])
    values = axes.get(text) or YamlNode.sequence([value], place, place)
    for within in _where(path, holders, adds=text in axes):
        node = _with(node, (*within, "parameters", path), values, place)
    return node if text in axes else _with_parts(node, path, value, base, {path, *map(path_of, axes)})


def _with_parts(
    node: YamlNode, path: str, value: YamlNode, base: YamlNode, others: Container[str]
) -> YamlNode:
    """Return the sweep with a value for each parameter that is an option of a section, or a part of a tuple.

    Options of a section with a name are for the spaces of that name. ``others`` are paths to leave as they are.
    """
    section, *rest = steps_of(path)
    if section not in SECTIONS or len(rest) > 1:
        return node
    options = YamlNode.mapping({rest[0]: value}, value.place) if rest else value
    name = None if rest else value.child("name")
    for within, holder in _holders(node):
        swept = parameters.children if (parameters := holder.child("parameters")) else {}
        names = names_of.items if (names_of := swept.get(f"{section}.name")) else []
        only = names[0] if len(names) == 1 else None
        if name is not None and (only is None or fold(str(name.value)) != fold(str(only.value))):
            continue
        tuples = tuples_named(section, only, base.child(section))
        parts = below(options, [part for each in tuples.values() for part in each], tuples).children
        for key, part in parts.items():
            if (inner := f"{section}.{key}") in swept and inner not in others:
                listed = YamlNode.sequence([part], part.place, part.key)
                node = _with(node, (*within, "parameters", inner), listed, part.place)
    return node


def _where(path: str, holders: Sequence[tuple[Path, YamlNode]], *, adds: bool) -> list[Path]:
    """Return where a parameter that an override names is swept, or is to be swept.

    A section that is swept is set before what is within it, so that what the config has there would be lost.
    """
    swept = {within: _swept(holder) for within, holder in holders}
    spaces = [within for within in swept if within]
    holding = [within for within in spaces if path in swept[within]]
    if path in swept[()]:
        return [()]
    if adds or _is_within(path, swept[()]):
        return spaces if holding else [()]
    return [within for within in spaces if within in holding or _is_within(path, swept[within])]


def _is_within(path: str, sections: Iterable[str]) -> bool:
    return any(path.startswith(f"{section}.") for section in sections)


def zip_listed(node: YamlNode) -> YamlNode:
    """Return the sweep with each only group of paired parameters, written without a list, in one."""
    for within, holder in list(_holders(node)):
        zipped = holder.child("zip")
        if zipped is not None and isinstance(zipped.value, dict):
            listed = YamlNode.sequence([zipped], zipped.place, zipped.key)
            node = _with(node, (*within, "zip"), listed, zipped.place)
    return node


def _holders(node: YamlNode) -> Iterator[tuple[Path, YamlNode]]:
    """Yield what holds parameters, the block and its spaces, each with the path to it."""
    yield (), node
    spaces = node.child("spaces")
    for i, space in enumerate(spaces.items if spaces else ()):
        yield ("spaces", i), space


def _swept(holder: YamlNode) -> list[str]:
    parameters = holder.child("parameters")
    return [
        *(parameters.children if parameters else ()),
        *(path for group in _groups(holder) for path in group),
    ]


def _groups(holder: YamlNode) -> list[dict[str, YamlNode]]:
    zipped = holder.child("zip")
    return [group.children for group in zipped.items] if zipped else []


def _paired_with(holder: YamlNode, path: str) -> list[str]:
    """Return what a parameter is paired with."""
    return [other for group in _groups(holder) if path in group for other in group if other != path]


def _with(node: YamlNode, path: Path, value: YamlNode, place: Place) -> YamlNode:
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(step, int) and step < len(node.items):
        items = list(node.items)
        items[step] = _with(items[step], rest, value, place)
        return YamlNode.sequence(items, node.place, node.key)
    if node.value is not None and not isinstance(node.value, dict):
        return node  # what is wrong with it is said where the block is validated
    children = dict(node.children)
    children[str(step)] = _with(children.get(str(step), YamlNode(None, place, place)), rest, value, place)
    return YamlNode.mapping(children, node.place, node.key)
