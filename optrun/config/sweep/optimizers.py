"""`optimizers:` of a sweep: a space for each optimizer, with the search space that its class declares.

The config's own `optimizer` block, where it has a name, is that optimizer's alone: the rate of an AdamW says nothing of
that of a Prodigy. Without a name it is what all of them share.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from optrun.config.model.options import SWEEP
from optrun.config.sweep.rules import GRID
from optrun.config.tuples import below, tuples_named
from optrun.config.yaml.errors import Issue
from optrun.config.yaml.tree import YamlNode
from optrun.errors import did_you_mean, fold
from optrun.registry import optimizers

KEY = "optimizers"
ALL = "all"
OPTIMIZER = "optimizer"
PARAMETERS = "parameters"


def with_optimizers(
    node: YamlNode, base: YamlNode, varied: Collection[str]
) -> tuple[YamlNode, YamlNode, list[Issue]]:
    """Return a sweep block with a space in place of each name, the config around it, and what is wrong with the names.

    Options of a named `optimizer` move from the config to the spaces that mean that optimizer, but for those that
    paths in ``varied`` or `parameters` lead to: these vary for all. What is no name or list of names is left for the
    model to refuse.
    """
    given = node.child(KEY)
    if given is None or given.value is None:
        return node, base, []
    if given.value == ALL:
        names = {name: YamlNode(name, given.place, given.key) for name in searched()}
    elif given.items and all(isinstance(item.value, str) for item in given.items):
        names = {str(item.value): item for item in given.items}
    else:
        return node, base, []
    wrong = {name: said for name in names if (said := _refused(name))}
    issues = [
        Issue.at(of.place, (SWEEP, KEY, number), wrong[name])
        for number, (name, of) in enumerate(names.items())
        if name in wrong
    ]
    method = node.child("method")
    if not issues and (method is None or method.value in (None, GRID)):
        said = "draws from the search spaces of the optimizers: add 'method: random' and 'trials'"
        issues.append(Issue.at(given.key or given.place, (SWEEP, KEY), said))
        return node, base, issues
    found = {optimizers.spelled(name): _space(name, of) for name, of in names.items() if name not in wrong}
    children = {key: child for key, child in node.children.items() if key != KEY}
    spaces, include = (child.items if (child := node.child(key)) else [] for key in ("spaces", "include"))
    base, block = _taken(base, [*varied, *_parameters(node)]) if found else (base, None)
    if block is not None:
        name = optimizers.spelled(str(block.children["name"].value))
        if name in found:
            found[name] = _with_block(found[name], block)
        elif not (spaces or include):
            key, option = next((key, child) for key, child in block.children.items() if key != "name")
            said = f"is an option of {name}, which {SWEEP}.{KEY} does not list; without optimizer.name all share it"
            issues.append(Issue.at(option.key or option.place, (OPTIMIZER, key), said))
        spaces = [_with_block(space, block) for space in spaces]
        if include:
            given_too = [
                YamlNode.mapping({**each.children, **_left(block, each.children)}, each.place, each.key)
                for each in include
            ]
            children["include"] = replace(children["include"], value=given_too)
    # Names that are wrong alone stay, so that the block has something that varies.
    children["spaces" if found else KEY] = (
        YamlNode.sequence([*spaces, *found.values()], given.place, given.key) if found else given
    )
    return YamlNode.mapping(children, node.place, node.key), base, issues


def drawn_over(written: YamlNode, node: YamlNode, base: YamlNode) -> Iterator[str]:
    """Yield which options of the `optimizer` block have no effect on an optimizer, since its search space draws them.

    ``written`` is the sweep as it was written, ``node`` that with spaces and overrides, ``base`` the config around it.
    """
    block, spaces, own = base.child(OPTIMIZER), node.child("spaces"), written.child("spaces")
    if written.child(KEY) is None or block is None or spaces is None:
        return
    named = block.child("name")
    for space in spaces.items[len(own.items) if own else 0 :]:
        axes = space.children[PARAMETERS].children
        names = axes[f"{OPTIMIZER}.name"].items
        if len(names) != 1 or (named is not None and fold(str(named.value)) != fold(str(names[0].value))):
            continue
        drawn = [path.split(".")[1] for path, axis in axes.items() if isinstance(axis.value, dict)]
        options = below(block, drawn, tuples_named(OPTIMIZER, names[0])).children
        for key in (key for key in drawn if key in options):
            fix = f"the override {OPTIMIZER}.{key}={options[key].value} fixes it"
            yield f"{OPTIMIZER}.{key} has no effect on {names[0].value}, whose search space draws it: {fix}"


def _taken(base: YamlNode, varied: Iterable[str]) -> tuple[YamlNode, YamlNode | None]:
    """Return a config without the options of its named optimizer, and these with the name; None without any."""
    block = base.child(OPTIMIZER)
    name = block.child("name") if block is not None else None
    if block is None or name is None or not isinstance(name.value, str) or name.value not in optimizers:
        return base, None
    shared = _options(varied)
    if "name" in shared:
        return base, None
    block = below(block, shared, tuples_named(OPTIMIZER, block))
    kept = {key: child for key, child in block.children.items() if key in shared}
    own = {key: child for key, child in block.children.items() if key not in shared}
    if len(own) == 1:
        return base, None
    rest = {key: child for key, child in base.children.items() if key != OPTIMIZER}
    if kept:
        rest[OPTIMIZER] = YamlNode.mapping(kept, block.place, block.key)
    return YamlNode.mapping(rest, base.place, base.key), YamlNode.mapping(own, block.place, block.key)


def _options(paths: Iterable[str]) -> set[str]:
    """Return which options of the optimizer paths lead to."""
    return {path.split(".")[1] for path in paths if path.startswith(f"{OPTIMIZER}.")}


def _parameters(holder: YamlNode) -> list[str]:
    """Return the paths that a sweep or a space of it varies."""
    zipped = holder.child("zip")
    groups = [holder.child(PARAMETERS), *(zipped.items or [zipped] if zipped is not None else [])]
    return [path for group in groups if group is not None for path in group.children]


def _with_block(space: YamlNode, block: YamlNode) -> YamlNode:
    """Return a space in which the optimizer has the options of a block that the space says nothing about."""
    given = space.child(PARAMETERS) or YamlNode.mapping({}, space.place)
    listed = {
        path: YamlNode.sequence([option], option.place, option.key)
        for path, option in _left(block, _parameters(space)).items()
    }
    parameters = YamlNode.mapping({**given.children, **listed}, given.place, given.key)
    return YamlNode.mapping({**space.children, PARAMETERS: parameters}, space.place, space.key)


def _left(block: YamlNode, paths: Collection[str]) -> dict[str, YamlNode]:
    """Return the options of a block by their paths, but for those that other paths lead to."""
    over = _options(paths)
    left = below(block, over, tuples_named(OPTIMIZER, block)).children
    given = {f"{OPTIMIZER}.{key}": option for key, option in left.items() if key not in over}
    return {} if OPTIMIZER in paths else given


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
