"""A sweep → its runs, in the order of its plan; what is drawn depends on the sweep's seed alone."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optrun.config import ConfigErrors, Issue, RunConfig
from optrun.config.errors import in_order
from optrun.config.sweep import SweepConfig
from optrun.config.sweep_block import Metric
from optrun.config.tree import Path
from optrun.sweep.sampling import SAMPLERS, combinations, random
from optrun.sweep.spaces import Setting, Space, matches, spaces_of

MAX_RUNS = 1_000_000
MAX_REFUSED = 100
"""How many settings that cannot be used are looked at before their issues are raised."""


@dataclass(frozen=True)
class Plan:
    """Every run of a sweep: the repeats of its first setting, then those of the next one."""

    swept: SweepConfig
    nodes: Sequence[Setting]
    """The values of the swept parameters by their paths, with their places."""
    configs: Sequence[RunConfig]
    repeats: int

    @property
    def name(self) -> str:
        """What the sweep is called."""
        return self.swept.name

    @property
    def metric(self) -> Metric:
        """By what settings are ranked."""
        return self.swept.sweep.metric

    @cached_property
    def settings(self) -> list[dict[str, Any]]:
        """The values of the swept parameters by their paths."""
        return [{path: node.plain() for path, node in setting.items()} for setting in self.nodes]

    @cached_property
    def documents(self) -> list[dict[str, Any]]:
        """The config of each run, as plain values."""
        documents: list[dict[str, Any]] = []
        for index in range(0, len(self.configs), self.repeats):
            first = self.configs[index].to_dict()
            documents += [{**first, "seed": each.seed} for each in self.configs[index : index + self.repeats]]
        return documents

    @cached_property
    def digest(self) -> str:
        """The SHA-256, in hex, of all that decides the results, and how they are ranked."""
        digest = hashlib.sha256(self.metric.model_dump_json().encode())
        for document in self.documents:
            digest.update(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
        return digest.hexdigest()


def expand(swept: SweepConfig) -> Plan:
    """Return the runs of a sweep, each validated.

    Raises ConfigErrors with the place of every value that makes no config, and where there are too many runs, and
    MissingExtraError where the method needs a package that is not installed.
    """
    settings = _settings(swept)
    return Plan(swept, settings, validated(swept, settings), swept.sweep.seeds)


def validated(swept: SweepConfig, settings: Sequence[Setting]) -> list[RunConfig]:
    """Return the configs of settings, those of all seeds of the first one first; raises ConfigErrors."""
    repeats = swept.sweep.repeats
    configs: list[RunConfig] = []
    issues: dict[Issue, None] = {}
    refused = 0
    for setting in settings:
        try:
            config = swept.resolved(setting).config
        except ConfigErrors as error:
            issues |= dict.fromkeys(error.issues)
            refused += 1
            if refused == MAX_REFUSED:
                break
        else:
            seeds = range(config.seed, config.seed + repeats) if isinstance(repeats, int) else repeats
            configs += [config.model_copy(update={"seed": seed}) for seed in seeds]
    if issues:
        raise ConfigErrors(in_order(list(issues), swept.base.root.place.source))
    return configs


def _settings(swept: SweepConfig) -> list[Setting]:
    sweep = swept.sweep
    spaces = spaces_of(swept)
    runs = (sum(space.size for space in spaces) + len(sweep.include)) * sweep.seeds
    if runs > MAX_RUNS:
        raise ConfigErrors([swept.issue((), f"{runs:,} runs are more than {MAX_RUNS:,}")])
    sampler = SAMPLERS[sweep.method] if sweep.method != "halving" else random if sweep.draws else combinations
    found = [(space, setting) for space in spaces for setting in sampler(space, sweep.seed)]
    if not sweep.draws:
        _check_excluded(swept, found)
    kept = [setting for space, setting in found if not space.leaves_out(setting)]
    for i, each in enumerate(sweep.include):
        kept.append({path: swept.varied("include", i, path) for path in each})
    if not kept:
        raise ConfigErrors([swept.issue(("exclude",), "leaves nothing: there is no run")])
    return kept


def _check_excluded(swept: SweepConfig, found: Sequence[tuple[Space, Setting]]) -> None:
    """Raise ConfigErrors where something excludes no setting."""
    rules: list[tuple[Path, tuple[int, ...], Mapping[str, Any]]] = []
    rules += [(("exclude", i), (), each) for i, each in enumerate(swept.sweep.exclude)]
    for of, space in enumerate(swept.sweep.spaces):
        rules += [(("spaces", of, "exclude", i), (of,), each) for i, each in enumerate(space.exclude)]
    for place, index, rule in rules:
        if not any(matches(setting, rule) for space, setting in found if index in ((), space.index)):
            raise ConfigErrors([swept.issue(place, "leaves nothing out: no setting has these values")])
