"""Functions of two numbers as landscapes, and the ways that runs take through them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optrun.arrays import Array, Arrays
from optrun.config import from_mapping
from optrun.config.model.components import Component
from optrun.errors import ConfigError, counted
from optrun.problems.problem import named
from optrun.problems.vectors import VectorProblem, coordinate_names
from optrun.registry import problems
from optrun.training.run_seed import problem_options

OF_RUNS = ("start", "init", "noise")
"""Options of a problem in which runs may differ that go through one landscape."""


@dataclass(frozen=True)
class Trajectory:
    """The way of a run."""

    label: str
    steps: Array
    """The steps `[T]` before whose updates it was at the points; the last may be the end."""
    points: Array
    """Where it was `[T, 2]`."""
    diverged: bool = False


@dataclass(frozen=True)
class Landscape:
    """A function of two numbers."""

    name: str
    axes: tuple[str, str]
    """What the two numbers are called."""
    minima: Array
    """Known minima `[M, 2]`."""
    lowest: float | None
    """The minimum, where it is known."""
    value: Callable[[Array], Array]
    """Returns the values `[N]` at points `[N, 2]`."""


def landscape_of(configs: Sequence[Mapping[str, Any]]) -> Landscape:
    """Return the function that runs minimise; ConfigError unless it is one, and one of two numbers."""
    components = [from_mapping(each).problem for each in configs]
    first = components[0]
    if other := next((each for each in components if _function(each) != _function(first)), None):
        of = (
            f"{first.name} with other options"
            if other.name == first.name
            else f"{first.name} and {other.name}"
        )
        raise ConfigError(
            f"trajectories are drawn over one function, and these runs have two: {of}; --problem chooses one of a sweep"
        )
    problem = problems.find(first.name)(
        Arrays("numpy", "float64"), **problem_options(from_mapping(configs[0]))
    )
    names = coordinate_names(problem.shapes)
    if not isinstance(problem, VectorProblem) or len(names) != 2:
        what = f"{first.name} has {counted(len(names), 'parameter')}"
        raise ConfigError(f"trajectories are drawn over a function of two numbers: {what}")
    minima = [np.concatenate([np.reshape(of, -1) for of in each.values()]) for each in problem.minimizers]
    lowest = problem.minimum

    def value(points: Array) -> Array:
        with np.errstate(all="ignore"):
            return problem.evaluate(named(points, problem.shapes))["loss"]

    return Landscape(
        first.name,
        (names[0], names[1]),
        np.array(minima, np.float64).reshape(-1, 2),
        float(lowest) if lowest is not None and np.ndim(lowest) == 0 else None,
        value,
    )


def _function(problem: Component) -> tuple[str, dict[str, Any]]:
    options = dict(problem.options)
    if problem.name == "expression":  # whose start has the names of its variables
        options["variables"] = list(options["start"])
    return problem.name, {name: value for name, value in options.items() if name not in OF_RUNS}
