"""Maps: a run for each point of a grid of two numbers, of which a figure and a status are kept in arrays."""

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from optrun.arrays import Array, Arrays
from optrun.config import RunConfig
from optrun.config.identity import canonical, determining
from optrun.config.map import MapConfig
from optrun.config.sweep.variants import Complete, Variants
from optrun.errors import ConfigError, did_you_mean
from optrun.problems.vectors import VectorProblem, coordinate_names
from optrun.registry import problems
from optrun.store.types import STEPS_TO_TARGET
from optrun.sweeps.basins import minima_near, nearest
from optrun.sweeps.map_file import Pixels, read_map, write_map
from optrun.sweeps.map_sink import MINIMUM, OF_MAPS, MapSink
from optrun.sweeps.plan.packs import pack_key, remarks_on
from optrun.sweeps.plan.spaces import Dimension, Setting
from optrun.sweeps.plan.width import FEW_LANES, most_lanes, width_of
from optrun.training.figures import check_expected, figures_of, missing_figure
from optrun.training.grid import Axes, LaneGrid
from optrun.training.identity import Identity
from optrun.training.leaps import leaps_of
from optrun.training.pack import Pack
from optrun.training.run_seed import problem_options
from optrun.training.trainer import Trainer

START, PARAMETERS = "problem.start", "problem.parameters"
MOST_PIXELS, MOST_NUMBERS = 1 << 26, 1 << 27
SAVE_SECONDS = 10.0
"""How often what has been made is written."""


MOST_STEPS_OF_DATA = 1 << 20
"""Steps of all lanes of a pack whose problem has data, so that it takes seconds: an interruption loses one pack."""


def lanes_of_packs(one: Pack) -> int:
    """Return how many lanes packs of a map have, given a pack of one; the cache bounds no steps made many at once."""
    width = width_of(one)
    if leaps_of(one) is not None:
        return max(width, most_lanes(one.steps))
    is_function = isinstance(one.problem, VectorProblem)
    return width if is_function else min(width, max(FEW_LANES, MOST_STEPS_OF_DATA // one.steps))


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
        self.remarks = remarks_on(one, {config.path("x"), config.path("y")})
        """Which settings have no effect."""
        self.width = lanes_of_packs(one)
        first_config, document = along["x"][0]
        self.color = color = config.block.color
        if color not in OF_MAPS and (missing := missing_figure(first_config, color, figures)):
            raise config.refused(f"{missing}{did_you_mean(color, OF_MAPS)}", "color")
        if color not in (*figures, STEPS_TO_TARGET, *OF_MAPS):
            known = ", ".join([*figures, STEPS_TO_TARGET, *OF_MAPS])
            raise config.refused(f"{color!r} is no figure that a run of a map ends with: {known}", "color")
        if color == MINIMUM:
            self._check_function()
        elif "tolerance" in config.block.model_fields_set:
            raise config.refused(f"it has no effect without color: {MINIMUM}", "tolerance")
        self._first = first_config
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
                | ({"tolerance": config.block.tolerance} if color == MINIMUM else {})
            ).encode()
        ).hexdigest()

    def grid(self, runs: Array) -> LaneGrid:
        """Return the configs of runs, counted from left to right and from bottom to top."""
        return LaneGrid(self.axes, runs % len(self.x), runs // len(self.x))

    def label(self, axis: str) -> str:
        """Return what the number along x or y is called: by its own name where it is the start of a function."""
        path, place = self.config.path(axis), self._coordinate(axis)
        if place is not None:
            return coordinate_names(self.problem.shapes)[place]
        return path.removeprefix(f"{PARAMETERS}.")

    def empty(self) -> Pixels:
        """Return the map of which nothing has been made."""
        shape = len(self.y), len(self.x)
        found = Pixels(np.array(self.x), np.array(self.y), np.full(shape, np.nan), np.zeros(shape, np.uint8))
        if self.color == MINIMUM:
            found.ends = np.full((*shape, self._size), np.nan)
        return found

    def name_minima(self, found: Pixels) -> None:
        """Find the minima at which the runs of a whole map ended, and make these the values."""
        assert found.ends is not None
        ends, tolerance = found.ends.reshape(-1, self._size), self.config.block.tolerance
        function = problems.find(self._first.problem.name)(
            Arrays("numpy", "float64"), **problem_options(self._first)
        )
        with np.errstate(all="ignore"):
            minima = minima_near(function, ends, tolerance)
            found.value[...] = nearest(minima, ends, tolerance).reshape(found.value.shape)
        found.minima, found.minima_loss = minima.points, minima.losses
        found.minima_known = np.arange(len(minima.points)) < minima.known
        axes = [self._coordinate(axis) for axis in ("x", "y")]
        if self._size == 2 and None not in axes:
            found.minima_axes = np.array(axes)

    def _coordinate(self, axis: str) -> int | None:
        """Return which of the parameters an axis is the start of; None where it is another number."""
        path = self.config.path(axis)
        if not path.startswith(f"{START}."):
            return None
        name, _, place = path.removeprefix(f"{START}.").partition(".")
        if name.isdigit():
            return int(name)
        names = list(self.problem.shapes)
        before = sum(int(np.prod(self.problem.shapes[each])) for each in names[: names.index(name)])
        return before + int(place or 0)

    @cached_property
    def _size(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.problem.shapes.values())

    def _check_function(self) -> None:
        config = self.config
        if not isinstance(self.problem, VectorProblem):
            said = f"{MINIMUM} is a color for maps of functions, and {config.swept.name}'s problem has data"
            raise config.refused(said, "color")
        for axis in ("x", "y"):
            path = config.path(axis)
            if path.startswith("problem.") and not path.startswith((f"{START}.", "problem.noise")):
                raise config.refused(
                    f"{path} makes other functions, with other minima: color: {MINIMUM} needs one", "color"
                )
        if len(self.x) * len(self.y) * self._size > MOST_NUMBERS:
            raise config.refused(
                f"more than {MOST_NUMBERS:,} parameters of all runs, by which color: {MINIMUM} tells them",
                "color",
            )

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
    path: Path | None,
    *,
    interrupted: Callable[[], bool] = lambda: False,
    observe: Callable[[int, int], None] | None = None,
) -> Pixels:
    """Make the runs of a map that a file does not hold yet, keep them there, and return all; without a file, just that.

    ``observe`` is told how many runs have been made, and of how many. Raises ConfigError for a file of another map,
    and RunFailedError where a run fails.
    """
    found = (path and read_map(path, plan.identity)) or plan.empty()
    left = np.flatnonzero(found.status == 0)
    problem, saved = plan.problem, time.monotonic()

    def save() -> None:
        if path is not None:
            write_map(path, found, plan.config.to_dict(), plan.identity)

    try:
        for begin in range(0, len(left), plan.width):
            runs = left[begin : begin + plan.width]
            pack = Pack(plan.grid(runs), problem=problem)
            kept = MapSink(plan.color, len(runs), list(problem.shapes))
            Trainer(pack, kept, interrupted=interrupted).run()
            if interrupted():
                break
            kept.put_into(found, runs)
            if observe is not None:
                observe(found.made, found.status.size)
            if time.monotonic() - saved > SAVE_SECONDS:
                save()
                saved = time.monotonic()
        if plan.color == MINIMUM and found.is_whole and found.minima is None:
            plan.name_minima(found)
    finally:
        if len(left):
            save()
    return found


def _plain(config: RunConfig) -> RunConfig:
    """Return a config that records and keeps no more than the end."""
    record = config.record.model_copy(update={"every": None, "metrics": ["loss", "lr"], "params": None})
    checkpoint = config.checkpoint.model_copy(update={"every": None})
    return config.model_copy(update={"record": record, "checkpoint": checkpoint, "expect": {}})


def _number(setting: Setting) -> float:
    (node,) = setting.values()
    number: float = node.plain()
    return number
