"""Steps of one parameter group: the hyperparameters of the coming steps become tables of coefficients."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optrun.arrays import Array, Parameters, chunk_length
from optrun.errors import StateError
from optrun.kernels.deferred import FAR, Deferred, Forecast, NotDeferredError
from optrun.kernels.program import depends_on, nodes_below
from optrun.kernels.reductions import Sums, joined, totals
from optrun.kernels.stepper import Engine, Stepper
from optrun.kernels.tensor_engine import TensorEngine
from optrun.kernels.trajectory import Stretch
from optrun.optim.param_group import ParamGroup
from optrun.optim.rule import Rule, flags_of
from optrun.optim.state import StateBuffers, check_numeric


@dataclass(frozen=True)
class _Part:
    """Parameters that are updated together: all of a group, or in a per-tensor rule a single one."""

    members: list[str]
    stepper: Stepper
    size: int
    """The number of their elements, in one lane."""


class GroupUpdate:
    """Steps of one group; caches the coefficients of the coming steps while the hyperparameters are as expected."""

    def __init__(
        self,
        rule: type[Rule],
        group: ParamGroup,
        engine: Engine,
        params: Parameters,
        buffers: StateBuffers,
    ) -> None:
        self.group = group
        self._rule = rule
        self._engine = engine
        self._params = params
        self._buffers = buffers
        self._chunk = 1
        self._is_held = False
        self._end: int | None = None
        self._version = group.version
        self._expected: dict[str, Sequence[Any]] = {}
        self.t = 0
        self._row = self._rows = 0
        self._parts = self._make_parts()

    def __call__(self) -> None:
        self._begin()
        for part in self._parts:
            part.stepper.run(self._row)

    def look_far(self, steps: int) -> None:
        """In the steps to come, defer the coefficients of many where they can be, and make no table of all lanes."""
        self._end, self._rows = self.t + steps, 0

    @property
    def stages(self) -> int:
        """The number of stages in which a step adds up elements, before its update; see `step_together`."""
        return max((part.stepper.stages for part in self._parts), default=0)

    @property
    def is_staged(self) -> bool:
        """Whether a step is made by `begin` … `finish`; see `step_together`."""
        return any(part.stepper.is_staged for part in self._parts)

    @property
    def size(self) -> int:
        """The number of elements of the group, in one lane."""
        return sum(part.size for part in self._parts)

    @property
    def over_run(self) -> frozenset[int]:
        """The keys of what a step adds up, or counts, over the run."""
        return frozenset[int]().union(*(part.stepper.over_run for part in self._parts))

    def begin(self, counts: Mapping[str | int, int], loss: Array | None) -> None:
        """Begin a step with sums: ``counts`` are the elements over the run by key, ``loss`` `[B]` that of the batch."""
        self._begin()
        size = self.size
        for part in self._parts:
            known: dict[str | int, int] = {"tensor": part.size, "group": size, **counts}
            part.stepper.begin(self._row, known, loss)

    def reduce(self, stage: int) -> Sums:
        """Add up what a stage needs; return the sums over tensors that those of other groups are to be added to."""
        found = [part.stepper.reduce(stage, self._tensors(part)) for part in self._parts]
        of_group = totals(joined(sums.get("group", {}) for sums in found))
        for part, sums in zip(self._parts, found, strict=True):
            part.stepper.learn({**of_group, **totals(sums.get("tensor", {}))})
        return joined(sums.get("run", {}) for sums in found)

    def learn(self, sums: Mapping[int, Array]) -> None:
        """Take the sums over all groups."""
        for part in self._parts:
            part.stepper.learn(sums)

    def finish(self) -> None:
        """Make the update of a step with sums."""
        for part in self._parts:
            part.stepper.finish()

    def _tensors(self, part: _Part) -> Mapping[str, slice]:
        slices = self._params.slices
        return {name: slice(None) if self._rule.per_tensor else slices[name] for name in part.members}

    def _size(self, members: Sequence[str]) -> int:
        return sum(math.prod(self._params.shapes[name]) for name in members)

    def stretch(self, most: int) -> Stretch:
        """Return the coming steps, at most so many; they count as made, and the caller makes them."""
        self._begin()
        steps = min(most, self._rows - self._row)
        (part,) = self._parts
        made = part.stepper.stretch(self._row, steps)
        self.t += steps - 1
        self._row += steps - 1
        return made

    def _begin(self) -> None:
        """Begin the next step: prepare its coefficients unless they are."""
        self.t += 1
        self._row += 1
        if self._row >= self._rows or self._version != self.group.version or not self._as_expected():
            self._prepare()

    def state(self, parameter: str) -> dict[str, Any]:
        """Return a parameter's state by name: ``step``, views `[B, *shape]`, and scalar states `[B]`."""
        stepper = self._part(parameter).stepper
        numbers = stepper.scalar_states
        return {"step": self.t} | {
            name: numbers[name] if name in numbers else self._buffers.of(name, parameter)
            for name in self._rule.states()
            if name in numbers or name in stepper.live
        }

    def state_bytes(self, steps: int) -> int:
        """Return the size of the state in bytes, without allocating it."""
        elements = sum(
            math.prod(self._buffers.shape(name, parameter))
            for part in self._parts
            for name in self._needed(part.stepper)
            for parameter in part.members
        )
        return elements * self._params.data.itemsize

    def verify(self, state: Mapping[str, Any]) -> None:
        """Raise StateError unless the entries of a state_dict are a valid state of this group."""
        for part in self._parts:
            self._verify_part(part, state)
        steps = {name: state[name]["step"] for name in self.group["params"] if name in state}
        for name, count in steps.items():
            if len(steps) < len(self.group["params"]) or count != next(iter(steps.values())):
                raise StateError(f"{self._rule.__name__}: the state of {name} differs from that of its group")

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore verified entries of a state_dict."""
        self.t = self._row = self._rows = 0
        self._retrace()
        for part in self._parts:
            entries = [state.get(parameter, {"step": 0}) for parameter in part.members]
            self.t = max([self.t, *(entry["step"] for entry in entries)])
            numbers = part.stepper.program.scalar_states
            for parameter, entry in zip(part.members, entries, strict=True):
                for name in entry.keys() - {"step", *numbers}:
                    self._buffers.of(name, parameter)[:] = self._params.arrays.array(entry[name])
            if entries:
                part.stepper.live = frozenset(entries[0].keys() - {"step", *numbers}) | {"p"}
                part.stepper.scalar_states = {
                    name: entries[0].get(name, np.zeros(self._params.lanes)) for name in numbers
                }

    def _verify_part(self, part: _Part, state: Mapping[str, Any]) -> None:
        own, members = self._rule.__name__, [name for name in part.members if name in state]
        if not members:
            return
        first = state[members[0]]
        names, steps = frozenset(first) - {"step"}, first.get("step")
        if type(steps) is not int or steps < 0:
            raise StateError(f"{own}: step of {members[0]} is {steps!r}, not a count")
        numbers = frozenset(part.stepper.program.scalar_states)
        needed = self._needed(part.stepper) | numbers if steps else frozenset()
        for name in sorted((names - {*self._rule.states()}) | (needed - names)):
            is_missing = "is missing" if name in self._rule.states() else "is unknown"
            raise StateError(f"{own}: the state {name!r} of {members[0]} {is_missing}")
        for parameter in part.members:
            entry = state.get(parameter, {})
            if entry.get("step") != steps or frozenset(entry) != names | {"step"}:
                raise StateError(f"{own}: the state of {parameter} differs from that of {members[0]}")
            for name in names:
                shape = (self._params.lanes,) if name in numbers else self._buffers.shape(name, parameter)
                check_numeric(entry[name], shape, f"{own}: {name} of {parameter}")
            for name in names & numbers:
                if not np.array_equal(entry[name], first[name], equal_nan=True):
                    raise StateError(f"{own}: {name} of {parameter} differs from that of {members[0]}")

    def is_read(self, name: str, open: Collection[str]) -> bool:
        """Return whether a float hyperparameter may have an effect; ``open`` ones may take any value."""
        changing = frozenset({*open, *self.group.schedules})
        values = self._values()
        return any(part.stepper.is_read(name, values, changing) for part in self._parts)

    def _needed(self, stepper: Stepper) -> frozenset[str]:
        """Return the names of the states that the current hyperparameters need."""
        return stepper.needs(self._values(), frozenset(self.group.forecasts)) - {"p"}

    def _values(self) -> dict[str, Array]:
        return {name: _column([self.group[name]]) for name in self._floats()}

    def _as_expected(self) -> bool:
        for name, expected in self._expected.items():
            value = self.group[name]
            if value is not expected[self._row]:
                # The scheduler is stepped at another rate than the optimizer, e.g. once per epoch.
                self._is_held = value is expected[self._row - 1]
                return False
        return True

    def _prepare(self) -> None:
        if self._version != self.group.version:
            self._rule.validate_options(self.group.unscheduled())
            self._retrace()
        self._version = self.group.version
        self._chunk = chunk_length(self._width())
        self._expected = {name: self._forecast(*forecast) for name, forecast in self.group.forecasts.items()}
        self._row = 0
        if self._end is not None and not self._is_held and self._defer(self._end - self.t + 1):
            return
        self._rows = min([self._chunk, *map(len, self._expected.values())])
        values = {
            name: _column(self._expected.get(name, [self.group[name]])[: self._rows])
            for name in self._floats()
        }
        for part in self._parts:
            part.stepper.prepare(self.t, self._rows, values, frozenset(self._expected))

    def _width(self) -> int:
        """Return how many values a row of the tables may have: 1 unless some value changes with lane and step."""
        forecasts = self.group.forecasts
        now = {name: self.group[name] for name in self._floats()}
        now |= {name: values[index] for name, (values, index) in forecasts.items()}
        of_lanes = {name for name, value in now.items() if np.ndim(value)}
        changing = frozenset(forecasts)
        return max(
            (_values_in_row(part, of_lanes, changing, self._params.lanes) for part in self._parts), default=1
        )

    def _defer(self, left: int) -> bool:
        """Prepare many steps, or fewer where powers of many numbers are read; return whether it could be."""
        (part,) = self._parts
        for most in (max(FAR, self._chunk), self._chunk):
            self._rows = min([most, max(1, left), *map(len, self._expected.values())])
            try:
                values = {name: self._deferred(name) for name in self._floats()}
                part.stepper.prepare(self.t, self._rows, values, frozenset(self._expected))
            except NotDeferredError:
                continue
            return True
        return False

    def _deferred(self, name: str) -> Any:
        """Return the values of the coming steps: `[T or 1, 1]`, or deferred where lanes differ."""
        values = self._expected.get(name, [self.group[name]])[: self._rows]
        if isinstance(values, Forecast):
            return values.deferred
        column = _column(values)
        if column.shape[1] > 1:
            if len(column) > 1:
                raise NotDeferredError("a table that has been made")
            return Deferred.of_lanes(column)
        return column

    def _retrace(self) -> None:
        """Trace the rule again if a non-float hyperparameter has changed, which selects another program."""
        if self._flags() != self._traced_flags:
            before, self._parts = self._parts, self._make_parts()
            for new in self._parts:
                old = next((part for part in before if part.members[:1] == new.members[:1]), before[0])
                new.stepper.scalar_states = {**new.stepper.scalar_states, **old.stepper.scalar_states}
                new.stepper.live = old.stepper.live

    def _forecast(self, values: Sequence[Any], index: int) -> Sequence[Any]:
        if self._is_held:
            return [values[index]] * self._chunk
        return values[index : index + max(self._chunk, 0 if self._end is None else FAR)]

    def _floats(self) -> list[str]:
        return [name for name, option in self._rule.options().items() if option.is_float]

    def _flags(self) -> tuple[tuple[str, Any], ...]:
        options = self._rule.options()
        others = {name: self.group[name] for name, option in options.items() if not option.is_float}
        return flags_of(self._rule.__name__, others)

    def _part(self, parameter: str) -> _Part:
        return next(part for part in self._parts if parameter in part.members)

    def _make_parts(self) -> list[_Part]:
        flags = self._traced_flags = self._flags()
        members, buffers = self.group["params"], self._buffers
        if not self._rule.per_tensor:
            whole = self._rule.program(flags)
            parts = (
                [[name] for name in members]
                if any(each.name == "tensor" for each in whole.reduced)
                else [members]
            )
            return [
                _Part(
                    part, Stepper(whole, self._engine, buffers.flat, self._slices_of(part)), self._size(part)
                )
                for part in parts
            ]
        engine, dtype = TensorEngine(self._params.arrays.xp), str(self._params.data.dtype)
        shapes, inputs_first = self._params.shapes, self._params.inputs_first
        programs = {
            name: self._rule.program(flags, shapes[name], dtype, name in inputs_first) for name in members
        }
        return [
            _Part([name], Stepper(program, engine, self._tensors_of(name), [slice(None)]), self._size([name]))
            for name, program in programs.items()
        ]

    def _slices_of(self, members: Sequence[str]) -> list[slice]:
        return _joined([self._params.slices[name] for name in members])

    def _tensors_of(self, parameter: str) -> Callable[[str], Array]:
        return lambda name: self._buffers.tensor(name, parameter)


def _values_in_row(part: _Part, of_lanes: Collection[str], changing: frozenset[str], lanes: int) -> int:
    program = part.stepper.program
    if program.scalar_states:
        return lanes
    for coefficient in program.coefficients:
        read = {node.name for node in nodes_below([coefficient]) if node.op == "hyperparameter"}
        if not read.isdisjoint(of_lanes) and depends_on(coefficient, changing):
            return lanes
    return 1


def _column(values: Sequence[Any]) -> Array:
    """Return the values of T steps, each a float or `[B]`, as `[T, 1]` or `[T, B]`."""
    rows: Array = np.array(values, np.float64).reshape(len(values), -1)
    return rows[:, :1] if (rows == rows[:, :1]).all() else rows


def _joined(slices: Sequence[slice]) -> list[slice]:
    """Return the slices with adjacent ones merged; a group is usually one slice."""
    joined: list[slice] = []
    for part in sorted(slices, key=lambda part: part.start):
        if joined and joined[-1].stop == part.start:
            joined[-1] = slice(joined[-1].start, part.stop)
        else:
            joined.append(part)
    return joined


def step_together(updates: Sequence[GroupUpdate], loss: Array | None) -> None:
    """Make a step of groups of which some add up elements, stage by stage, since some sums are over several of these.

    A sum over the run is over the groups that have it; one whose rule has it in a later stage keeps the others waiting.
    ``loss`` is that of the batch, `[B]`.
    """
    adding = [update for update in updates if update.is_staged]
    groups_of: dict[int, list[GroupUpdate]] = {}
    for update in adding:
        for key in update.over_run:
            groups_of.setdefault(key, []).append(update)
    counts: dict[str | int, int] = {
        key: sum(update.size for update in groups) for key, groups in groups_of.items()
    }
    for update in adding:
        update.begin(counts, loss)
    found: dict[int, list[Sums]] = {}
    done = dict.fromkeys(range(len(adding)), 0)
    waits: dict[int, set[int]] = {id(update): set() for update in adding}
    while any(done[place] < update.stages for place, update in enumerate(adding)):
        for place, update in enumerate(adding):
            if done[place] == update.stages or waits[id(update)]:
                continue
            done[place] += 1
            for key, sums in update.reduce(done[place] - 1).items():
                found.setdefault(key, []).append({key: sums})
                if len(found[key]) < len(groups_of[key]):
                    waits[id(update)].add(key)
                    continue
                for group in groups_of[key]:
                    group.learn(totals(joined(found[key])))
                    waits[id(group)].discard(key)
    for update in updates:
        if update.is_staged:
            update.finish()
        else:
            update()
