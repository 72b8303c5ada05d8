"""The engine that is the fastest at hand: NumPy, until a compiled loop would have paid for itself.

It counts the time that the loop would have saved so far. Once that is as long as loading the loop takes, where it is
kept on disk, that is done: so a run takes at most twice as long as with the better choice, however long it turns out to
be. Of what compiling takes, a third is enough, for later processes only load. Both engines give the same bits, so it
changes no result when, or whether, that happens.
"""

import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from time import perf_counter

from optrun.arrays import Array
from optrun.errors import MissingExtraError, OptrunWarning
from optrun.fallbacks import log
from optrun.kernels.capture import Captured
from optrun.kernels.lower import Listing
from optrun.kernels.numba.code_cache import Loop, is_installed, is_kept, is_loaded
from optrun.kernels.numba.engine import NumbaEngine
from optrun.kernels.numpy_engine import NumpyEngine

USES = 3
"""How many processes are taken to share what it costs to compile a loop."""
IMPORT_SECONDS = {"numba": 0.45 / USES, "llvmlite.binding": 0.06}
"""Of what compiles, and of what loads machine code: all loops pay for it together."""
LINE_SECONDS, LOAD_SECONDS = 0.005 / USES, 0.001
"""Of each line of a loop that is compiled, and of one loop that is kept on disk."""
SAVED = 0.6
"""Of NumPy's time by a loop: measured, 0.2 of it with 10⁷ parameters and SGD … 0.8 with 10⁵ and Adam."""
TIMED = 5
"""Steps whose time is taken, of which the shortest counts."""


class AutoEngine:
    """Binds listings by the NumPy engine first, and by the Numba engine once that pays."""

    def __init__(self, price: float | None = None) -> None:
        self._numpy, self._numba = NumpyEngine(), NumbaEngine() if is_installed() and not _failures else None
        self._price = price
        if self._numba is None:
            log.debug("NumPy computes: Numba %s", "does not work here" if _failures else "is not installed")

    def bind(
        self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]
    ) -> Callable[[], None]:
        """Return the function that runs the listing once; as for the NumPy engine."""
        in_calls = partial(self._numpy.bind, listing, buffers, coefficients)
        return self._in_time(in_calls, listing, buffers, coefficients)

    def bind_captured(
        self, calls: Callable[[], None], captured: Captured, buffers: Mapping[str, Array]
    ) -> Callable[[], None]:
        """Return the function that does to these buffers what the calls do."""
        return self._in_time(lambda: calls, captured.listing, buffers, captured.coefficients)

    def _in_time(
        self,
        in_calls: Callable[[], Callable[[], None]],
        listing: Listing,
        buffers: Mapping[str, Array],
        coefficients: Sequence[Array],
    ) -> Callable[[], None]:
        """Return the function that runs calls of NumPy, and the loop once that pays."""
        if self._numba is None or not buffers["p"].size:
            return in_calls()
        loop = self._numba.loop(listing, buffers, coefficients)
        if is_loaded(loop):
            return self._numba.bind(listing, buffers, coefficients)
        run = in_calls()
        price, module = _price(loop) if self._price is None else (self._price, "")
        shortest, timed = inf, 0
        current: Callable[[], None]

        def counted() -> None:
            nonlocal current, shortest, timed
            if _saved[loop] > price and _is_paid(module, price):
                current = self._compiled(listing, buffers, coefficients) or run
                current()
                return
            if timed < TIMED:
                began = perf_counter()
                run()
                shortest, timed = min(shortest, perf_counter() - began), timed + 1
            else:
                run()
            _saved[loop] += SAVED * shortest

        current = counted
        return lambda: current()

    def _compiled(
        self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]
    ) -> Callable[[], None] | None:
        if self._numba is None:
            return None
        try:
            return self._numba.bind(listing, buffers, coefficients)
        except MissingExtraError as error:
            self._numba = None
            if not _failures:
                warnings.warn(f"{error}; NumPy goes on", OptrunWarning, stacklevel=2)
            _failures.append(error)
            return None


_failures: list[MissingExtraError] = []
"""What Numba raised in this process, which does not try again."""
_saved: dict[Loop, float] = defaultdict(float)
"""The seconds that each loop would have saved this process: the packs of a sweep add to one account."""


def _price(loop: Loop) -> tuple[float, str]:
    """Return the seconds until a loop is there, and the module that has to be imported for it."""
    if is_kept(loop):
        return LOAD_SECONDS, "llvmlite.binding"
    return LINE_SECONDS * loop.source.count("\n"), "numba"


def _is_paid(module: str, price: float) -> bool:
    """Return whether a module is there, or all loops together would have saved its import beside this price."""
    return module in sys.modules or sum(_saved.values()) > price + IMPORT_SECONDS.get(module, 0.0)
