"""Threads for one step: as many as there are cores for this process."""

import contextvars
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from multiprocessing import parent_process

from optrun.kernels.denormals import are_flushed, denormals

Piece = Callable[[int], object]
"""A part of a step; its argument is the thread's index, which selects the scratch arrays."""


def cores() -> int:
    """Return the number of cores available to this process."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@cache
def threads_per_step() -> int:
    """Return the number of threads per step: one for each core that `share_cores` leaves to this process.

    In a process that another one has started, and that knows of no share, it is 1.
    """
    if _sharing:
        return max(1, cores() // _sharing[-1])
    return cores() if parent_process() is None else 1


def share_cores(processes: int) -> None:
    """Leave to each of so many processes, this one among them, as many of the cores as to the others."""
    _sharing.append(processes)
    threads_per_step.cache_clear()


def run_in_threads(pieces: Sequence[Piece], threads: int) -> Callable[[], None]:
    """Return the function that runs all pieces in so many threads, one of which is the caller.

    Each thread takes the next piece when it is free, so a slow thread does not delay the others.
    """

    def alone() -> None:
        for piece in pieces:
            piece(0)

    def run() -> None:
        pending = deque(pieces)
        helpers = _helpers()
        futures: list[Future[None]] = []
        flushed = are_flushed()
        try:
            for thread in range(1, min(threads, len(pieces))):
                # The context holds NumPy's error state, which decides whether an overflow warns.
                futures.append(
                    helpers.submit(contextvars.copy_context().run, _assist, pending, thread, flushed)
                )
            _work(pending, 0)
        finally:
            pending.clear()
            _join(futures)

    return run if threads > 1 and len(pieces) > 1 else alone


def _join(futures: Sequence[Future[None]]) -> None:
    """Join all threads, even if interrupted; re-raise the first exception."""
    raised: list[BaseException] = []
    for other in futures:
        while not other.cancel() and not other.done():
            try:
                other.exception()
            except KeyboardInterrupt as error:
                raised.append(error)
        if not other.cancelled() and (error_of := other.exception()) is not None:
            raised.append(error_of)
    if raised:
        raise raised[0]


def _assist(pending: deque[Piece], thread: int, flushed: bool) -> None:
    with denormals(flushed=flushed):
        _work(pending, thread)


def _work(pending: deque[Piece], thread: int) -> None:
    while True:
        try:
            piece = pending.popleft()
        except IndexError:
            return
        piece(thread)


_sharing: list[int] = []
"""Among how many processes the cores are shared, if that has been said; the last counts."""
_pool: list[ThreadPoolExecutor] = []
_lock = threading.Lock()


def _helpers() -> ThreadPoolExecutor:
    with _lock:
        if not _pool:
            _pool.append(ThreadPoolExecutor(max(1, threads_per_step() - 1), "optrun"))
        return _pool[0]


def _reset_after_fork() -> None:
    """Discard the pool after a fork, which copies it without its threads."""
    global _lock
    _lock = threading.Lock()
    _pool.clear()
    threads_per_step.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
