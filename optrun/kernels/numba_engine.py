"""The Numba engine: a listing becomes one compiled loop over lanes and elements, shared by threads where it is long.

Every operation is rounded to the parameters' dtype, none is contracted or reordered, so the bits are those of the
NumPy engine; which of two different NaNs an operation returns is as undefined here as it is there.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from optrun.arrays import Array
from optrun.errors import MissingExtraError
from optrun.kernels.compiled import compiled, is_installed
from optrun.kernels.loop import COLUMN, ROW, arguments, source
from optrun.kernels.lower import Listing
from optrun.kernels.numpy_engine import is_lane_fast
from optrun.kernels.threads import cores, together

SHARED_ABOVE = 1 << 23
"""Bytes of all buffers above which threads share a step: less is done before another thread has woken."""


PIECE_BYTES = 1 << 21
"""Bytes of all buffers in what a thread takes at a time."""


class NumbaEngine:
    """Binds listings to buffers, each as one compiled function; MissingExtraError without Numba."""

    def __init__(self, threads: int | None = None, shared_above: int = SHARED_ABOVE) -> None:
        if not is_installed():
            raise MissingExtraError("the numba engine needs Numba: python -m pip install 'numba>=0.61'")
        self._threads = cores() if threads is None else threads
        self._shared_above = shared_above

    def bind(
        self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]
    ) -> Callable[[], None]:
        """Return the function that runs the listing once; as for the NumPy engine."""
        parameters = buffers["p"]
        if not parameters.size or not listing.instructions:
            return _nothing
        plan = Plan(listing, buffers, coefficients)
        arrays = [*plan.arrays, np.full(1, -1, parameters.dtype)]
        step = compiled(plan.source, [array.dtype.name for array in arrays], 5)
        size = parameters.nbytes * len(listing.variables())
        is_shared = self._threads > 1 and size > self._shared_above
        calls = [
            partial(step, *arrays, rows.start, rows.stop, plan.distance, columns.start, columns.stop)
            for rows, columns in plan.shares(max(2 * self._threads, size // PIECE_BYTES) if is_shared else 1)
        ]
        return together([partial(_call, each) for each in calls], self._threads) if is_shared else calls[0]


def _call(step: Callable[[], None], thread: int) -> None:
    step()


class Plan:
    """A listing's buffers as rows that are contiguous in memory: lanes, or elements where the lanes are."""

    def __init__(self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]) -> None:
        parameters = buffers["p"]
        rows, columns = (1, 0) if is_lane_fast(parameters) else (0, 1)
        self.rows, self.columns = parameters.shape[rows], parameters.shape[columns]
        self.distance = parameters.strides[rows] // parameters.itemsize
        along = COLUMN if is_lane_fast(parameters) else ROW
        names = arguments(listing)
        values = {f"_c{index}": coefficient for index, coefficient in enumerate(coefficients)}
        varying = {name: along for name in names if name in values and values[name].size > 1}
        if not varying and self.distance == self.columns:
            self.rows, self.columns = 1, parameters.size
        length = (self.rows - 1) * self.distance + self.columns
        self.arrays = [
            values[name].reshape(-1) if name in values else _flat(buffers[name], length) for name in names
        ]
        self.source = source(listing, parameters.dtype.name, varying)

    def shares(self, count: int) -> list[tuple[range, range]]:
        """Return the rows and columns of so many nearly equal shares."""
        if self.rows >= 2 * count:
            return [(part, range(self.columns)) for part in _parts(self.rows, count, 1)]
        return [(range(self.rows), part) for part in _parts(self.columns, count, 64)]


def _parts(size: int, count: int, multiple: int) -> list[range]:
    """Return a range in so many parts, which begin at multiples."""
    length = -(-size // (count * multiple)) * multiple
    return [range(start, min(start + length, size)) for start in range(0, size, length)]


def _flat(buffer: Array, length: int) -> Array:
    return np.lib.stride_tricks.as_strided(buffer, (length,), (buffer.itemsize,))


def _nothing() -> None:
    pass
