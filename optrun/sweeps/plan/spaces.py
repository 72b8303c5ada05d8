"""The spaces of a sweep: what is chosen in each, and which values there are to choose from."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.config.sweep.axes import VALUES, Axis
from optrun.config.sweep.model import SpaceBlock
from optrun.config.sweep.resolve import SweepConfig
from optrun.config.yaml.tree import Path, YamlNode

DIGITS = 12
"""Significant digits of values between the ends of a spacing: enough to tell them apart, and few enough to be typed."""

Setting = Mapping[str, YamlNode]
"""Values of the config by their paths, with the places where they were written."""


@dataclass(frozen=True)
class Dimension:
    """What is chosen at once: the value of one parameter, or those of paired ones."""

    swept: SweepConfig
    where: Path
    """Where it is written in the sweep."""
    paths: Sequence[str]
    axis: Axis | None
    """The values of one parameter; None for paired ones."""

    @property
    def name(self) -> str:
        """The paths of its parameters, by which its draws are told from those of others."""
        return " ".join(self.paths)

    @property
    def is_continuous(self) -> bool:
        """Whether its values are drawn from a distribution of numbers, so that there is no list of them."""
        return self.axis is not None and self.axis.drawn and self.axis.kind != "choice"

    @property
    def size(self) -> int:
        """How many values there are, of a dimension that is not continuous."""
        return self.axis.size if self.axis is not None else len(self.choices)

    @cached_property
    def choices(self) -> Sequence[Setting]:
        """The values, each with the place where it was written, of a dimension that is not continuous."""
        varied, where, axis = self.swept.varied, self.where, self.axis
        if axis is None:
            group = self.swept.node.at(where).children
            length = len(next(iter(group.values())).items)
            return [{path: varied(*where, path, i) for path in self.paths} for i in range(length)]
        (path,) = self.paths
        within = where if axis.kind == VALUES else (*where, axis.kind)
        if axis.kind in (VALUES, "choice"):
            return [{path: varied(*within, i)} for i in range(len(axis.arguments))]
        return [{path: node} for node in self.swept.varied_to(within, list(_spaced(axis)))]

    def valued(self, values: Array) -> list[Setting]:
        """Return the settings that have these values, of a continuous dimension."""
        assert self.axis is not None
        (path,) = self.paths
        within = (*self.where, self.axis.kind)
        return [{path: node} for node in self.swept.varied_to(within, values.tolist())]

    def at(self, quantiles: Array) -> list[Setting]:
        """Return the settings at quantiles ``[n]`` in [0, 1), which the inverse of the distribution maps to values."""
        if self.is_continuous:
            assert self.axis is not None
            return self.valued(inverse(self.axis, quantiles))
        choices = self.choices
        return [choices[i] for i in (quantiles * len(choices)).astype(np.int64).tolist()]


@dataclass(frozen=True)
class Space:
    """Dimensions that are crossed with each other."""

    index: tuple[int, ...]
    """Its number among several spaces, or nothing."""
    dimensions: Sequence[Dimension]
    crossed: Sequence[Dimension]
    """Those of which every drawn setting has each value."""
    excluded: Sequence[Mapping[str, Any]]
    trials: int
    """How many settings are drawn from it, before they are crossed; 0 where there is one for each combination."""

    @property
    def size(self) -> int:
        """How many settings it has."""
        drawn = self.trials or math.prod(each.size for each in self.dimensions)
        return drawn * math.prod(each.size for each in self.crossed)

    def completed(self, setting: Setting) -> Sequence[Setting]:
        """Return a setting of its dimensions with all values that are crossed with it."""
        if not self.crossed:
            return (setting,)
        crossed = itertools.product(*(each.choices for each in self.crossed))
        return [joined([*values, setting]) for values in crossed]

    def at(self, quantiles: Sequence[Array]) -> list[Setting]:
        """Return the settings at quantiles in [0, 1), ``[n]`` for each dimension."""
        columns = [of.at(each) for of, each in zip(self.dimensions, quantiles, strict=True)]
        return [joined(row) for row in zip(*columns, strict=True)]

    def leaves_out(self, setting: Setting) -> bool:
        """Whether a setting is excluded."""
        return bool(self.excluded) and any(matches(setting, each) for each in self.excluded)


def spaces_of(swept: SweepConfig) -> list[Space]:
    """Return the spaces of a sweep; without any, there is one."""
    sweep = swept.sweep
    shared = list(_dimensions(swept, (), sweep))
    if not sweep.spaces:
        return [Space((), *_parted(shared, sweep.cross), sweep.exclude, sweep.trials or 0)]
    count = len(sweep.spaces)
    divided = [len(range(i, sweep.trials or 0, count)) for i in range(count)]
    return [
        Space(
            (i,),
            *_parted([*shared, *_dimensions(swept, ("spaces", i), space)], sweep.cross),
            [*sweep.exclude, *space.exclude],
            space.trials or divided[i],
        )
        for i, space in enumerate(sweep.spaces)
    ]


def _parted(dimensions: Sequence[Dimension], cross: Sequence[str]) -> tuple[list[Dimension], list[Dimension]]:
    """Return the dimensions that are drawn, and those that are crossed with the draws."""
    crossed = [each for each in dimensions if not {*each.paths}.isdisjoint(cross)]
    return [each for each in dimensions if each not in crossed], crossed


def joined(parts: Iterable[Setting]) -> Setting:
    """Return the setting that is made of what is chosen in each dimension."""
    return {path: node for part in parts for path, node in part.items()}


def matches(setting: Setting, excluded: Mapping[str, Any]) -> bool:
    """Whether a setting has all these values, or one of those in a list."""
    return all(
        path in setting and setting[path].plain() in (values if isinstance(values, list) else [values])
        for path, values in excluded.items()
    )


def inverse(axis: Axis, quantiles: Array) -> Array:
    """Return the values of a distribution of numbers at quantiles in [0, 1).

    An integer k of `logint` has the weight of [k - ½, k + ½), so that the ends are as likely as their neighbours.
    """
    first, second = axis.arguments[:2]
    values: Array
    match axis.kind:
        case "uniform":
            values = first + (second - first) * quantiles
        case "loguniform":
            low, high = math.log(first), math.log(second)
            values = np.exp(low + (high - low) * quantiles).clip(first, second)
        case "int":
            values = first + np.floor(quantiles * (second - first + 1)).astype(np.int64)
        case "logint":
            low, high = math.log(first - 0.5), math.log(second + 0.5)
            values = np.rint(np.exp(low + (high - low) * quantiles)).clip(first, second).astype(np.int64)
        case _:
            least, (low, high) = 2.0**-53, _weights(axis)
            inner = (low + (high - low) * quantiles).clip(least, 1 - least)
            values = np.array([NormalDist(first, second).inv_cdf(each) for each in inner.tolist()])
            values = values.clip(*axis.arguments[2:]) if axis.arguments[2:] else values
    return values


def quantile(axis: Axis, value: float) -> float | None:
    """Return where a value lies in a normal distribution, of which `inverse` makes it again; None out of bounds."""
    low, high = _weights(axis)
    place = (NormalDist(*axis.arguments[:2]).cdf(value) - low) / (high - low)
    return place if 0 <= place <= 1 else None


def _weights(axis: Axis) -> tuple[float, float]:
    """Return how much of a normal distribution lies below its least value, and how much below its largest one."""
    mean, deviation, *ends = axis.arguments
    if not ends:
        return 0.0, 1.0
    low, high = map(NormalDist(mean, deviation).cdf, ends)
    return low, high


def _dimensions(swept: SweepConfig, within: Path, block: SpaceBlock) -> Iterator[Dimension]:
    for path, axis in block.parameters.items():
        yield Dimension(swept, (*within, "parameters", path), (path,), axis)
    for i, group in enumerate(block.zip):
        yield Dimension(swept, (*within, "zip", i), tuple(group), None)


def _spaced(axis: Axis) -> list[float] | range:
    if axis.kind == "range":
        return range(*axis.arguments)
    spacing = np.geomspace if axis.kind == "logspace" else np.linspace
    values = [float(f"{value:.{DIGITS}g}") for value in spacing(*axis.arguments)]
    first, last, count = axis.arguments
    return [first, *values[1:-1], last] if count > 1 else [first]  # the ends are what was written
