"""The plan of a trajectory's loop: what it computes, and what it is given, whatever language its source is in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from optrun.arrays import Array
from optrun.kernels.computation import Computation
from optrun.kernels.deferred import DISTINCT, LANES
from optrun.kernels.lower import Instruction, Listing
from optrun.kernels.trajectory import Elements, Stretch, Watch

WRITTEN = ("losses", "last", "final", "running", "ended")
"""What a loop writes of a watch."""


@dataclass(frozen=True)
class TrajectoryPlan:
    """A loop over steps, but not the numbers that it is given; equal ones have the same source."""

    function: Listing
    rule: Listing
    dim: int
    dtype: str
    columns: tuple[tuple[str, bool], ...]
    """The coefficients that differ from lane to lane, and whether they are conditions."""
    form: Computation
    has_target: bool

    @cached_property
    def variables(self) -> list[str]:
        """The parameters and the states of the rule."""
        return sorted({"p", *self.rule.variables()} - {"g"})

    @cached_property
    def elements(self) -> list[str]:
        """Those of all variables."""
        return [f"{name}_{i}" for name in self.variables for i in range(self.dim)]

    @cached_property
    def instructions(self) -> list[Instruction]:
        """Those of a step: of the parameters `p_0`, `p_1`, … the `_loss`, and then the variables behind the update."""
        rule = (each for i in range(self.dim) for each in _of_element(self.rule, i))
        return [*_of_function(self.function), *rule]

    @cached_property
    def values(self) -> list[str]:
        """The coefficients of the function that all lanes share, by their places in `the_values`."""
        return [name for name in map(_value_of, self.function.names("_c")) if name not in dict(self.columns)]

    @cached_property
    def shared(self) -> list[str]:
        """Those of the rule, by their places in a row of `the_shared`."""
        others = {*dict(self.columns), *(name for name, _, _ in self.form.results)}
        return [name for name in self.rule.names("_c") if name not in others]

    @cached_property
    def arrays(self) -> Mapping[str, str]:
        """The dtypes of the arrays that a loop is given, by name and in order."""
        return {
            **{f"all_{name}": self.dtype for name in self.variables},
            **{f"the_{name}": self.dtype for name in ("values", "shared", "within", "above")},
            **{f"the_{name}": self.dtype for name in ("losses", "last", "final")},
            "the_running": "bool",
            "the_ended": "intp",
            **{f"all_{name}": "bool" if is_condition else self.dtype for name, is_condition in self.columns},
            **{f"all{name}": "float64" for name, _, _ in self.form.leaves},
            **{f"places{name}": "intp" for name, kind, _ in self.form.leaves if kind == DISTINCT},
        }

    @cached_property
    def integers(self) -> list[str]:
        """The integers that a loop is given, in order: the number of lanes, the distances of two of them and of two
        elements, the number of steps, the first recorded one, the distance to the next, and the number of shared
        coefficients; then the distances of two rows of each column and of each table of distinct lanes.
        """
        return [
            *("lanes", "across", "along", "steps", "recorded", "every", "width"),
            *(f"row{name}" for name, _ in self.columns),
            *(f"row{name}" for name, kind, _ in self.form.leaves if kind == DISTINCT),
        ]


def planned(
    function: Elements, stretch: Stretch, watch: Watch
) -> tuple[TrajectoryPlan, dict[str, Array], dict[str, int]]:
    """Return the plan of a loop, and the arrays and integers that it is given by name."""
    parameters, steps = stretch.buffers["p"], stretch.steps
    (lanes, dim), dtype = parameters.shape, parameters.dtype
    columns = {_value_of(name): column for name, column in function.columns.items()} | dict(stretch.columns)
    form, leaves = Computation.of(stretch.deferred)
    kinds = tuple((name, column.dtype == bool) for name, column in columns.items())
    has_target = bool(watch.above[0] > -np.inf)
    plan = TrajectoryPlan(function.listing, stretch.rule, dim, dtype.name, kinds, form, has_target)
    arrays = {
        **{f"all_{name}": stretch.buffers[name] for name in plan.variables},
        "the_values": function.values,
        "the_shared": stretch.shared,
        **{f"the_{name}": getattr(watch, name) for name in ("within", "above", *WRITTEN)},
        **{f"all_{name}": column for name, column in columns.items()},
    }
    across, along = (stride // parameters.itemsize for stride in parameters.strides)
    recorded, width = watch.recorded, stretch.shared.shape[1]
    given = [lanes, across, along, steps, recorded.start, recorded.step, width]
    given += [lanes if len(column) > 1 else 0 for column in columns.values()]
    for name, leaf in leaves.items():
        shape = (1, lanes) if leaf.op == LANES else (steps, leaf.values.shape[1])
        arrays[f"all{name}"] = np.ascontiguousarray(np.broadcast_to(leaf.values, shape), np.float64)
        if leaf.index is not None:
            arrays[f"places{name}"] = leaf.index
            given.append(leaf.values.shape[1])
    return plan, arrays, dict(zip(plan.integers, given, strict=True))


def _value_of(name: str) -> str:
    """Return the name of a function's coefficient, of which the rule has its own."""
    return f"_f{name[2:]}" if name.startswith("_c") else name


def _of_function(listing: Listing) -> list[Instruction]:
    def renamed(name: str) -> str:
        if name.startswith("_"):
            return _value_of(name)
        return "_loss" if name == "loss0" else f"p_{name[1:]}" if name[0] == "x" else f"_{name}"

    return [_renamed(each, renamed) for each in listing.instructions]


def _of_element(rule: Listing, i: int) -> list[Instruction]:
    def renamed(name: str) -> str:
        return name if name.startswith("_") else f"_grad{i}" if name == "g" else f"{name}_{i}"

    return [_renamed(each, renamed) for each in rule.instructions]


def _renamed(instruction: Instruction, renamed: Callable[[str], str]) -> Instruction:
    target, *operands = map(renamed, (instruction.target, *instruction.operands))
    return Instruction(instruction.op, target, tuple(operands))
