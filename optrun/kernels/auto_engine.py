"""The engine that is the fastest at hand: NumPy, and a compiled loop once there has been work enough for one.

The work of a loop is counted in this process, whatever packs it comes from. Both engines give the same bits, so it
changes no result when, or whether, the one takes over from the other.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TypeVar

from optrun.arrays import Array
from optrun.errors import MissingExtraError, OptrunWarning
from optrun.fallbacks import log
from optrun.kernels.lower import Listing
from optrun.kernels.numba.code_cache import is_installed
from optrun.kernels.numba.engine import NumbaEngine
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.kernels.trajectory import Elements, Stretch, Watch

THRESHOLD = 1_000_000_000
"""Steps × instructions × elements of a loop after which it is compiled, or loaded where it is kept on disk.

Measured, SGD and Adam of 2 … 10⁶ elements on an Intel Xeon (Sapphire Rapids): so much work of a loop
saves 0.1 to 0.2 s. To load it takes 0.03 s, to compile it 1 s with Numba's import, once on each machine.
"""
CALL = 4096
"""Elements that NumPy computes in the time that calling it takes."""


Made = TypeVar("Made")


class AutoEngine:
    """Binds listings by the NumPy engine, and by the Numba engine once the threshold is reached."""

    def __init__(self) -> None:
        self._numpy, self._numba = NumpyEngine(), NumbaEngine() if is_installed() and not _failures else None
        if self._numba is None:
            log.debug("NumPy computes: Numba %s", "does not work here" if _failures else "is not installed")

    def bind(
        self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]
    ) -> Callable[[], None]:
        """Return the function that runs the listing once; as for the NumPy engine."""
        in_calls = partial(self._numpy.bind, listing, buffers, coefficients)
        return self.bind_loop(in_calls, listing, buffers, coefficients)

    def bind_loop(
        self,
        in_calls: Callable[[], Callable[[], None]],
        listing: Listing,
        buffers: Mapping[str, Array],
        coefficients: Sequence[Array],
    ) -> Callable[[], None]:
        """Return the function that runs the listing, by NumPy until there has been work enough for a loop."""
        if self._numba is None or not buffers["p"].size:
            return in_calls()
        loop = self._numba.loop(listing, buffers, coefficients)
        if _work[loop] >= THRESHOLD and (compiled := self._compiled(listing, buffers, coefficients)):
            return compiled
        calls = in_calls()
        work = len(listing.instructions) * (buffers["p"].size + CALL)
        current: Callable[[], None]

        def counted() -> None:
            nonlocal current
            if _work[loop] < THRESHOLD:
                _work[loop] += work
                calls()
            else:
                current = self._compiled(listing, buffers, coefficients) or calls
                current()

        current = counted
        return lambda: current()

    def is_worth(self, loop: str, instructions: int, lanes: int, steps: int) -> bool:
        """Whether a loop is to make many steps at once: where there was, and will be, work enough for it."""
        if self._numba is None:
            return False
        work = instructions * (lanes + CALL)
        _work[loop] += work
        is_enough = _work[loop] + steps * work * _alike.get() >= THRESHOLD
        if not is_enough or self._tried(self._numba.proven) is None:
            return False
        _work[loop] += steps * work  # which is not counted step by step
        return True

    def trajectory(self, function: Elements, stretch: Stretch, watch: Watch) -> Callable[[], None]:
        """Return the function that makes the steps of a stretch."""
        assert self._numba is not None
        return self._numba.trajectory(function, stretch, watch)

    def _compiled(
        self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]
    ) -> Callable[[], None] | None:
        if self._numba is None:
            return None
        return self._tried(partial(self._numba.bind, listing, buffers, coefficients))

    def _tried(self, attempt: Callable[[], Made]) -> Made | None:
        """Return what Numba makes; None, and NumPy goes on from then, where it does not work."""
        try:
            return attempt()
        except MissingExtraError as error:
            self._numba = None
            if not _failures:
                warnings.warn(f"{error}; NumPy goes on", OptrunWarning, stacklevel=2)
            _failures.append(error)
            return None


@contextmanager
def first_of(packs: float) -> Iterator[None]:
    """Within the block, have loops expect their work to come so many times in this process."""
    token = _alike.set(packs)
    try:
        yield
    finally:
        _alike.reset(token)


_alike = ContextVar("alike", default=1.0)
_failures: list[MissingExtraError] = []
"""What Numba raised in this process, which does not try again."""
_work: Counter[str] = Counter()
"""Of each loop by its source what is compared with the threshold."""
