"""The CuPy engine: a listing becomes one CUDA kernel, and coefficients a table on the device.

Every operation is rounded to the parameters' dtype, so the bits are those of the NumPy engine, except for the sign and
the payload of a NaN.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from optrun.arrays import Array, Arrays
from optrun.kernels.coefficients import Layout
from optrun.kernels.cuda.launches import Launch, launch
from optrun.kernels.cuda.source import OPTIONS, fetch_source, step_source
from optrun.kernels.cuda.trajectory import trajectory_source
from optrun.kernels.deferred import Deferred
from optrun.kernels.layout import Rows
from optrun.kernels.lower import Listing
from optrun.kernels.trajectory import Elements, Stretch, Watch
from optrun.kernels.trajectory_plan import planned

THREADS = 256
THREADS_OF_LANES = 64
"""Of a block in which each thread makes all steps of a lane: fewer, so that few lanes have many multiprocessors."""
MOST_BLOCKS = 1 << 15
"""Per axis of a grid; a thread handles several elements if there are more."""
MOST_NUMBERS = 1 << 22
"""Of a table of coefficients on the device."""


class CupyEngine:
    """Binds listings to device buffers, each as one kernel."""

    def bind(
        self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]
    ) -> Callable[[], None]:
        """Return the function that launches the listing once; the arguments are those of the NumPy engine."""
        parameters = buffers["p"]
        if not parameters.size or not listing.instructions:
            return _nothing
        rows = Rows.of(listing, parameters, coefficients)
        step = kernel(step_source(listing, parameters.dtype.name, rows), "step")
        given = [buffers[name] if name in buffers else rows.values[name] for name in listing.arguments()]
        sizes = map(np.int64, (rows.rows, rows.columns, rows.distance))
        return partial(launch, partial(step, *_threads(rows.rows, rows.columns), (*given, *sizes)))

    def bind_loop(
        self,
        in_calls: Callable[[], Callable[[], None]],
        listing: Listing,
        buffers: Mapping[str, Array],
        coefficients: Sequence[Array],
    ) -> Callable[[], None]:
        """Return the function that runs the listing; coefficients may be on the host."""
        xp = Arrays("cupy").xp
        return self.bind(listing, buffers, [xp.asarray(value) for value in coefficients])

    def is_worth(self, loop: str, instructions: int, lanes: int, steps: int) -> bool:
        """Whether a loop is to make many steps at once; always."""
        return True

    def trajectory(self, function: Elements, stretch: Stretch, watch: Watch) -> Callable[[], None]:
        """Return the function that makes the steps of a stretch, and fetches what is seen of them."""
        plan, given, integers = planned(function, stretch, watch)
        xp, lanes, rows = Arrays("cupy").xp, integers["lanes"], len(watch.recorded)
        made = {
            "the_losses": xp.empty((rows, lanes), plan.dtype),
            "the_last": xp.empty(lanes, plan.dtype),
            "the_ended": xp.empty(lanes, np.int64),
            "the_running": xp.asarray(watch.running),
        }
        arrays = [made[name] if name in made else xp.asarray(given[name]) for name in plan.arrays]
        blocks = min(-(-lanes // THREADS_OF_LANES), MOST_BLOCKS)
        run = kernel(trajectory_source(plan), "trajectory")

        def trajectory() -> None:
            run((blocks,), (THREADS_OF_LANES,), (*arrays, *map(np.int64, integers.values())))
            for name, array in made.items():
                given[name][: len(array)] = xp.asnumpy(array)

        return trajectory


class DeviceCoefficients:
    """Coefficients in CuPy arrays: the table is transferred once, and a counter on the device selects the row.

    So the launches of a step do not depend on the row, and can be replayed as a graph.
    """

    def __init__(self, layout: Layout, lanes: int, dtype: str) -> None:
        self._xp = Arrays("cupy").xp
        self._dtype = dtype
        conditions = [index for index, kind in enumerate(layout) if kind == "bool"]
        self._numbers = [index for index, kind in enumerate(layout) if kind and kind != "bool"]
        self._conditions, self._lanes, self._shared = conditions, lanes, len(layout)
        self._now = self._xp.zeros(len(layout) + lanes * len(self._numbers), dtype)
        self._now_conditions = self._xp.zeros(lanes * len(conditions), np.uint8)
        places = {
            index: self._now[start : start + lanes].reshape(lanes, 1)
            for index, start in zip(self._numbers, range(len(layout), self._now.size, lanes), strict=True)
        } | {
            index: self._now_conditions[start : start + lanes].view(bool).reshape(lanes, 1)
            for index, start in zip(conditions, range(0, self._now_conditions.size, lanes), strict=True)
        }
        self.arrays: list[Array] = [
            places.get(index, self._now[index : index + 1].reshape(())) for index in range(len(layout))
        ]
        self._next = self._xp.zeros(1, np.int64)
        self._row = 0
        self._rows = 0
        self._fetch: Launch = _nothing
        self._coming: tuple[Array, Sequence[Any]] | None = None
        """Rows of which each is loaded as it is fetched, since some numbers are deferred, or there are too many."""

    def load(self, shared: Array, columns: Sequence[Any]) -> None:
        is_large = len(shared) * self._now.size > MOST_NUMBERS
        if is_large or any(isinstance(column, Deferred) for column in columns):
            self._coming = shared, columns
        else:
            self._coming = None
            self._load(shared, columns)

    def _load(self, shared: Array, columns: Sequence[Array]) -> None:
        steps = len(shared)
        if steps > self._rows:
            self._allocate(steps)
        wide = (steps, self._lanes)
        table = np.hstack([shared, *(np.broadcast_to(columns[index], wide) for index in self._numbers)])
        self._table[:steps].set(np.ascontiguousarray(table, self._dtype))
        if self._conditions:
            flags = np.hstack([np.broadcast_to(columns[index], wide) for index in self._conditions])
            self._flags[:steps].set(flags.astype(np.uint8))
        self._next.fill(0)
        self._row = 0

    def fetch(self, row: int) -> None:
        if self._coming is not None:
            shared, columns = self._coming
            self._load(shared[row : row + 1], [_row_of(column, row) for column in columns])
            row = 0
        if row != self._row:
            self._next.fill(row)
        self._row = row + 1
        launch(self._fetch)

    def set(self, index: int, value: Array) -> None:
        array = self.arrays[index]
        column = np.broadcast_to(value.T, array.shape) if array.ndim else value[0, 0]
        array[...] = self._xp.asarray(column, array.dtype)

    def _allocate(self, rows: int) -> None:
        self._rows = rows
        width, flags = self._now.size, self._now_conditions.size
        self._table = self._xp.empty((rows, width), self._dtype)
        self._flags = self._xp.empty((rows, flags), np.uint8)
        sizes = (np.int64(width), np.int64(flags))
        given = (self._table, self._flags, self._now, self._now_conditions, self._next, *sizes)
        block = (min(1024, max(32, -(-max(width, flags) // 32) * 32)),)
        self._fetch = partial(kernel(fetch_source(self._dtype), "fetch"), (1,), block, given)


def _row_of(column: Any, row: int) -> Array:
    """Return a row of a column `[T or 1, B or 1]`, which may be deferred."""
    if isinstance(column, Deferred):
        return column.row(row)
    found: Array = column[row : row + 1] if len(column) > 1 else column
    return found


def _threads(rows: int, columns: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the grid and the block size, along columns and rows."""
    wide = min(THREADS, max(1, 1 << (columns - 1).bit_length()))
    block = (wide, min(THREADS // wide, max(1, 1 << (rows - 1).bit_length())))
    blocks = (-(-columns // block[0]), -(-rows // block[1]))
    return (min(blocks[0], MOST_BLOCKS), min(blocks[1], MOST_BLOCKS)), block


@cache
def kernel(source: str, name: str) -> Any:
    """Return the compiled kernel of this name; call it with the grid, the block size and the arguments."""
    cuda = Arrays("cupy").xp.cuda
    # Not a RawKernel: CuPy compiles those with -ftz=true, whatever the options say.
    image, _ = cuda.compiler.compile_using_nvrtc(source, OPTIONS)
    module = cuda.Module()
    module.load(image)
    return module.get_function(name)


def _nothing() -> None:
    pass
