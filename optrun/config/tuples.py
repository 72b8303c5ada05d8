"""Torch's tuples, such as ``betas``, and their parts: one hyperparameter in two spellings."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from optrun.checks.tuples import Tuples
from optrun.config.model.options import GROUPS
from optrun.config.yaml.tree import YamlNode
from optrun.registry import SECTIONS, tuples_of


def tuples_named(section: str, *nodes: YamlNode | None) -> Tuples:
    """Return the tuples of the class that the first of a section's nodes with a name gives.

    Without a name, which another file may hold, they are those of every class.
    """
    registry = SECTIONS[section]
    for node in nodes:
        named = node and (node.child("name") or node)
        if named and isinstance(named.value, str):
            return tuples_of(registry.find(named.value)) if named.value in registry else {}
    return {key: parts for name in registry for key, parts in tuples_of(registry.find(name)).items()}


def below(base: YamlNode, over: Collection[str], tuples: Tuples) -> YamlNode:
    """Return what keys that come later leave of a mapping: of a tuple the other parts, each at its own place.

    What says one thing twice, or has another length, stays as it is: that is its own mistake.
    """
    if not isinstance(base.value, dict):
        return base
    children = dict(base.value)
    for joint, parts in tuples.items():
        said = [part for part in parts if part in children]
        if joint in children and said:
            continue
        if joint in over:
            for part in said:
                del children[part]
        elif joint in children and any(part in over for part in parts):
            whole = children[joint]
            if isinstance(whole.value, list) and len(whole.value) == len(parts):
                del children[joint]
                items = zip(parts, whole.value, strict=True)
                children |= {part: replace(item, key=whole.key) for part, item in items}
    return YamlNode.mapping(children, base.place, base.key)


def home(root: YamlNode, steps: Sequence[str]) -> tuple[int, YamlNode | None, Tuples]:
    """Return how many steps lead to the options that a path ends in, those options, and the tuples there."""
    if len(steps) < 2 or steps[0] not in SECTIONS:
        return 0, None, {}
    count = 3 if steps[1] == GROUPS and len(steps) > 3 and steps[2].isdecimal() else 1
    nodes = list(root.along([int(step) if step.isdecimal() else step for step in steps[:count]]))
    if len(nodes) <= count:
        return 0, None, {}
    return count, nodes[-1], tuples_named(steps[0], *([nodes[-1]] if count == 3 else []), nodes[1])
