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
from optrun.kernels.layout import Rows
from optrun.kernels.lower import Listing

THREADS = 256
MOST_BLOCKS = 1 << 15
"""Per axis of a grid; a thread handles several elements if there are more."""


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
        calls: Callable[[], None],
        listing: Listing,
        buffers: Mapping[str, Array],
        coefficients: Sequence[Array],
    ) -> Callable[[], None]:
        """Return the function that does to these buffers what the calls do; coefficients may be on the host."""
        xp = Arrays("cupy").xp
        return self.bind(listing, buffers, [xp.asarray(value) for value in coefficients])


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

    def load(self, shared: Array, columns: Sequence[Array]) -> None:
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
