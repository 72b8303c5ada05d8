"""Packs in processes of this machine, which may die and may be killed."""

import ctypes
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from optrun.errors import RunFailedError
from optrun.sweeps.workers.base import NEEDS_MAIN, Fate, PackFuture, Running, Workers, is_broken, starting
from optrun.sweeps.workers.task import Work
from optrun.sweeps.workers.worker_process import Desk, Plugin, begin, execute_here

STARTS = 3
"""How often in a row a worker may die before it has begun a pack, where none ever has started."""
MOST_STARTS = 20
"""The same where others have, so that it is bad luck, or a machine without memory."""


class Local(Workers):
    """Processes of this machine, each with a pool of its own, so that it is known which pack a death is due to."""

    def __init__(self, jobs: int, plugins: Sequence[str], timeout: float | None) -> None:
        self.timeout = timeout
        _start_tracker()
        context = get_context("spawn")
        self._stop: Any = context.RawValue("b", 0)
        any_ready = context.RawValue("b", 0)
        versions = [Plugin.of(target) for target in plugins]
        self._slots = [_Slot(context.RawValue(Desk), self._stop, any_ready, versions) for _ in range(jobs)]
        self._slot_of: dict[PackFuture, _Slot] = {}

    @property
    def room(self) -> int:
        """For each worker a pack that it runs, and one that it goes on with at once."""
        return 2 * len(self._slots)

    def submit(self, work: Work) -> PackFuture:
        """Give a pack to the worker that has the fewest."""
        slot = min(self._slots, key=lambda slot: len(slot.taken))
        future = slot.submit(work)
        self._slot_of[future] = slot
        return future

    def fate_of(self, future: PackFuture) -> Fate | None:
        """Blame the first pack of a worker for its death; the one that waited is innocent."""
        return self._slot_of.pop(future).fate_of(future)

    def end_overdue(self) -> list[PackFuture]:
        """Kill the workers whose pack has taken too long."""
        if self.timeout is not None:
            for slot in self._slots:
                slot.end_overdue(self.timeout)
        return []

    def running(self) -> list[Running]:
        """Return what the workers tell."""
        desks = [slot.desk for slot in self._slots if slot.taken]
        # Read once: the worker sets it to 0 when its pack ends.
        return [
            Running(desk.start, desk.step, steps, desk.lanes, desk.alive)
            for desk in desks
            if (steps := desk.steps)
        ]

    def stop(self) -> None:
        """Have every worker leave its pack at the next step."""
        self._stop.value = 1

    def close(self) -> None:
        """Kill the workers: they hold nothing, and to end by themselves takes Python long."""
        self.stop()
        for slot in self._slots:
            slot.kill()
        for slot in self._slots:
            slot.end()


def _start_tracker() -> None:
    """Start the process that cleans up after all others, without its warning after a kill -9: nothing is lost then."""
    if sys.platform == "win32":
        return
    sys.warnoptions.append("ignore:resource_tracker")
    try:
        with starting():
            pass
    finally:
        sys.warnoptions.remove("ignore:resource_tracker")


class _Slot:
    """One worker process, made anew where it died."""

    def __init__(self, desk: Any, stop: Any, any_ready: Any, plugins: Sequence[Plugin]) -> None:
        self._any_ready = any_ready
        self.desk = desk
        self.taken: deque[PackFuture] = deque()
        self._context = _Context()
        self._arguments = (stop, any_ready, self.desk, plugins)
        self._innocent: set[PackFuture] = set()
        """What waited behind a pack that was blamed for the death of the worker."""
        self._pool: ProcessPoolExecutor | None = None
        self._killed_at: float | None = None
        """When the pack began for which the worker was killed."""
        self._starts = 0
        self._ended = 0
        """How many of the packs that the worker has begun are known to have ended."""

    def submit(self, work: Work) -> PackFuture:
        future: PackFuture
        try:
            if self._pool is None:
                self._start()
            future = self._submitted(work)
        except BrokenExecutor as error:
            future = Future()
            future.set_exception(error)
        self.taken.append(future)
        return future

    def fate_of(self, future: PackFuture) -> Fate | None:
        is_first = future is self._first()
        before = self.taken.index(future)
        self.taken.remove(future)
        if not is_broken(future):
            self._starts = 0
            self._ended += future not in self._innocent
            self._innocent.discard(future)
            return None
        if future in self._innocent or not is_first:
            self._innocent.discard(future)
            return Fate.WAITED
        self._innocent.update(self.taken)
        # One that lives, as it may have had no memory but to say so, can have begun the next pack.
        self.end()
        if isinstance(future.exception(), MemoryError):
            self._starts = 0
            return Fate.DIED
        # It may also have died while it sent the results.
        if self.desk.begun <= self._ended + before:
            self._starts += 1
            if self._starts == (MOST_STARTS if self._any_ready.value else STARTS):
                raise RunFailedError(self._why_none_begins())
            return Fate.WAITED
        self._starts = 0
        if self._killed_at is None:
            return Fate.DIED
        # It may have come to the next pack just before it was killed.
        return Fate.OVERDUE if self.desk.began == self._killed_at else Fate.WAITED

    def end_overdue(self, timeout: float) -> None:
        began = self.desk.began
        if self.taken and began and self._killed_at is None and time.monotonic() - began > timeout:
            self._killed_at = began
            self.kill()

    def _why_none_begins(self) -> str:
        if self._any_ready.value:
            return f"{MOST_STARTS} worker processes died before they began a pack; the same sweep goes on"
        return (
            f"no worker process could start: {NEEDS_MAIN}, or jobs=1; and a plugin must not end its process"
        )

    def _first(self) -> PackFuture | None:
        """Return the pack that was run, or is to be run, when all before it had ended."""
        return next((each for each in self.taken if not each.done() or is_broken(each)), None)

    def _start(self) -> None:
        ctypes.memset(ctypes.addressof(self.desk), 0, ctypes.sizeof(self.desk))
        self._killed_at = None
        self._ended = 0
        self._context = _Context()
        self._pool = ProcessPoolExecutor(1, self._context, begin, self._arguments)

    def end(self) -> None:
        self.kill()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def kill(self) -> None:
        self._context.kill()

    def _submitted(self, work: Work) -> PackFuture:
        assert self._pool is not None
        with starting():
            future = self._pool.submit(execute_here, work)
        self._context.leave_results_to_worker()
        return future


class _Context(SpawnContext):
    """Starts the worker of a pool, and can end it at any instant."""

    def __init__(self) -> None:
        self._process: SpawnProcess | None = None
        self._results: _ResultPipe | None = None

    def Process(self, *given: Any, **options: Any) -> SpawnProcess:  # type: ignore[override]
        self._process = SpawnProcess(*given, **options)
        return self._process

    def SimpleQueue(self) -> "_ResultPipe":  # type: ignore[override]
        self._results = _ResultPipe(*self.Pipe(duplex=False))
        return self._results

    def leave_results_to_worker(self) -> None:
        """Close the parent's end of the pipe, once the worker has its own."""
        if self._results is not None:
            self._results.writer.close()

    def kill(self) -> None:
        """Kill the worker where it is there: a process knows, while its number may be that of another by now."""
        if self._process is not None and self._process.pid is not None:
            self._process.kill()


class _ResultPipe:
    """What a pool with one worker has for its results, in place of a queue of which both sides can write to both ends.

    There, the rest of what a worker was sending when it died is waited for without end.
    """

    def __init__(self, reader: Connection, writer: Connection) -> None:
        self._reader = reader
        self.writer = writer

    def put(self, item: Any) -> None:
        self.writer.send(item)

    def close(self) -> None:
        self._reader.close()
        self.writer.close()

    def __getstate__(self) -> Connection:
        return self.writer

    def __setstate__(self, writer: Connection) -> None:
        self.writer = writer
