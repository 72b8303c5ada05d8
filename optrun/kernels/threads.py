"""Threads that share the work of one step: as many as there are cores, one in a process that is itself a share."""

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

Piece = Callable[[int], None]
"""A part of a step; it is told which of the threads runs it, and so which scratch is its own."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@cache
def threads_of_a_step() -> int:
    """Return the number of threads that a step may use: one for each core, or 1 in a sweep's worker process."""
    return cores() if parent_process() is None else 1


def together(pieces: Sequence[Piece], threads: int) -> Callable[[], None]:
    """Return the function that does all pieces by so many threads, of which the one that calls it is the first.

    Each thread takes the next piece as it has done one: one that the machine keeps waiting holds up no other.
    """

    def alone() -> None:
        for piece in pieces:
            piece(0)

    def run() -> None:
        left = deque(pieces)
        helpers = _helpers()
        begun: list[Future[None]] = []
        flushed = are_flushed()
        try:
            for thread in range(1, min(threads, len(pieces))):
                # NumPy keeps in the context whether an overflow is worth a warning.
                begun.append(helpers.submit(contextvars.copy_context().run, _help, left, thread, flushed))
            _take(left, 0)
        finally:
            left.clear()
            _wait(begun)

    return run if threads > 1 and len(pieces) > 1 else alone


def _wait(begun: Sequence[Future[None]]) -> None:
    """Wait until nobody works any more, though interrupted meanwhile; raise what was raised first."""
    raised: list[BaseException] = []
    for other in begun:
        while not other.cancel() and not other.done():
            try:
                other.exception()
            except KeyboardInterrupt as error:
                raised.append(error)
        if not other.cancelled() and (error_of := other.exception()) is not None:
            raised.append(error_of)
    if raised:
        raise raised[0]


def _help(left: deque[Piece], thread: int, flushed: bool) -> None:
    with denormals(flushed=flushed):
        _take(left, thread)


def _take(left: deque[Piece], thread: int) -> None:
    while True:
        try:
            piece = left.popleft()
        except IndexError:
            return
        piece(thread)


_made: list[ThreadPoolExecutor] = []
_lock = threading.Lock()


def _helpers() -> ThreadPoolExecutor:
    with _lock:
        if not _made:
            _made.append(ThreadPoolExecutor(max(1, threads_of_a_step() - 1), "optrun"))
        return _made[0]


def _forget() -> None:
    """A forked process has the pool, but not its threads."""
    global _lock
    _lock = threading.Lock()
    _made.clear()
    threads_of_a_step.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
