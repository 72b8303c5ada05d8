"""The Python API of maps."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from optrun.arrays import Array
from optrun.config.map import load_map, map_from_mapping
from optrun.errors import ConfigError, counted, string_list
from optrun.plugins import load_plugins
from optrun.store.states import STATUSES
from optrun.sweeps.map_file import Pixels
from optrun.sweeps.maps import MapPlan, draw_map
from optrun.training.interrupt import interruptible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from optrun.plots.look import LookOptions


@dataclass(frozen=True, eq=False)
class Map:
    """The runs of a map: what varies along x and y, and a figure and a status of each run."""

    config: Mapping[str, Any]
    """The config, with its map."""
    path: Path | None
    """The NPZ file that holds the numbers; None if there is none."""
    _paths: tuple[str, str]
    _labels: tuple[str, str]
    _color: str
    _found: Pixels

    @property
    def x(self) -> Array:
        """The numbers along x `[X]`."""
        return self._found.x

    @property
    def y(self) -> Array:
        """The numbers along y `[Y]`."""
        return self._found.y

    @property
    def values(self) -> Array:
        """The figure of each run `[Y, X]`, NaN where it has none."""
        return self._found.value

    @property
    def statuses(self) -> Array:
        """How each run ended `[Y, X]`, such as ``"completed"``; ``"waiting"`` after an interruption."""
        names: Array = np.array([each.value for each in STATUSES])
        return names[self._found.status]

    @property
    def minima(self) -> Array | None:
        """The minima `[M, P]` whose places here are the values, with ``color: minimum``."""
        return self._found.minima

    def plot(self, *, log: bool | None = None, **look: Unpack["LookOptions"]) -> "Figure":
        """Return a Matplotlib figure in which each pixel is a run.

        ``log`` chooses the scale of colours; ``look`` is that of `Run.plot`. Raises MissingExtraError without
        Matplotlib.
        """
        from optrun.plots.look import Look
        from optrun.plots.map_figure import map_figure

        (x, y), title = self._labels, str(self.config["name"])
        return map_figure(self._found, x=x, y=y, color=self._color, title=title, log=log, look=Look(**look))

    def __repr__(self) -> str:
        return (
            f"Map({counted(self._found.status.size, 'run')}, {self._color} over {' and '.join(self._paths)})"
        )


def map(
    config: Mapping[str, Any] | str | Path,
    *,
    overrides: Sequence[str] = (),
    file: str | Path | None = None,
    plugins: Sequence[str] = (),
    observe: Callable[[int, int], None] | None = None,
) -> Map:
    """Make a run for each point of a grid of two numbers, given as a mapping or a YAML file with a `map` section.

    With ``file``, an NPZ, what it holds is not made again, and what is made is kept there. ``observe`` is told how many
    runs have been made, and of how many. The first Ctrl-C or SIGTERM ends the map with the runs that have been made.

    Raises ConfigError for what is no map, and for a file of another one, and RunFailedError where a run fails.
    """
    load_plugins(plugins)
    string_list("overrides", overrides)
    if not isinstance(config, (Mapping, str, os.PathLike)):
        raise ConfigError(f"a map takes a mapping or the path of a YAML file, not {type(config).__name__}")
    if isinstance(config, Mapping):
        plan = MapPlan(map_from_mapping(config, overrides))
    else:
        plan = MapPlan(load_map(config, overrides))
    path = Path(file) if file is not None else None
    with interruptible() as interruption:
        found = draw_map(plan, path, interrupted=interruption, observe=observe)
    drawn = plan.config
    paths, named = ((of("x"), of("y")) for of in (drawn.path, plan.label))
    return Map(drawn.to_dict(), path, paths, named, plan.color, found)
