"""The engine that is the fastest at hand: NumPy, until compiling would have paid for itself.

It counts the time that a compiled loop would have saved so far. Once that is as long as making the loop takes,
the loop is made: so a run takes at most twice as long as with the better choice, however long it turns out to be.
Both engines give the same bits, so it changes no result when, or whether, that happens.
"""

import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from optrun.arrays import Array
from optrun.kernels.capture import Captured
from optrun.kernels.compiled import is_installed, is_kept, is_loaded
from optrun.kernels.loop import source
from optrun.kernels.lower import Listing
from optrun.kernels.numba_engine import NumbaEngine
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.kernels.rows import Rows

IMPORT_SECONDS, LINE_SECONDS, LOAD_SECONDS = 0.4, 0.006, 0.02
"""Of Numba, of each line of a loop, and of a loop that is kept on disk."""
CALL_SECONDS, BYTE_SECONDS = 3e-7, 3e-11
"""What one instruction costs in NumPy and not in a loop, and what it costs more for each byte of a buffer."""


class AutoEngine:
    """Binds listings by the NumPy engine first, and by the Numba engine once that pays."""

    def __init__(self, price: float | None = None) -> None:
        self._numpy, self._numba = NumpyEngine(), NumbaEngine() if is_installed() else None
        self._price = price

    def bind(
        self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]
    ) -> Callable[[], None]:
        """Return the function that runs the listing once; as for the NumPy engine."""
        return self._in_time(
            lambda: self._numpy.bind(listing, buffers, coefficients),
            len(listing.instructions),
            listing,
            buffers,
            coefficients,
        )

    def instead_of(
        self, calls: Callable[[], None], captured: Captured, buffers: Mapping[str, Array]
    ) -> Callable[[], None]:
        """Return the function that does to these buffers what the calls do."""
        return self._in_time(lambda: calls, captured.calls, captured.listing, buffers, captured.coefficients)

    def _in_time(
        self,
        in_calls: Callable[[], Callable[[], None]],
        calls: int,
        listing: Listing,
        buffers: Mapping[str, Array],
        coefficients: Sequence[Array],
    ) -> Callable[[], None]:
        """Return the function that runs so many calls of NumPy, and the loop once that pays."""
        if self._numba is None or not buffers["p"].size:
            return in_calls()
        rows = Rows.of(listing, buffers["p"], coefficients)
        loop = source(listing, buffers["p"].dtype.name, rows)
        if is_loaded(loop):
            return self._numba.bind(listing, buffers, coefficients)
        run = in_calls()
        saving = calls * CALL_SECONDS + len(listing.instructions) * BYTE_SECONDS * buffers["p"].nbytes
        price = _price(loop) if self._price is None else self._price
        is_decided = False

        def step() -> None:
            nonlocal run, is_decided
            if not is_decided:
                _saved[loop] += saving
                if _saved[loop] > price:
                    is_decided = True
                    run = self._compiled(listing, buffers, coefficients) or run
            run()

        return step

    def _compiled(
        self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]
    ) -> Callable[[], None] | None:
        if self._numba is None:
            return None
        try:
            return self._numba.bind(listing, buffers, coefficients)
        except Exception as error:
            self._numba = None
            warnings.warn(f"Numba does not work here, NumPy goes on: {error}", RuntimeWarning, stacklevel=2)
            return None


_saved: dict[str, float] = defaultdict(float)
"""By source the seconds that its loop would have saved this process: the packs of a sweep add to one account."""


def _price(loop: str) -> float:
    made = LOAD_SECONDS if is_kept(loop) else LINE_SECONDS * loop.count("\n")
    return made if "numba" in sys.modules else made + IMPORT_SECONDS
