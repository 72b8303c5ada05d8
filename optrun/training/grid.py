"""The configs of many lanes as columns: those along two axes, and which two of them each lane is made of."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.config.model.components import Component, OptimizerComponent
from optrun.errors import ConfigError
from optrun.registry import Registry, averages, optimizers, problems, schedulers
from optrun.training.run_seed import data_seed, init_seed, own_seed
from optrun.training.stacking import is_one_number, stacked


class Axes:
    """The configs along x, with the first value of y, and those along y, with the first value of x.

    Raises ConfigError where they differ in more than numbers, or in the same number.
    """

    def __init__(self, xs: Sequence[RunConfig], ys: Sequence[RunConfig]) -> None:
        self.x, self.y = _wide(xs), _wide(ys)
        self.seeds: dict[Callable[[RunConfig], int], tuple[Array, Array]] = {
            of: (_seeds(of, xs), _seeds(of, ys)) for of in (init_seed, data_seed, own_seed)
        }


class LaneGrid(Sequence[RunConfig]):
    """The configs of lanes, each at a place of two axes, of which none is made before somebody asks for it."""

    def __init__(self, axes: Axes, x: Array, y: Array) -> None:
        self._axes, self._x, self._y = axes, x, y

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, lane: Any) -> Any:
        return self._first if lane == 0 else self.select([lane])._first

    def select(self, lanes: Sequence[int]) -> "LaneGrid":
        """Return the configs of some of the lanes."""
        return LaneGrid(self._axes, self._x[lanes], self._y[lanes])

    @cached_property
    def wide(self) -> RunConfig:
        """The config of all lanes, in which each number that differs is an array `[B]`."""
        axes = self._axes
        merged = {part: self._merged(getattr(axes.x, part), getattr(axes.y, part)) for part in _PARTS}
        return axes.x.model_copy(update=merged)

    def seeds(self, of: Callable[[RunConfig], int]) -> list[int]:
        """Return the seeds of the lanes, of their initialisation or of their data."""
        along_x, along_y = self._axes.seeds[of]
        found: list[int] = (along_x[self._x] if _varies(along_x) else along_y[self._y]).tolist()
        return found

    @cached_property
    def _first(self) -> RunConfig:
        one = self.select([0]).wide
        return one.model_copy(update={"seed": self.select([0]).seeds(own_seed)[0]})

    def _merged(self, x: Any, y: Any) -> Any:
        if isinstance(x, Component):
            update: dict[str, Any] = {"options": self._merged(x.options, y.options)}
            if isinstance(x, OptimizerComponent):
                update["param_groups"] = [
                    one.model_copy(
                        update={
                            "options": self._merged(one.options, other.options),
                            "schedules": self._merged(one.schedules, other.schedules),
                        }
                    )
                    for one, other in zip(x.param_groups, y.param_groups, strict=True)
                ]
            return x.model_copy(update=update)
        if isinstance(x, dict):
            # A config leaves out an added float at its default, which the first value along the other axis may be.
            return {key: self._merged(x[key], y.get(key)) for key in x} | {
                key: of[self._y] if isinstance(of, np.ndarray) else of
                for key, of in y.items()
                if key not in x
            }
        if isinstance(x, list):
            return [self._merged(*pair) for pair in zip(x, y, strict=True)]
        if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
            raise ConfigError("x and y set the same number: give them paths of two")
        if not isinstance(x, np.ndarray) and not isinstance(y, np.ndarray):
            return x
        values = x[self._x] if isinstance(x, np.ndarray) else y[self._y]
        return float(values[0]) if is_one_number(values) else values


class LaneColumns(LaneGrid):
    """The configs of lanes that differ in their seeds and in some floats alone ``[B, n]``.

    ``config_of`` makes a config of the floats, or columns ``[B]`` of them, and a seed.
    """

    def __init__(
        self, config_of: Callable[[Sequence[Any], int], RunConfig], floats: Array, seeds: Sequence[int]
    ) -> None:
        self._config_of, self._floats, self._seeds = config_of, floats, seeds

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, lane: Any) -> Any:
        if isinstance(lane, slice):
            return LaneColumns(self._config_of, self._floats[lane], self._seeds[lane])
        return self._config_of(self._floats[lane].tolist(), self._seeds[lane])

    def select(self, lanes: Sequence[int]) -> "LaneColumns":
        """Return the configs of some of the lanes."""
        return LaneColumns(self._config_of, self._floats[list(lanes)], [self._seeds[lane] for lane in lanes])

    @cached_property
    def wide(self) -> RunConfig:
        """The config of all lanes, in which each number that differs is an array `[B]`."""
        columns = [np.ascontiguousarray(column) for column in self._floats.T]
        values = [float(column[0]) if is_one_number(column) else column for column in columns]
        return self._config_of(values, self._seeds[0])

    def seeds(self, of: Callable[[RunConfig], int]) -> list[int]:
        """Return the seeds of the lanes, of their initialisation or of their data."""
        first = self[0]
        found = {seed: of(first.model_copy(update={"seed": seed})) for seed in {*self._seeds}}
        return [found[seed] for seed in self._seeds]


_PARTS: dict[str, Registry[Any]] = {
    "problem": problems,
    "optimizer": optimizers,
    "scheduler": schedulers,
    "schedules": schedulers,
    "average": averages,
}
"""The parts of a config in which lanes may differ, and where what they name is found."""


def part_of(
    configs: Sequence[RunConfig], part: Callable[[RunConfig], Any], known: Registry[Any] = schedulers
) -> Any:
    """Return a part of configs for all lanes; floats that differ are arrays `[B]`. Components are of a known registry.

    Raises ConfigError if anything but floats differs.
    """
    if isinstance(configs, LaneGrid):
        return part(configs.wide)
    return stacked([part(each) for each in configs], known)


def seeds_of(configs: Sequence[RunConfig], of: Callable[[RunConfig], int]) -> list[int]:
    """Return a seed of each lane."""
    return configs.seeds(of) if isinstance(configs, LaneGrid) else list(map(of, configs))


def selected_configs(configs: Sequence[RunConfig], lanes: Sequence[int]) -> Sequence[RunConfig]:
    """Return the configs of some of the lanes."""
    return configs.select(lanes) if isinstance(configs, LaneGrid) else [configs[lane] for lane in lanes]


def usual_numbers(problem: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a problem's options whose floats may differ from lane to lane.

    A config leaves some of them out where it has them, as other lanes may not.
    """
    known = problems.find(problem).options()
    return {name: option.default for name, option in known.items() if option.is_per_lane(options)}


def lane_numbers(configs: Sequence[RunConfig]) -> dict[str, Any]:
    """Return the options of a pack's problem whose floats may differ from lane to lane, stacked.

    Raises ConfigError where others differ.
    """
    first = configs[0].problem
    usual = usual_numbers(first.name, first.options)
    if isinstance(configs, LaneGrid):
        return {name: configs.wide.problem.options.get(name, default) for name, default in usual.items()}
    if all(config.problem is first for config in configs):
        return {name: first.options.get(name, default) for name, default in usual.items()}
    for config in configs:
        own = config.problem
        if own.name != first.name or any(
            first.options.get(key) != value for key, value in own.options.items() if key not in usual
        ):
            raise ConfigError("the runs of a pack differ in problem", field="problem")
    return {
        name: stacked([config.problem.options.get(name, default) for config in configs])
        for name, default in usual.items()
    }


def _seeds(of: Callable[[RunConfig], int], configs: Sequence[RunConfig]) -> Array:
    return np.array([of(each) for each in configs], np.int64)


def _varies(seeds: Array) -> bool:
    return bool((seeds != seeds[0]).any())


def _wide(configs: Sequence[RunConfig]) -> RunConfig:
    """Return the first config, with an array `[n]` for each float in which they differ."""
    first = configs[0]

    def of(part: Callable[[RunConfig], Any], known: Registry[Any] = schedulers) -> Any:
        return stacked([part(each) for each in configs], known)

    def group(i: int) -> Any:
        own = first.optimizer.param_groups[i]
        options = of(lambda each: each.optimizer.param_groups[i].options)
        schedules = of(lambda each: each.optimizer.param_groups[i].schedules)
        return own.model_copy(update={"options": options, "schedules": schedules})

    optimizer = first.optimizer.model_copy(
        update={
            "options": of(attrgetter("optimizer"), optimizers).options,
            "param_groups": [group(i) for i in range(len(first.optimizer.param_groups))],
        }
    )
    others = {part: of(attrgetter(part), known) for part, known in _PARTS.items() if part != "optimizer"}
    return first.model_copy(update={**others, "optimizer": optimizer})
