"""A sweep → its runs, in the order of its plan; what is drawn depends on the sweep's seed alone."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from optrun.arrays import stream
from optrun.config import ConfigErrors, Issue, RunConfig
from optrun.config.axes import VALUES, Axis
from optrun.config.errors import in_order
from optrun.config.sweep import SweepConfig
from optrun.config.sweep_block import Metric
from optrun.config.tree import Node, Path

MAX_RUNS = 1_000_000
MAX_REFUSED = 100
"""How many settings that cannot be used are looked at before their issues are raised."""

DIGITS = 12
"""Significant digits of spaced values: enough to tell them apart, and few enough to be typed."""

Setting = Mapping[str, Node]


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

    Raises ConfigErrors with the place of every value that makes no config, and where there are too many runs.
    """
    repeats = swept.sweep.repeats
    count = repeats if isinstance(repeats, int) else len(repeats)
    settings = _settings(swept, count)
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
            seeds = range(config.seed, config.seed + count) if isinstance(repeats, int) else repeats
            configs += [config.model_copy(update={"seed": seed}) for seed in seeds]
    if issues:
        raise ConfigErrors(in_order(list(issues), swept.base.root.place.source))
    return Plan(swept, settings, configs, count)


def _settings(swept: SweepConfig, repeats: int) -> list[Setting]:
    sweep = swept.sweep
    random = sweep.method == "random"
    sizes = [axis.size for axis in sweep.parameters.values() if not axis.drawn]
    sizes += [len(next(iter(group.values()))) for group in sweep.zip]
    count = (sweep.trials or 1) if random else math.prod(sizes)
    if (count + len(sweep.include)) * repeats > MAX_RUNS:
        raise ConfigErrors([swept.issue((), f"{count * repeats:,} runs are more than {MAX_RUNS:,}")])
    settings = list(_drawn(swept, count) if random else _crossed(swept))
    excluded = _excluded(swept)
    kept = [setting for setting in settings if not any(_matches(setting, each) for each in excluded)]
    if not random:
        for i, each in enumerate(excluded):
            if not any(_matches(setting, each) for setting in settings):
                raise ConfigErrors(
                    [swept.issue(("exclude", i), "leaves nothing out: no setting has these values")]
                )
    for i, each in enumerate(sweep.include):
        kept.append({path: swept.varied("include", i, path) for path in each})
    if not kept:
        raise ConfigErrors([swept.issue(("exclude",), "leaves nothing: there is no run")])
    return kept


def _crossed(swept: SweepConfig) -> Iterator[Setting]:
    """Yield every combination, the last axis the fastest."""
    axes: list[list[Setting]] = [
        [{path: node} for node in _choices(swept, path, axis)]
        for path, axis in swept.sweep.parameters.items()
    ]
    axes += [_pairs(swept, i) for i in range(len(swept.sweep.zip))]
    for parts in itertools.product(*axes):
        yield {path: node for part in parts for path, node in part.items()}


def _drawn(swept: SweepConfig, trials: int) -> Iterator[Setting]:
    """Yield as many settings as there are trials; each axis has a stream of its own."""
    columns: list[list[Setting]] = []
    for path, axis in swept.sweep.parameters.items():
        generator = stream(swept.sweep.seed, f"sweep {path}")
        if axis.drawn and axis.kind != "choice":
            values = [
                swept.varied("parameters", path, axis.kind, value=each)
                for each in _draws(axis, generator, trials)
            ]
        else:
            choices = _choices(swept, path, axis)
            values = [choices[i] for i in generator.integers(len(choices), size=trials)]
        columns.append([{path: node} for node in values])
    for i, group in enumerate(swept.sweep.zip):
        pairs = _pairs(swept, i)
        index = stream(swept.sweep.seed, f"sweep {' '.join(group)}").integers(len(pairs), size=trials)
        columns.append([pairs[j] for j in index])
    for parts in zip(*columns, strict=True):
        yield {path: node for part in parts for path, node in part.items()}


def _choices(swept: SweepConfig, path: str, axis: Axis) -> list[Node]:
    """Return the values of an axis, each with the place where it was written."""
    within: Path = ("parameters", path) if axis.kind == VALUES else ("parameters", path, axis.kind)
    if axis.kind in (VALUES, "choice"):
        return [swept.varied(*within, i) for i in range(len(axis.arguments))]
    return [swept.varied(*within, value=value) for value in _spaced(axis)]


def _pairs(swept: SweepConfig, i: int) -> list[Setting]:
    group = swept.sweep.zip[i]
    length = len(next(iter(group.values())))
    return [{path: swept.varied("zip", i, path, j) for path in group} for j in range(length)]


def _spaced(axis: Axis) -> list[float] | range:
    if axis.kind == "range":
        return range(*axis.arguments)
    spacing = np.geomspace if axis.kind == "logspace" else np.linspace
    return [float(f"{value:.{DIGITS}g}") for value in spacing(*axis.arguments)]


def _draws(axis: Axis, generator: np.random.Generator, count: int) -> list[float]:
    first, second = axis.arguments
    values: Any
    match axis.kind:
        case "uniform":
            values = generator.uniform(first, second, count)
        case "normal":
            values = generator.normal(first, second, count)
        case "int":
            values = generator.integers(first, second, count, endpoint=True)
        case "loguniform":
            values = np.exp(generator.uniform(math.log(first), math.log(second), count)).clip(first, second)
        case _:
            # Each integer k has the weight of [k - ½, k + ½), so that the ends are as likely as their neighbours.
            low, high = math.log(first - 0.5), math.log(second + 0.5)
            values = np.rint(np.exp(generator.uniform(low, high, count))).clip(first, second).astype(np.int64)
    drawn: list[float] = values.tolist()
    return drawn


def _excluded(swept: SweepConfig) -> list[dict[str, list[Any]]]:
    return [
        {path: value if isinstance(value, list) else [value] for path, value in each.items()}
        for each in swept.sweep.exclude
    ]


def _matches(setting: Setting, excluded: Mapping[str, list[Any]]) -> bool:
    return all(path in setting and setting[path].plain() in values for path, values in excluded.items())
