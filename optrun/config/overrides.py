"""Overrides: `key.path=value`, with values by the rules of the file.

An override sets one value: `optimizer.name=SGD` keeps the other keys, whatever they mean to an SGD, and
`optimizer=SGD` replaces the section. ``betas`` and ``beta1`` are one thing in two spellings, and an override replaces
what a file says in the other one. No override replaces what another one sets.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from optrun.checks.messages import shown
from optrun.checks.scalars import with_point
from optrun.config.extends import EXTENDS
from optrun.config.model.options import METRIC, NOTHING, SCHEDULES, START, SWEEP
from optrun.config.paths import steps_of
from optrun.config.tuples import below, home
from optrun.config.yaml.errors import ConfigErrors, Issue, Place
from optrun.config.yaml.reader import read
from optrun.config.yaml.tree import YamlNode
from optrun.registry import SECTIONS, TRANSFORMS

MEMBERS = "schedulers"
"""The option of a schedule that lists others."""


def override(root: YamlNode, overrides: Sequence[str]) -> tuple[YamlNode, list[Issue]]:
    """Return the config with each `key.path=value` applied, in their order, and what is wrong with the others."""
    issues = list(given_twice(overrides))
    for i, text in enumerate(overrides):
        try:
            changed = _applied(root, text)
        except ConfigErrors as errors:
            issues += errors.issues
        else:
            issues += lost(root, changed, overrides[:i], text)
            root = changed
    return root, issues


def path_of(text: str) -> str:
    """Return the path of an override."""
    return text.partition("=")[0].strip()


def given_twice(overrides: Sequence[str]) -> Iterator[Issue]:
    """Yield which overrides set what one before them sets."""
    first: dict[str, str] = {}
    for text in overrides:
        path = path_of(text)
        if "=" in text and path in first:
            yield Issue.at(Place(named(text)), (path,), _sets_it_too(first[path]))
        first.setdefault(path, text)


def lost(before: YamlNode, after: YamlNode, others: Sequence[str], text: str) -> Iterator[Issue]:
    """Yield which other overrides have values that are gone after an override; what was turned off may be replaced."""
    if not others:
        return
    gone = {place for place, _ in Counter(_values(before)) - Counter(_values(after))}
    path = path_of(text)
    for other in others:
        if path_of(other) != path and Place(named(other)) in gone:
            is_part = path_of(other).startswith(f"{path}.")
            said = f"would undo {named(other)}: give that after this one" if is_part else _sets_it_too(other)
            yield Issue.at(Place(named(text)), (path,), said)


def _sets_it_too(other: str) -> str:
    return f"{named(other)} sets it too: give one of them"


def _values(node: YamlNode) -> Iterator[tuple[Place, str]]:
    return ((leaf.place, repr(leaf.value)) for leaf in node.leaves() if leaf.value is not None)


def named(text: str) -> str:
    """Return what an override is called as the source of a value."""
    return f"override {text[:80]!r}"


def _applied(root: YamlNode, text: str) -> YamlNode:
    place = Place(named(text))
    path, equals, value = text.partition("=")
    steps = steps_of(path.strip())
    if not equals or not all(steps) or not path.isprintable():
        raise _wrong(place, "", "an override is written key.path=value, such as optimizer.lr=1e-3")
    if steps[0] == EXTENDS:
        raise _wrong(place, path, "a file extends others, an override cannot: write it into the file")
    if not value.strip():
        raise _wrong(
            place, path, f"no value after '='; {path}=null turns it off, {path}='\"\"' is an empty string"
        )
    return placed(root, path.strip(), _value(value, place, path), place)


def placed(root: YamlNode, path: str, value: YamlNode, place: Place) -> YamlNode:
    """Return the config with a value at the end of a dotted path; `place` is where the path was written.

    Raises ConfigErrors where the path leads through something that has no parts.
    """
    root, steps = _in_one_spelling(root, steps_of(path), place, path)
    return _set(root, steps, value, place, ".".join(steps))


def _in_one_spelling(root: YamlNode, steps: list[str], place: Place, path: str) -> tuple[YamlNode, list[str]]:
    """Return the config without what the end of the steps says in other words, and the steps to it."""
    count, options, tuples = home(root, steps)
    if options is None:
        return root, steps
    key, *rest = steps[count:]
    parts = tuples.get(key, ())
    if len(rest) == 1 and rest[0].isdecimal() and int(rest[0]) < len(parts) and not options.child(key):
        return root, [*steps[:count], parts[int(rest[0])]]
    changed = options if rest else below(options, [key], tuples)
    return (root if changed == options else _set(root, steps[:count], changed, place, path)), steps


def _value(text: str, place: Place, path: str) -> YamlNode:
    if text.strip() == ",":  # a decimal sign: a shell takes its quotes away
        return YamlNode.of(",", place, key=place)
    try:
        document = read(text, place.source)
    except ConfigErrors as errors:
        raise _wrong(place, path, errors.issues[0].message) from None
    if document.issues:
        raise _wrong(place, path, document.issues[0].message)
    value = document.root.plain()
    if isinstance(value, str) and text.strip().endswith(",") and text.strip()[0] not in "'\"":
        one = text.strip().rstrip(", ")
        raise _wrong(place, path, f"a comma with nothing after it: one value is written '{path}={one}'")
    parts = value.split(",") if isinstance(value, str) else []
    is_call = any(part.count("(") != part.count(")") for part in parts)  # the commas are those of a function
    if isinstance(value, str) and len(parts) > 1 and not is_call and text.strip()[0] not in "'\"":
        if not all(part.strip() for part in parts):
            raise _wrong(place, path, "there is a comma with nothing before it")
        written = value if len(value) <= 80 else f"{value[:80]}…"
        is_number = "0" in (value[0], parts[1][:1]) and (number := with_point(value))
        said = f"a number has a decimal point, {number}; " if is_number else ""
        said += f"a list is written '{path}=[{written}]'; text with a comma needs quotes of its own"
        is_swept = path.split(".")[0] != SWEEP
        raise _wrong(place, path, f"{said}; `optrun sweep` runs each value" if is_swept else said)
    return YamlNode.of(value, place, key=place)


def _set(node: YamlNode, steps: Sequence[str], value: YamlNode, place: Place, path: str) -> YamlNode:
    """Return the node with the value at the end of the steps; what is shared by aliases stays as it is."""
    if not steps:
        return value
    step, *rest = steps
    if isinstance(node.value, list):
        return _set_item(node, node.value, step, rest, value, place, path)
    if isinstance(node.value, dict):
        children = node.value
    elif node.value is None and (not step.isdecimal() or steps_of(path)[: -len(steps)] == START):
        children = {}
    elif node.value == NOTHING and steps_of(path)[: -len(steps)] == ["record"]:
        children = {"every": YamlNode(None, node.place, node.key)}
    elif isinstance(node.value, str) and _may_be_a_name(steps_of(path)[: -len(steps)]):
        children = {"name": node}
    else:
        here = ".".join(steps_of(path)[: -len(steps)])
        state = "not set" if node.place is place else f"{shown(node.value)}, which has no {step!r}"
        raise _wrong(place, path, f"{here} is {state}")
    child = children.get(step, YamlNode(None, place, place))
    return YamlNode.mapping({**children, step: _set(child, rest, value, place, path)}, node.place, node.key)


def _set_item(
    node: YamlNode,
    items: list[YamlNode],
    step: str,
    rest: Sequence[str],
    value: YamlNode,
    place: Place,
    path: str,
) -> YamlNode:
    if not step.isdecimal() or int(step) >= len(items):
        raise _wrong(place, path, f"{step!r} is no place in a list of {len(items)}: they count from 0")
    changed = list(items)
    changed[int(step)] = _set(items[int(step)], rest, value, place, path)
    return YamlNode.sequence(changed, node.place, node.key)


def _may_be_a_name(steps: Sequence[str]) -> bool:
    """Whether what the steps lead to has options, and may be written as its name alone."""
    if steps == METRIC or (len(steps) == 1 and steps[0] in SECTIONS):
        return True
    *_, holder, last = ("", *steps)
    return holder == SCHEDULES or (last.isdecimal() and holder in (*TRANSFORMS, MEMBERS))


def _wrong(place: Place, path: str, message: str) -> ConfigErrors:
    return ConfigErrors([Issue.at(place, [path] if path else [], message)])
