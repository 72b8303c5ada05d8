"""The stepper: runs one program step by step, with coefficients evaluated for many steps in advance."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from optrun.arrays import Array, arrays_of
from optrun.kernels.coefficients import HostCoefficients, Layout, cast
from optrun.kernels.deferred import Deferred, rows_of
from optrun.kernels.evaluate import evaluate, evaluate_scalar_states
from optrun.kernels.fold import Known, read_hyperparameters
from optrun.kernels.halving import halved, levels_of, parts
from optrun.kernels.knowledge import known_at, known_shared, known_throughout, listing_of, live_in
from optrun.kernels.layout import is_lane_fast
from optrun.kernels.lower import Listing
from optrun.kernels.program import Node, Program, depends_on
from optrun.kernels.reductions import TERMS, Late, Stack, Sums, key_of, place_of, stacks_of
from optrun.kernels.tensor_engine import in_turn
from optrun.kernels.trajectory import Stretch

if TYPE_CHECKING:
    from optrun.kernels.cuda.engine import DeviceCoefficients


class Engine(Protocol):
    """Runs listings; there is one engine per kind of array, and faster alternatives."""

    def bind(
        self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]
    ) -> Callable[[], None]:
        """Return the function that runs the listing once on these buffers `[B, n]`."""
        ...


@runtime_checkable
class LoopEngine(Protocol):
    """An engine that runs a listing as one compiled loop, if that is faster than NumPy calls."""

    def bind_loop(
        self,
        in_calls: Callable[[], Callable[[], None]],
        listing: Listing,
        buffers: Mapping[str, Array],
        coefficients: Sequence[Array],
    ) -> Callable[[], None]:
        """Return the function that runs the listing on these buffers `[B, n]`, one of which is named "p".

        ``in_calls`` makes the one that does it by NumPy.
        """
        ...


_Terms = tuple[list[Callable[[], None]], dict[str, list[Stack]]]
"""What computes the terms of sums, and the terms of the tensors by the names of their arrays."""


class Stepper:
    """Runs a program step by step on the slices of a parameter group.

    ``buffer(name)`` returns the flat buffer `[B, P]` of a variable or of `g`; it is called for a state only when the
    state is first needed.
    """

    def __init__(
        self,
        program: Program,
        engine: Engine,
        buffer: Callable[[str], Array],
        slices: Sequence[slice],
    ) -> None:
        self.program = program
        self.live: frozenset[str] = frozenset({"p"})
        self._engine = engine
        self._buffer = buffer
        self._slices = slices
        parameters = buffer("p")
        self._lanes = parameters.shape[0]
        self._dtype = parameters.dtype
        self._is_on_host = isinstance(parameters, np.ndarray)
        self._row = 0
        self._constant: tuple[object, ...] = ()
        self._needed: frozenset[str] = frozenset()
        self._coefficients: dict[Layout, HostCoefficients | DeviceCoefficients] = {}
        self._kernels: dict[tuple[object, ...], Callable[[], None]] = {}
        self._row_kernels: list[Callable[[], None] | None] = []
        self._fetch: Callable[[int], None]
        self._table: Sequence[Any] = ()
        self._shared: Array = np.empty((0, 0))
        self._known: Array = np.empty((0, 0), np.int8)
        self._layout: Layout = ()
        self._scheduled: frozenset[str] = frozenset()
        self._late = Late(program, self._lanes) if program.reduced else None
        self._early = {
            name: value
            for name, value in program.scalar_states.items()
            if self._late is None or name not in self._late.states
        }
        self._scalar_rows: dict[str, Array] = {name: np.zeros((1, 1)) for name in self._early}
        self._scratch: dict[str, Array] = {}
        self._terms: dict[tuple[object, ...], _Terms] = {}

    @property
    def over_run(self) -> frozenset[int]:
        """The keys of what a step adds up, or counts, over the run."""
        return frozenset() if self._late is None else self._late.reductions.over_run

    @property
    def stages(self) -> int:
        """The number of stages in which a step makes reductions, before its update."""
        return 0 if self._late is None else len(self._late.reductions.stages)

    @property
    def is_staged(self) -> bool:
        """Whether a step is made by `begin` … `finish`, since it depends on what is known only within the step."""
        return self._late is not None

    @property
    def scalar_states(self) -> dict[str, Array]:
        """The scalar states, each `[B]`, after the last step."""
        states = {name: rows[self._row] for name, rows in self._scalar_rows.items()}
        if self._late is not None:
            states |= {name: value[0] for name, value in self._late.states.items()}
        return {name: np.broadcast_to(states[name], (self._lanes,)) for name in self.program.scalar_states}

    @scalar_states.setter
    def scalar_states(self, values: Mapping[str, Array]) -> None:
        self._row = 0
        rows = {name: np.array(values[name], np.float64)[None] for name in self.program.scalar_states}
        self._scalar_rows = {name: rows[name] for name in self._early}
        if self._late is not None:
            self._late.states = {name: rows[name] for name in self._late.states}

    def prepare(self, first: int, steps: int, values: Mapping[str, Array], scheduled: frozenset[str]) -> None:
        """Evaluate the coefficients of the steps first … first + steps - 1.

        Hyperparameters are `[steps or 1, B or 1]`, or deferred, as coefficients then are that differ from step to step
        and from lane to lane; ``scheduled`` names those that vary with the step. Raises NotDeferredError, and changes
        nothing, where a deferred number is needed.
        """
        t = np.arange(first, first + steps, dtype=np.float64)[:, None]
        start = {name: rows[self._row] for name, rows in self._scalar_rows.items()}
        scalar_rows = evaluate_scalar_states(self._early, t, values, start)
        befores = {name: rows[:-1] for name, rows in scalar_rows.items()}
        table = self._evaluated(t, {**values, **befores})
        if self._late is not None:
            self._late.prepare(t, {**values, **befores})
        self._row, self._scalar_rows, self._table = 0, scalar_rows, table
        known = np.empty((steps, len(table)), np.int8)
        late = () if self._late is None else self._late.reductions.late
        # What is known of a condition is folded, unless it is late: then an engine reads it, even in one lane.
        layout = tuple(
            ("bool" if node.is_condition else self._dtype.name)
            if column.shape[1] > 1 or (index in late and node.is_condition)
            else ""
            for index, (node, column) in enumerate(zip(self.program.coefficients, table, strict=True))
        )
        shared = [index for index, per_lane in enumerate(layout) if not per_lane]
        shared_rows = np.zeros((steps, len(table)), self._dtype)
        for index in shared:
            shared_rows[:, index] = table[index][:, 0]
        known[:, shared] = known_shared(shared_rows[:, shared])
        for index in set(range(len(table))) - set(shared):
            known[:, index] = known_at(table[index], self._dtype, steps)
        known[:, list(late)] = Known.UNKNOWN
        coefficients = self._coefficients_of(layout)
        coefficients.load(shared_rows, table)
        self._fetch = coefficients.fetch
        first_rows = {
            name: rows.row(0) if isinstance(rows, Deferred) else rows[:1] for name, rows in values.items()
        }
        constant = (
            scheduled,
            *(rows.tobytes() for name, rows in first_rows.items() if name not in scheduled),
        )
        if constant != self._constant:
            self._needed = self.needs(first_rows, scheduled)
            self._constant = constant
        # Once allocated, a state buffer is updated every step.
        self.live |= self._needed
        self._shared, self._known, self._layout, self._scheduled = shared_rows, known, layout, scheduled
        self._row_kernels = [None] * steps

    def run(self, row: int) -> None:
        """Run the step of this row of the prepared table."""
        self._row = row + 1
        self._fetch(row)
        (self._row_kernels[row] or self._kernel_from(row))()

    def begin(self, row: int, counts: Mapping[str | int, int], loss: Array | None = None) -> None:
        """Begin a step with reductions: `reduce` and `learn` follow for each stage, then `finish`.

        ``counts`` are the elements of a lane by what a reduction is over, of those over the run by their keys;
        ``loss`` is that of the batch, `[B]`.
        """
        assert self._late is not None
        self._row = row + 1
        self._fetch(row)
        self._late.begin(row, counts, loss)
        self.learn({})

    def reduce(self, stage: int, tensors: Mapping[str, slice]) -> dict[str, Sums]:
        """Return the sums of a stage over each of these tensors, by what they are to be added over."""
        assert self._late is not None
        program, known = self._late.reductions.stages[stage], self._known[self._row - 1]
        key = (program, self._layout, known.tobytes())
        if key not in self._terms:
            self._terms[key] = self._bind_terms(program, known, tensors)
        kernels, terms = self._terms[key]
        for kernel in kernels:
            kernel()
        found: dict[str, Sums] = {}
        for name in program.outputs:
            reduction = self.program.reduced[place_of(name)]
            sums = found.setdefault(reduction.name, {}).setdefault(key_of(reduction), {})
            for stack in terms[name]:
                sums.update(stack.sums())
        return found

    def learn(self, sums: Mapping[int, Array]) -> None:
        """Set what depends on sums `[B]`, by the keys of their reductions, that are now complete."""
        assert self._late is not None
        coefficients = self._coefficients_of(self._layout)
        for index, value in self._late.learn(sums):
            coefficients.set(index, value)

    def finish(self) -> None:
        """Make the update of a step with reductions."""
        assert self._late is not None
        self._kernel_of(self.program, self._row - 1)()
        self._late.finish()

    def stretch(self, row: int, steps: int) -> Stretch:
        """Return the steps of these rows of the prepared table, which the caller makes."""
        rows = slice(row, row + steps)
        known = known_throughout(self._known[rows], self.program, self._scheduled)
        listing = listing_of(self.program, known.tobytes(), self.live, self._dtype.name)
        table = {name: self._table[int(name[2:])] for name in listing.names("_c")}
        columns = {
            name: column[rows] if len(column) > 1 else column
            for name, column in table.items()
            if not isinstance(column, Deferred) and column.shape[1] > 1
        }
        deferred = {name: column for name, column in table.items() if isinstance(column, Deferred)}
        (part,) = self._slices
        buffers = {name: self._buffer(name)[..., part] for name in {"p", *listing.variables()} - {"g"}}
        self._row = row + steps
        return Stretch(steps, listing, self._shared[rows], columns, rows_of(deferred, rows), buffers)

    def needs(self, values: Mapping[str, Array], scheduled: frozenset[str]) -> frozenset[str]:
        """Return the variables that steps with these hyperparameters, each `[1, B or 1]`, need."""
        return live_in(self.program, frozenset(self._constants(values, scheduled).items()))

    def is_read(self, name: str, values: Mapping[str, Array], scheduled: frozenset[str]) -> bool:
        """Return whether the steps depend on a hyperparameter, given the others as in `needs`."""
        return name in read_hyperparameters(self.program, self._constants(values, scheduled | {name}))

    def _constants(self, values: Mapping[str, Array], scheduled: frozenset[str]) -> dict[Node, Known]:
        """Return what is known of the coefficients that do not change with the step."""
        scalars = {name: np.ones((1, 1)) for name in self.program.scalar_states}
        table = self._evaluated(np.ones((1, 1)), {**values, **scalars})
        return {
            coefficient: Known(int(known_at(column, self._dtype, 1)[0]))
            for coefficient, column in zip(self.program.coefficients, table, strict=True)
            if not depends_on(coefficient, scheduled)
        }

    def _evaluated(self, t: Array, values: Mapping[str, Array]) -> list[Any]:
        """Return the coefficients at the steps t, in the dtype in which array operations read them."""
        memo: dict[Node, Array] = {}
        late = () if self._late is None else self._late.reductions.late
        with np.errstate(all="ignore"):
            columns = [
                np.zeros((1, self._lanes), bool if coefficient.is_condition else np.float64)
                if index in late
                else evaluate(coefficient, t, values, memo)
                for index, coefficient in enumerate(self.program.coefficients)
            ]
            return [self._cast(column) for column in columns]

    def _cast(self, column: Any) -> Any:
        """Return a column in the parameters' dtype; one that stays deferred is cast where it is read."""
        if isinstance(column, Deferred):
            if min(column.shape) > 1:
                return column
            column = column.dense()
        return cast(column, self._dtype)

    def _coefficients_of(self, layout: Layout) -> "HostCoefficients | DeviceCoefficients":
        if layout not in self._coefficients:
            given = layout, self._lanes, self._dtype.name
            if self._is_on_host:
                self._coefficients[layout] = HostCoefficients(*given)
            else:
                from optrun.kernels.cuda.engine import DeviceCoefficients

                self._coefficients[layout] = DeviceCoefficients(*given)
        return self._coefficients[layout]

    def _kernel_from(self, row: int) -> Callable[[], None]:
        """Return the kernel of a row, which the next rows with the same knowledge of the coefficients share."""
        known = self._known[row]
        kernel = self._kernel_of(self.program, row)
        differs = (self._known[row:] != known).any(axis=1)
        count = int(differs.argmax()) or len(differs)
        self._row_kernels[row : row + count] = [kernel] * count
        return kernel

    def _kernel_of(self, program: Program, row: int) -> Callable[[], None]:
        """Return the kernel of the program, or of one of its stages, given what is known of a row."""
        known = self._known[row]
        live = self.live if program is self.program else program.kept
        key = (program, self._layout, known.tobytes(), live)
        if key not in self._kernels:
            listing = listing_of(program, known.tobytes(), live, self._dtype.name)
            coefficients = self._coefficients_of(self._layout).arrays
            arrays = {name: self._array(name) for name in {"p", *listing.variables()}}
            kernels = [
                self._engine.bind(
                    listing, {name: array[..., part] for name, array in arrays.items()}, coefficients
                )
                for part in self._slices
            ]
            self._kernels[key] = kernels[0] if len(kernels) == 1 else in_turn(kernels)
        return self._kernels[key]

    def _array(self, name: str) -> Array:
        """Return a variable's buffer, or the array of what a reduction adds up."""
        if not name.startswith(TERMS):
            return self._buffer(name)
        if name not in self._scratch:
            parameters, shape = self._buffer("p"), self.program.reduced[place_of(name)].args[0].shape
            # In the layout of the parameters, as kernels have it of all buffers.
            order: Literal["C", "F"] = "F" if parameters.ndim == 2 and is_lane_fast(parameters) else "C"
            size = (self._lanes, *shape) if shape else parameters.shape
            self._scratch[name] = arrays_of(parameters).xp.empty(size, self._dtype, order=order)
        return self._scratch[name]

    def _bind_terms(self, program: Program, known: Array, tensors: Mapping[str, slice]) -> _Terms:
        """Return what computes the terms of a stage's sums, and where they are, of large tensors partly added."""
        listing = listing_of(program, known.tobytes(), program.kept, self._dtype.name)
        coefficients, names = self._coefficients_of(self._layout).arrays, frozenset(program.outputs)
        arrays = {name: self._array(name) for name in {"p", *listing.variables()}}
        own = {
            tensor: {name: array[..., part] for name, array in arrays.items()}
            for tensor, part in tensors.items()
        }
        levels = {tensor: levels_of(listing, buffers["p"]) for tensor, buffers in own.items()}
        if not any(levels.values()):
            return [self._kernel_of(program, self._row - 1)], _stacks(own, names)
        kernels = []
        for tensor, buffers in own.items():
            own[tensor] = parts(buffers, names, levels[tensor])
            instructions = halved(listing, names, levels[tensor])
            kernels.append(self._engine.bind(instructions, own[tensor], coefficients))
        return kernels, _stacks(own, names)


def _stacks(of_tensors: Mapping[str, Mapping[str, Array]], names: Iterable[str]) -> dict[str, list[Stack]]:
    return {name: stacks_of({tensor: of[name] for tensor, of in of_tensors.items()}) for name in names}
