"""`optimizers:` of a sweep: a space for each optimizer, with the search space that its class declares."""

from optrun.config.model.options import SWEEP
from optrun.config.yaml.errors import Issue
from optrun.config.yaml.tree import YamlNode
from optrun.errors import did_you_mean
from optrun.registry import optimizers

KEY = "optimizers"
ALL = "all"


def with_optimizers(node: YamlNode) -> tuple[YamlNode, list[Issue]]:
    """Return a sweep block with a space in place of each name, and what is wrong with the names.

    What is no name or list of names is left for the model to refuse.
    """
    given = node.child(KEY)
    if given is None or given.value is None:
        return node, []
    if given.value == ALL:
        names = {name: YamlNode(name, given.place, given.key) for name in searched()}
    elif given.items and all(isinstance(item.value, str) for item in given.items):
        names = {str(item.value): item for item in given.items}
    else:
        return node, []
    wrong = {name: said for name in names if (said := _refused(name))}
    issues = [
        Issue.at(of.place, (SWEEP, KEY, number), wrong[name])
        for number, (name, of) in enumerate(names.items())
        if name in wrong
    ]
    spaces = node.child("spaces")
    found = [_space(name, of) for name, of in names.items() if name not in wrong]
    children = {key: child for key, child in node.children.items() if key != KEY}
    # Names that are wrong alone stay, so that the block has something that varies.
    children["spaces" if found else KEY] = (
        YamlNode.sequence([*(spaces.items if spaces is not None else []), *found], given.place, given.key)
        if found
        else given
    )
    return YamlNode.mapping(children, node.place, node.key), issues


def searched() -> list[str]:
    """Return the names of the optimizers that declare a search space."""
    return [name for name in optimizers if optimizers.find(name).search_space]


def _space(name: str, node: YamlNode) -> YamlNode:
    parameters: dict[str, object] = {"optimizer.name": [optimizers.spelled(name)]}
    parameters |= {
        f"optimizer.{option}": dict(axis) for option, axis in optimizers.find(name).search_space.items()
    }
    return YamlNode.of({"parameters": parameters}, node.place, key=node.key)


def _refused(name: str) -> str:
    if name not in optimizers:
        return f"unknown optimizer {name!r}.{did_you_mean(name, optimizers)}"
    if not optimizers.find(name).search_space:
        return f"{name} declares no search space: give it one in spaces"
    return ""
