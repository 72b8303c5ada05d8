"""What a whole sweep is expected to reach: `expect.sweep` of a config, judged once the sweep is through."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from optrun.checks.messages import UNKNOWN_KEY, message
from optrun.config.model.expect import Bounds, Expectations
from optrun.config.model.options import SWEEP
from optrun.config.yaml.errors import Issue
from optrun.config.yaml.tree import Path, YamlNode
from optrun.errors import did_you_mean

EXPECT = "expect"
BEST, BY = "best", "by"
_FORM = "{best: {test_accuracy: {min: 0.9}}}"
_FORMS = {0: _FORM, 1: "{test_accuracy: {min: 0.9}}", 2: "{min: 0.9}"}


@dataclass(frozen=True)
class SweepExpectation:
    """Bounds of the medians over the seeds of best settings."""

    best: Mapping[str, Bounds]
    """Of the best setting of each problem, by the names of figures."""
    by: str
    """The path whose values have bounds of their own; empty without such values."""
    values: Mapping[str, Mapping[str, Bounds]]
    """Of the best setting of each of these values, on each problem that has it."""
    node: YamlNode

    def issue(self, path: Path, text: str, *, at_key: bool = False) -> Issue:
        """Return what is wrong with a part, or was missed."""
        return _issue(self.node, path, text, at_key=at_key)


def split(base: YamlNode) -> tuple[YamlNode, SweepExpectation | None, list[Issue]]:
    """Return a config without what its whole sweep is expected to reach, that, and what is wrong with it."""
    section = base.child(EXPECT)
    node = section.child(SWEEP) if section is not None else None
    if section is None or node is None:
        return base, None, []
    left = {key: child for key, child in section.children.items() if key != SWEEP}
    children = {**base.children, EXPECT: YamlNode.mapping(left, section.place, section.key)}
    if not left:
        del children[EXPECT]
    found, issues = _read(node)
    return YamlNode.mapping(children, base.place, base.key), found, issues


def _read(node: YamlNode) -> tuple[SweepExpectation | None, list[Issue]]:
    if node.value is None:
        return None, []
    issues: list[Issue] = []
    if not isinstance(node.value, dict):
        return None, [_issue(node, (), f"must be a mapping such as {_FORM}")]
    bounds = {
        key: found
        for key, child in node.children.items()
        if key != BY and child.value is not None and (found := _bounds(node, key, issues)) is not None
    }
    by = node.child(BY)
    path = by.value if by is not None else None
    values = [key for key in node.children if key not in (BEST, BY)]
    if path is not None and not (isinstance(path, str) and path):
        issues.append(_issue(node, (BY,), "must be a path of the config such as optimizer.name"))
    elif values and path is None:
        text = f"is a value of what? Give its path, such as {BY}: optimizer.name; or write {BEST}"
        issues.append(_issue(node, (values[0],), text, at_key=True))
    elif path is not None and not values:
        issues.append(_issue(node, (BY,), f"no value of {path} has bounds"))
    elif not bounds and not issues:
        issues.append(_issue(node, (), f"expects nothing: write such as {_FORM}"))
    if issues:
        return None, issues
    best = bounds.pop(BEST, {})
    return SweepExpectation(best, str(path or ""), bounds, node), []


def _bounds(node: YamlNode, key: str, issues: list[Issue]) -> dict[str, Bounds] | None:
    """Return the bounds under a key; add what is wrong with them to the issues."""
    try:
        found: dict[str, Bounds] = _adapter().validate_python(node.children[key].plain())
    except ValidationError as error:
        for each in error.errors(include_url=False):
            path, text = (key, *each["loc"]), message(each)
            is_unknown = each["type"] == UNKNOWN_KEY
            if is_unknown:
                known = each["ctx"]["known"]
                text += "." + (did_you_mean(str(path[-1]), known) or f" Known here: {', '.join(known)}")
            if text.startswith("must be a mapping"):
                text = text.replace("a mapping", f"a mapping such as {_FORMS[len(path)]}", 1)
            issues.append(_issue(node, path, text, at_key=is_unknown))
        return None
    if not found:
        issues.append(_issue(node, (key,), f"expects nothing: write such as {_FORMS[1]}"))
    return found


def _issue(node: YamlNode, path: Path, text: str, *, at_key: bool = False) -> Issue:
    there = node.at(path)
    return Issue.at(there.key if at_key and there.key else there.place, (EXPECT, SWEEP, *path), text)


@cache
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(Expectations)
