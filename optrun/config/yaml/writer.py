"""A config as YAML that reads as it was written: lists in one line, floats in their shortest form."""

from collections.abc import Sequence
from typing import Any

import yaml

from optrun.checks import scalars


class _Inline(dict[str, Any]):
    """A mapping inside a list, which is written in one line."""


class _Dumper(yaml.SafeDumper):
    """Quotes what the core schema of YAML 1.2 would not read as a string, and nothing else."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  # PyYAML's own name and type

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _float(dumper: _Dumper, value: float) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:float", repr(value))


def _str(dumper: _Dumper, text: str) -> yaml.Node:
    style = '"' if not text.isprintable() else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


def _list(dumper: _Dumper, values: list[Any]) -> yaml.Node:
    items = [_Inline(value) if isinstance(value, dict) else value for value in values]
    in_line = dumper.default_flow_style or not any(isinstance(item, dict) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=in_line)


def _inline(dumper: _Dumper, mapping: _Inline) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", mapping, flow_style=True)


for _name in ("null", "bool", "int", "float"):
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", getattr(scalars, _name.upper()), None)
_Dumper.add_representer(float, _float)
_Dumper.add_representer(str, _str)
_Dumper.add_representer(list, _list)
_Dumper.add_multi_representer(str, _str)
_Dumper.add_representer(_Inline, _inline)


def rounded(value: float, digits: int) -> str:
    """Return a float in so many significant digits, or in as many as it takes not to become 1 or -1."""
    text = f"{value:.{digits}g}"
    return repr(value) if text in ("1", "-1") and abs(value) != 1 else text


def told_apart(values: Sequence[float], digits: int) -> list[str]:
    """Return floats as texts that read back as different numbers, with no more digits than that takes."""
    for count in range(digits, 18):
        texts = [rounded(value, count) for value in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts


def inline(value: Any) -> str:
    """Return a plain value as YAML in one line."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")


def to_yaml(data: dict[str, Any]) -> str:
    """Return a mapping of plain values as YAML, its keys in their order."""
    return yaml.dump(
        data,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=float("inf"),
    )
