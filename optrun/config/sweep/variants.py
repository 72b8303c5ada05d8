"""The configs of a sweep's settings: where they differ in floats alone, no more is validated than what these are in."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from optrun.config.model.components import Named
from optrun.config.model.run import RunConfig
from optrun.config.resolve import Resolved
from optrun.config.sweep.resolve import SweepConfig
from optrun.config.yaml.tree import YamlNode
from optrun.registry import SECTIONS

Complete = tuple[RunConfig, dict[str, Any]]
"""A config, and the same as plain JSON values."""


class Variants:
    """The configs of the settings of a sweep, which are values by their paths."""

    def __init__(self, swept: SweepConfig) -> None:
        self._swept = swept
        self._firsts: dict[tuple[object, ...], _First] = {}
        """By all of a setting but its floats."""

    def complete(self, setting: Mapping[str, YamlNode]) -> Complete:
        """Return the config of a setting; raises ConfigErrors."""
        floats = {
            path: node.value
            for path, node in setting.items()
            if type(node.value) is float and _is_option(path)
        }
        rest = (
            (path, node.place, repr(node.plain())) for path, node in setting.items() if path not in floats
        )
        kind = (*floats, *rest)
        if kind in self._firsts:
            try:
                return self._firsts[kind].varied(floats)
            except ValidationError:
                pass  # the whole config says where
        first = self._firsts[kind] = _First(self._swept.resolved(setting))
        return first.resolved.config, first.document


@dataclass(frozen=True)
class _First:
    """The first config of a kind: whether its sections go together does not depend on floats within them."""

    resolved: Resolved

    @cached_property
    def document(self) -> dict[str, Any]:
        return self.resolved.config.to_dict()

    def varied(self, floats: Mapping[str, float]) -> Complete:
        """Return the config with other floats at the same paths; raises ValidationError."""
        config = self.resolved.config
        sections: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for path, value in floats.items():
            section, _, option = path.partition(".")
            sections[section][option] = value
        parts = {
            section: Named(SECTIONS[section]).varied(getattr(config, section), values)
            for section, values in sections.items()
        }
        dumps = {section: part.model_dump(mode="json") for section, part in parts.items()}
        return config.model_copy(update=parts), {**self.document, **dumps}


def _is_option(path: str) -> bool:
    section, _, option = path.partition(".")
    # An option of a problem may be a list or a mapping of numbers; of others it may be one of components.
    return section in SECTIONS and option != "" and (section == "problem" or "." not in option)
