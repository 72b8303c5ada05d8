"""Threads that share the work of one step: as many as there are cores, one in a process that is itself a share."""

import contextvars
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from multiprocessing import parent_process

Work = Callable[[], None]


@cache
def cores() -> int:
    """Return the number of threads that a step may use: the cores allowed, or 1 in a sweep's worker process."""
    if parent_process() is not None:
        return 1
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return len(allowed)


def together(shares: Sequence[Work]) -> Work:
    """Return the function that does all shares at once, one of them on the thread that calls it."""
    if len(shares) == 1:
        return shares[0]
    own, *others = shares

    def run() -> None:
        helpers = _helpers()
        # NumPy keeps in the context whether an overflow is worth a warning.
        begun = [helpers.submit(contextvars.copy_context().run, share) for share in others]
        try:
            own()
        finally:
            for other in begun:
                other.result()

    return run


_made: list[ThreadPoolExecutor] = []
_lock = threading.Lock()


def _helpers() -> ThreadPoolExecutor:
    with _lock:
        if not _made:
            _made.append(ThreadPoolExecutor(max(1, cores() - 1), "optrun"))
        return _made[0]


def _forget() -> None:
    """A forked process has the pool, but not its threads."""
    global _lock
    _lock = threading.Lock()
    _made.clear()
    cores.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
