"""Maps: a run for each point of a grid of two numbers, of which a figure and a status are kept in arrays."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.config.identity import canonical, determining
from optrun.config.map import MapConfig
from optrun.config.sweep.variants import Complete, Variants
from optrun.errors import ConfigError, RunFailedError
from optrun.store import RunState, Status
from optrun.store.directory import write_output
from optrun.store.types import STEPS_TO_TARGET
from optrun.sweeps.plan.packs import pack_key
from optrun.sweeps.plan.spaces import Dimension, Setting
from optrun.sweeps.plan.width import width_of
from optrun.training.figures import check_expected, figures_of, missing_figure
from optrun.training.grid import Axes, LaneGrid
from optrun.training.identity import Identity
from optrun.training.leaps import leaps_of
from optrun.training.memory_store import NONE
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer

DIVERGED_AT = "diverged_at"
MOST_PIXELS = 1 << 26
SAVE_SECONDS = 10.0
"""How often what has been made is written."""

WIDE_LANES, WIDE_STEPS = 1 << 14, 1 << 27
"""Lanes of packs whose steps are made many at once, and their steps in all: an interruption waits for one pack.

Measured, 512 x 512 starts of Rosenbrock, 1,000 steps of Adam, s of CPU: 0.87 with 4,096 lanes, 0.65 with 16,384.
"""

STATUSES = [*Status]
"""A status in an array is its place here; 0 is that of a run which is still to be made."""


_CODES = {status: code for code, status in enumerate(STATUSES)}


@dataclass
class Map:
    """The values of a map as far as they are known."""

    x: Array
    """The numbers along x `[X]`, from left to right."""
    y: Array
    """Those along y `[Y]`, from bottom to top."""
    value: Array
    """The figure of each run `[Y, X]`; NaN where it has none."""
    status: Array
    """How each run ended `[Y, X]`, as places in STATUSES."""

    @property
    def made(self) -> int:
        """How many runs have been made."""
        return int(np.count_nonzero(self.status))

    def where(self, status: Status) -> Array:
        """Return which runs ended so `[Y, X]`."""
        found: Array = self.status == STATUSES.index(status)
        return found


def lanes_of_packs(one: Pack) -> int:
    """Return how many lanes packs of a map have, given a pack of one; the cache bounds no steps made many at once."""
    width = width_of(one)
    return width if leaps_of(one) is None else max(width, min(WIDE_LANES, WIDE_STEPS // one.steps))


class MapPlan:
    """A map that can be made: its configs along the axes, and what its runs depend on.

    Raises ConfigErrors, at their places, for numbers that cannot be the lanes of a pack, or a figure that is none.
    """

    def __init__(self, config: MapConfig) -> None:
        self.config = config
        sides = {axis: self._settings(axis) for axis in ("x", "y")}
        if len(sides["x"]) * len(sides["y"]) > MOST_PIXELS:
            raise config.refused(f"more than {MOST_PIXELS:,} runs")
        variants, first = Variants(config.swept), {axis: sides[axis][0] for axis in sides}
        along = {
            "x": [variants.complete({**each, **first["y"]}) for each in sides["x"]],
            "y": [variants.complete({**first["x"], **each}) for each in sides["y"]],
        }
        variants.complete({**sides["x"][-1], **sides["y"][-1]})
        for axis, configs in along.items():
            self._check_lanes(axis, configs)
        self.x, self.y = ([_number(each) for each in sides[axis]] for axis in ("x", "y"))
        try:
            self.axes = Axes(*([_plain(of) for of, _ in along[axis]] for axis in ("x", "y")))
            one = Pack(self.grid(np.array([0])))
            figures = figures_of(one)
            check_expected(one.configs[0], figures)
        except ConfigError as error:
            resolved = config.swept.resolved({**sides["x"][0], **sides["y"][0]})
            raise resolved.located(error) from error if error.field else config.refused(str(error))
        self.problem, self.steps = one.problem, one.steps
        self.width = lanes_of_packs(one)
        first_config, document = along["x"][0]
        color = config.block.color
        if color != DIVERGED_AT and (missing := missing_figure(first_config, color, figures)):
            raise config.refused(missing, "color")
        if color not in (*figures, STEPS_TO_TARGET, DIVERGED_AT):
            known = ", ".join([*figures, STEPS_TO_TARGET, DIVERGED_AT])
            raise config.refused(f"{color!r} is no figure that a run of a map ends with: {known}", "color")
        if first_config.stop.time is not None:
            raise config.refused(
                "the runs of a map share their time, so that stop.time cannot end one of them"
            )
        depends = Identity.of(first_config, one.problem.fingerprint)
        self.identity = hashlib.sha256(
            canonical(
                {
                    "config": determining(document),
                    "x": [config.path("x"), self.x],
                    "y": [config.path("y"), self.y],
                }
                | {"color": color, "of": depends.details()}
            ).encode()
        ).hexdigest()

    def grid(self, runs: Array) -> LaneGrid:
        """Return the configs of runs, counted from left to right and from bottom to top."""
        return LaneGrid(self.axes, runs % len(self.x), runs // len(self.x))

    def empty(self) -> Map:
        """Return the map of which nothing has been made."""
        shape = len(self.y), len(self.x)
        return Map(np.array(self.x), np.array(self.y), np.full(shape, np.nan), np.zeros(shape, np.uint8))

    def _settings(self, axis: str) -> Sequence[Setting]:
        config = self.config
        path, along = next(iter((config.block.x if axis == "x" else config.block.y).items()))
        if along.drawn:
            said = "is drawn, and has no order: give linspace, logspace, range or a list"
            raise config.refused(f"{along.kind} {said}", axis, path)
        choices = Dimension(config.swept, (axis, path), [path], along).choices
        for each in choices:
            if not isinstance(each[path].value, (int, float)) or isinstance(each[path].value, bool):
                raise config.refused("an axis of a map has numbers alone", axis, path)
        return choices

    def _check_lanes(self, axis: str, configs: Sequence[Complete]) -> None:
        path = self.config.path(axis)
        keys = {pack_key(configs[place][1]) for place in (0, len(configs) // 2, -1)}
        if len(configs) > 1 and configs[0][1] == configs[-1][1]:
            raise self.config.refused(f"{path} changes no run: x and y set the same number", axis, path)
        if len(keys) > 1:
            said = f"{path} is no number in which the lanes of a pack may differ, as floats and seeds are"
            raise self.config.refused(f"{said}: `optrun sweep` varies anything", axis, path)


def draw_map(
    plan: MapPlan,
    path: Path,
    *,
    interrupted: Callable[[], bool] = lambda: False,
    observe: Callable[[int, int], None] | None = None,
) -> Map:
    """Make the runs of a map that a file does not hold yet, keep them there, and return all.

    ``observe`` is told how many runs have been made, and of how many. Raises ConfigError for a file of another map,
    and RunFailedError where a run fails.
    """
    found = _read(path, plan)
    left = np.flatnonzero(found.status == 0)
    problem, saved = plan.problem, time.monotonic()
    try:
        for begin in range(0, len(left), plan.width):
            runs = left[begin : begin + plan.width]
            pack = Pack(plan.grid(runs), problem=problem)
            kept = _Kept(plan.config.block.color, len(runs))
            Trainer(pack, kept, interrupted=interrupted).run()
            if interrupted():
                break
            found.value.flat[runs], found.status.flat[runs] = kept.value, kept.status
            if observe is not None:
                observe(found.made, found.status.size)
            if time.monotonic() - saved > SAVE_SECONDS:
                _write(path, plan, found)
                saved = time.monotonic()
    finally:
        if len(left):
            _write(path, plan, found)
    return found


class _Kept:
    """A sink that keeps a figure and the status of runs that have ended."""

    resumable = False

    def __init__(self, color: str, lanes: int) -> None:
        self._color = color
        self.value, self.status = np.full(lanes, np.nan), np.zeros(lanes, np.uint8)

    def commit(self, *, states: Mapping[int, RunState] = NONE, **_: Any) -> None:
        for lane, state in states.items():
            if state.status is Status.FAILED:
                raise RunFailedError(state.reason)
            if state.status.final:
                self.status[lane] = STATUSES.index(state.status)
                value = self._value(state)
                self.value[lane] = np.nan if value is None else value

    def end(
        self, runs: Array, statuses: Sequence[Status], steps: Array, figures: Mapping[str, Array]
    ) -> None:
        codes = np.array([_CODES[each] for each in statuses], np.uint8)
        self.status[runs] = codes
        name, wanted = {
            DIVERGED_AT: ("", Status.DIVERGED),
            STEPS_TO_TARGET: ("", Status.TARGET_REACHED),
        }.get(self._color, (self._color, None))
        if wanted is not None:
            values, has_value = steps, codes == _CODES[wanted]
        else:
            values = figures["loss" if name == "final_loss" else name]
            has_value = (codes != _CODES[Status.DIVERGED]) & np.isfinite(values)
        self.value[runs] = np.where(has_value, values, np.nan)

    def _value(self, state: RunState) -> float | None:
        if self._color == DIVERGED_AT:
            return state.steps if state.status is Status.DIVERGED else None
        return state.figure(self._color)


def _plain(config: RunConfig) -> RunConfig:
    """Return a config that records and keeps no more than the end."""
    record = config.record.model_copy(update={"every": 2**62, "metrics": ["loss", "lr"], "params": None})
    checkpoint = config.checkpoint.model_copy(update={"every": None})
    return config.model_copy(update={"record": record, "checkpoint": checkpoint, "expect": {}})


def _number(setting: Setting) -> float:
    (node,) = setting.values()
    number: float = node.plain()
    return number


def _read(path: Path, plan: MapPlan) -> Map:
    if not path.exists():
        return plan.empty()
    try:
        with np.load(path, allow_pickle=False) as held:
            identity = str(held["identity"])
            found = Map(held["x"], held["y"], held["value"], held["status"])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path}: is no map: {error}: name another file with -o") from None
    if identity != plan.identity:
        raise ConfigError(
            f"{path}: holds another map, or its data or code have changed: name another file with -o"
        )
    return found


def _write(path: Path, plan: MapPlan, found: Map) -> None:
    arrays: dict[str, Any] = {"x": found.x, "y": found.y, "value": found.value, "status": found.status}
    texts: dict[str, Any] = {
        "statuses": np.array([each.value for each in STATUSES]),
        "config": np.array(json.dumps(plan.config.to_dict())),
        "identity": np.array(plan.identity),
    }

    def write(stream: BinaryIO) -> None:
        np.savez(stream, **arrays, **texts)

    write_output(path, write)
