"""The Numba engine: a listing becomes one compiled loop over lanes and elements, shared by threads where it is long.

Every operation is rounded to the parameters' dtype, none is contracted or reordered, so the bits are those of the
NumPy engine; which of two different NaNs an operation returns is as undefined here as it is there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Self

import numpy as np

from optrun.arrays import Array
from optrun.errors import MissingExtraError, install
from optrun.kernels.layout import Rows
from optrun.kernels.lower import Listing
from optrun.kernels.numba.code_cache import bound, compiled, is_installed
from optrun.kernels.numba.source import BLOCK, source
from optrun.kernels.numba.trajectory import trajectory_source
from optrun.kernels.threads import by_any_thread, run_in_threads, threads_per_step
from optrun.kernels.trajectory import Elements, Stretch, Watch
from optrun.kernels.trajectory_plan import planned

PROBE = 'signature = "void()"\ndef step():\n    pass\n'
"""What compiles wherever Numba works."""
SHARED_ABOVE = 1 << 22
"""Bytes of all buffers above which threads share a step: less is done before another thread has woken."""

SHARED_STEPS = 100_000
"""Lanes × steps of a trajectory from which on threads share it; it takes 1 to 3 ns for each of them."""

PIECE_BYTES = 1 << 20
"""Bytes of all buffers in what a thread takes at a time, so that none waits long for the last one.

Measured, SGD and Adam with 10⁶ parameters on two threads: 107 and 184 µs; 142 and 208 with 256 KiB, 189 and 326 with
8 MiB.
"""


@contextmanager
def working() -> Iterator[None]:
    """Raise MissingExtraError where Numba raises anything within the block."""
    try:
        yield
    except Exception as error:
        raise MissingExtraError(f"Numba does not work here: {type(error).__name__}: {error}") from error


class NumbaEngine:
    """Binds listings to buffers, each as one compiled function.

    MissingExtraError without Numba, or with one that compiles nothing here.
    """

    def __init__(
        self,
        threads: int | None = None,
        shared_above: int = SHARED_ABOVE,
        piece_bytes: int = PIECE_BYTES,
        shared_steps: int = SHARED_STEPS,
    ) -> None:
        if not is_installed():
            raise MissingExtraError(f"the numba engine needs Numba: {install('numba>=0.61')}")
        self._threads = threads_per_step() if threads is None else threads
        self._shared_above = shared_above
        self._piece_bytes = piece_bytes
        self._shared_steps = shared_steps

    def proven(self) -> Self:
        """Return this engine, or raise MissingExtraError before anything runs where Numba is there but broken."""
        with working():
            compiled(PROBE)
        return self

    def loop(self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]) -> str:
        """Return the source of the loop that a listing becomes on these buffers."""
        return source(listing, buffers["p"].dtype.name, Rows.of(listing, buffers["p"], coefficients))

    def bind(
        self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]
    ) -> Callable[[], None]:
        """Return the function that runs the listing once; as for the NumPy engine."""
        parameters = buffers["p"]
        if not parameters.size or not listing.instructions:
            return _nothing
        rows = Rows.of(listing, parameters, coefficients)
        arrays = _arrays(listing, buffers, rows)
        conditions = [arrays.pop(name) for name in rows.conditions()]
        text = source(listing, parameters.dtype.name, rows)
        size = parameters.nbytes * len(listing.variables())
        is_shared = self._threads > 1 and size > self._shared_above
        count = max(2 * self._threads, size // self._piece_bytes) if is_shared else 1
        minus = np.full(1, -1, parameters.dtype)
        pieces = []
        for some, columns in _shares(rows, count):
            numbers = [*arrays.values(), minus, np.empty(BLOCK * len(listing.variables()), parameters.dtype)]
            integers = np.array([some.start, some.stop, rows.distance, columns.start, columns.stop], np.intp)
            with working():
                pieces.append(bound(text, numbers, conditions, integers))
        if len(pieces) == 1:
            return pieces[0]
        return run_in_threads([by_any_thread(piece) for piece in pieces], self._threads)

    def bind_loop(
        self,
        in_calls: Callable[[], Callable[[], None]],
        listing: Listing,
        buffers: Mapping[str, Array],
        coefficients: Sequence[Array],
    ) -> Callable[[], None]:
        """Return the function that runs the listing."""
        return self.bind(listing, buffers, coefficients)

    def is_worth(self, loop: str, instructions: int, lanes: int, steps: int) -> bool:
        """Whether a loop is to make many steps at once; always."""
        return True

    def trajectory(self, function: Elements, stretch: Stretch, watch: Watch) -> Callable[[], None]:
        """Return the function that makes the steps of a stretch."""
        plan, arrays, given = planned(function, stretch, watch)
        text = trajectory_source(plan)
        numbers = [arrays[name] for name, kind in plan.arrays.items() if kind != "bool"]
        numbers.append(np.full(1, -1, plan.dtype))
        conditions = [arrays[name] for name, kind in plan.arrays.items() if kind == "bool"]
        lanes, common = given["lanes"], [*given.values()]
        is_shared = self._threads > 1 and lanes * stretch.steps >= self._shared_steps
        shares = _parts(lanes, 2 * self._threads if is_shared else 1, BLOCK)
        integers = [np.array([share.start, share.stop, *common], np.intp) for share in shares]
        with working():
            pieces = [by_any_thread(bound(text, numbers, conditions, each)) for each in integers]
        return run_in_threads(pieces, self._threads)


def _arrays(listing: Listing, buffers: Mapping[str, Array], rows: Rows) -> dict[str, Array]:
    """Return the buffers and coefficients that a loop is given, all of them flat."""
    length = (rows.rows - 1) * rows.distance + rows.columns
    return {
        name: rows.values[name].reshape(-1) if name in rows.values else _flat(buffers[name], length)
        for name in listing.arguments()
    }


def _shares(rows: Rows, count: int) -> list[tuple[range, range]]:
    """Return the rows and columns of so many nearly equal shares."""
    if rows.rows >= 2 * count:
        return [(part, range(rows.columns)) for part in _parts(rows.rows, count, 1)]
    return [(range(rows.rows), part) for part in _parts(rows.columns, count, 64)]


def _parts(size: int, count: int, multiple: int) -> list[range]:
    """Return a range in so many parts, which begin at multiples."""
    length = -(-size // (count * multiple)) * multiple
    return [range(start, min(start + length, size)) for start in range(0, size, length)]


def _flat(buffer: Array, length: int) -> Array:
    return np.lib.stride_tricks.as_strided(buffer, (length,), (buffer.itemsize,))


def _nothing() -> None:
    pass
