"""The configs of a sweep's settings: where they differ in floats alone, these are all that is kept of each."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from optrun.arrays import Array
from optrun.config.model.components import Component, Named, with_value
from optrun.config.model.run import RunConfig
from optrun.config.resolution import Resolved
from optrun.config.sweep.resolve import SweepConfig
from optrun.config.yaml.errors import ConfigErrors
from optrun.config.yaml.tree import YamlNode
from optrun.registry import SECTIONS
from optrun.store.json_pattern import JsonPattern

Complete = tuple[RunConfig, dict[str, Any]]
"""A config, and the same as plain JSON values."""

Key = tuple[tuple[str, ...], tuple[object, ...]]
"""What settings have in common whose configs are of one kind: the paths of their floats, and all but these."""

Place = tuple[int, tuple[str, ...]]
"""The number of a float, and where it is among the options of its section."""


class ConfigKind:
    """Configs that differ in floats of their sections alone: the first of them, and the ``paths`` of the floats.

    Whether its sections go together does not depend on these floats.
    """

    def __init__(self, resolved: Resolved, paths: Sequence[str] = ()) -> None:
        self.config = resolved.config
        self.paths = paths
        self._sections: defaultdict[str, list[Place]] = defaultdict(list)
        for place, path in enumerate(paths):
            section, *steps = path.split(".")
            self._sections[section].append((place, tuple(steps)))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made of the rest when it is asked for."""
        return {"config": self.config, "paths": self.paths, "_sections": self._sections}

    @cached_property
    def document(self) -> dict[str, Any]:
        """The first config as plain JSON values."""
        return self.config.to_dict()

    @cached_property
    def values(self) -> tuple[float, ...] | None:
        """The floats of the first config; None where one of them is written otherwise than as it is."""
        own = tuple(_at(self.config, path) for path in self.paths)
        written = tuple(_at(self.document, path) for path in self.paths)
        return own if own == written and _are_floats(own) and _are_floats(written) else None

    def validated(self, floats: Sequence[float]) -> tuple[float, ...] | None:
        """Return the floats that the config of these has, or None where it has others; raises ValidationError."""
        found = list(floats)
        for places, options_with in self._variations:
            options = options_with([floats[place] for place, _ in places])
            for place, steps in places:
                found[place] = _within(options, steps)
        return tuple(found) if _are_floats(found) else None

    def accepts(self, rows: Sequence[Sequence[float]]) -> list[bool]:
        """Return of which rows of floats the config is known to be valid, and to have just these."""
        values: Array = np.array(rows, np.float64)
        accepted = np.ones(len(values), bool)
        for section, places in self._sections.items():
            own: Component = getattr(self.config, section)
            names = [".".join(steps) for _, steps in places]
            columns = values[:, [place for place, _ in places]]
            accepted &= Named(SECTIONS[section]).accepts(own, names, columns)
        found: list[bool] = accepted.tolist()
        return found

    @cached_property
    def _variations(self) -> list[tuple[list[Place], Callable[[Sequence[float]], dict[str, Any]]]]:
        return [
            (
                places,
                Named(SECTIONS[section]).variation(getattr(self.config, section), [at for _, at in places]),
            )
            for section, places in self._sections.items()
        ]

    def config_of(self, values: Sequence[float], seed: int) -> RunConfig:
        """Return the config that has these validated floats, and a seed."""
        changed: dict[str, Any] = {"seed": seed} if seed != self.config.seed else {}
        for section, places in self._sections.items():
            part: Component = getattr(self.config, section)
            options = dict(part.options)
            for place, (name, *steps) in places:
                options[name] = with_value(options[name], steps, values[place])
            changed[section] = part.model_copy(update={"options": options})
        return self.config.model_copy(update=changed) if changed else self.config

    def document_of(self, values: Sequence[Any], seed: Any) -> dict[str, Any]:
        """Return the same as plain JSON values."""
        document = {**self.document, "seed": seed}
        for section, places in self._sections.items():
            part = dict(document[section])
            for place, (name, *steps) in places:
                part[name] = with_value(part[name], steps, values[place])
            document[section] = part
        return document

    def pattern(self, text_of: Callable[[dict[str, Any]], str]) -> JsonPattern:
        """Return the JSON texts of all documents of this kind, given that of one: of their floats, then the seed."""
        *marks, seed = JsonPattern.marks(len(self.paths) + 1)
        return JsonPattern.of(text_of(self.document_of(marks, seed)))


class Variant(NamedTuple):
    """A config: the kind that it is of, and its floats."""

    kind: ConfigKind
    values: tuple[float, ...]

    def complete(self) -> Complete:
        """Return the config, with the seed of the kind."""
        seed = self.kind.config.seed
        return self.kind.config_of(self.values, seed), self.kind.document_of(self.values, seed)


class Variants:
    """The configs of the settings of a sweep, which are values by their paths."""

    def __init__(self, swept: SweepConfig) -> None:
        self._swept = swept
        self._kinds: dict[Key, ConfigKind] = {}
        """By all of a setting but its floats."""

    def complete(self, setting: Mapping[str, YamlNode]) -> Complete:
        """Return the config of a setting; raises ConfigErrors."""
        return self.find(setting).complete()

    def find(self, setting: Mapping[str, YamlNode]) -> Variant:
        """Return the config of a setting as one of a kind; raises ConfigErrors."""
        return self._found(setting, *_parted(setting))

    def find_all(self, settings: Sequence[Mapping[str, YamlNode]]) -> Iterator[Variant | ConfigErrors]:
        """Yield the config of each setting as one of a kind, or what is wrong with it."""
        keys: dict[Key, Key] = {}
        alike: defaultdict[Key, list[int]] = defaultdict(list)
        parted: list[tuple[Key, tuple[float, ...]]] = []
        for place, setting in enumerate(settings):
            key, values = _parted(setting)
            parted.append((keys.setdefault(key, key), values))
            alike[key].append(place)
        accepted = bytearray(len(parted))
        for place, (key, values) in enumerate(parted):
            if accepted[place]:
                yield Variant(self._kinds[key], values)
                continue
            try:
                variant = self._found(settings[place], key, values)
            except ConfigErrors as error:
                yield error
                continue
            yield variant
            if key in self._kinds and (others := alike.pop(key, None)):
                # The others of a kind in one turn, once its first config is there.
                for other, its in zip(
                    others, self._kinds[key].accepts([parted[i][1] for i in others]), strict=True
                ):
                    accepted[other] = its

    def _found(self, setting: Mapping[str, YamlNode], key: Key, floats: tuple[float, ...]) -> Variant:
        if key in self._kinds:
            try:
                values = self._kinds[key].validated(floats)
            except ValidationError:
                values = None  # the whole config says where
            if values is not None:
                return Variant(self._kinds[key], values)
        resolved = self._swept.resolved(setting)
        kind = ConfigKind(resolved, key[0])
        if kind.values is None:
            return Variant(ConfigKind(resolved), ())
        return Variant(self._kinds.setdefault(key, kind), kind.values)


def _parted(setting: Mapping[str, YamlNode]) -> tuple[Key, tuple[float, ...]]:
    """Return the paths of a setting's floats and all but these, and the floats."""
    floats = {
        path: node.value for path, node in setting.items() if type(node.value) is float and _is_option(path)
    }
    others = () if len(floats) == len(setting) else [path for path in setting if path not in floats]
    rest = [(path, setting[path].place, repr(setting[path].plain())) for path in others]
    return (tuple(floats), tuple(rest)), tuple(floats.values())


@lru_cache
def _is_option(path: str) -> bool:
    section, _, option = path.partition(".")
    # An option of a problem may be a list or a mapping of numbers; of others it may be one of components.
    return section in SECTIONS and option != "" and (section == "problem" or "." not in option)


def _are_floats(values: Sequence[Any]) -> bool:
    return all(type(value) is float and math.isfinite(value) for value in values)


def _at(config: RunConfig | Mapping[str, Any], path: str) -> Any:
    """Return what a config has at a path of an option; None where it has nothing there."""
    section, *steps = path.split(".")
    part = config[section] if isinstance(config, Mapping) else getattr(config, section).options
    return _within(part, steps)


def _within(whole: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        try:
            whole = whole[int(step) if isinstance(whole, list) else step]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return whole
