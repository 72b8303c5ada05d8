"""The texts of composed parts that are compared: an optimizer with its transforms and wrappers."""

from collections.abc import Mapping, Sequence
from typing import Any

from optrun.registry import TRANSFORMS


def part_text(part: Mapping[str, Any]) -> str | None:
    """Return the name of a part, with those of its transforms, wrappers and groups: `Adam + SAM`."""
    names = [part.get("name")]
    names += [each.get("name") for kind in TRANSFORMS for each in part.get(kind) or ()]
    names += [
        f"{group['name']} on {', '.join(group['params'])}"
        for group in part.get("param_groups") or ()
        if group.get("name")
    ]
    return " + ".join(map(str, names)) if names[0] is not None else None


def list_text(listed: Sequence[Any], kind: str) -> str:
    """Return a list as it is written in YAML, options of transforms only where they are not the default."""
    texts = [_member(each, kind) if isinstance(each, Mapping) and "name" in each else each for each in listed]
    return f"[{', '.join(map(str, texts))}]"


def _member(member: Mapping[str, Any], kind: str) -> str:
    name, registry = str(member["name"]), TRANSFORMS.get(kind)
    known = registry.find(name).options() if registry is not None and name in registry else {}
    options = [
        f"{key}={value}"
        for key, value in member.items()
        if key != "name" and not (key in known and known[key].default == value)
    ]
    return " ".join([name, *options])
