"""Threads for one step: as many as there are cores for this process."""

import contextvars
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache, partial
from multiprocessing import parent_process
from queue import SimpleQueue

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


def by_any_thread(call: Callable[[], object]) -> Piece:
    """Return a call as a piece of work that is the same in any thread."""
    return lambda thread: call()


def run_in_threads(pieces: Sequence[Piece], threads: int) -> Callable[[], None]:
    """Return the function that runs all pieces in so many threads, one of which is the caller.

    Each thread takes the next piece when it is free, so a slow thread does not delay the others.
    """

    def alone() -> None:
        for piece in pieces:
            piece(0)

    def run() -> None:
        pending = deque(pieces)
        begun: list[int] = []
        ended: list[BaseException | None] = []
        signals: SimpleQueue[None] = SimpleQueue()
        flushed = are_flushed()

        def assist(thread: int) -> None:
            error = None
            with denormals(flushed=flushed):
                begun.append(thread)  # the caller does not wait for a helper that comes when no piece is left
                try:
                    _work(pending, thread)
                except BaseException as raised:
                    error = raised
                ended.append(error)
                signals.put(None)

        helpers = range(1, min(threads, len(pieces)))
        jobs = _jobs_for(len(helpers))
        try:
            for thread in helpers:
                if jobs.qsize() < 2 * len(_helpers):  # else none is free, and jobs would pile up
                    # The context holds NumPy's error state, which decides whether an overflow warns.
                    jobs.put(partial(contextvars.copy_context().run, assist, thread))
            _work(pending, 0)
        finally:
            pending.clear()
            _join(begun, ended, signals)

    return run if threads > 1 and len(pieces) > 1 else alone


def _join(begun: Sequence[int], ended: Sequence[BaseException | None], signals: SimpleQueue[None]) -> None:
    """Wait for all helpers that have begun, even if interrupted; re-raise the first exception."""
    raised: list[BaseException] = []
    while len(ended) < len(begun):  # not by counting signals: an interruption may lose one
        try:
            signals.get()
        except KeyboardInterrupt as error:
            raised.append(error)
    raised += [error for error in ended if error is not None]
    if raised:
        raise raised[0]


def _work(pending: deque[Piece], thread: int) -> None:
    while True:
        try:
            piece = pending.popleft()
        except IndexError:
            return
        piece(thread)


_sharing: list[int] = []
"""Among how many processes the cores are shared, if that has been said; the last counts."""
_jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
"""What the next free helper does; threads of a `ThreadPoolExecutor` take 10 to 20 µs longer for each step."""
_helpers: list[threading.Thread] = []
_lock = threading.Lock()


def _jobs_for(helpers: int) -> SimpleQueue[Callable[[], None]]:
    """Return the queue, which at least so many helpers serve."""
    if len(_helpers) < helpers:
        with _lock:
            for _ in range(len(_helpers), helpers):
                helper = threading.Thread(target=_serve, args=[_jobs], name="optrun", daemon=True)
                helper.start()
                _helpers.append(helper)
    return _jobs


def _serve(jobs: SimpleQueue[Callable[[], None]]) -> None:
    while True:
        jobs.get()()


def _reset_after_fork() -> None:
    """Discard the helpers after a fork, which copies none of the threads."""
    global _lock, _jobs
    _lock, _jobs = threading.Lock(), SimpleQueue()
    _helpers.clear()
    threads_per_step.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
