"""Packs in processes of this machine, which may die and may be killed."""

import ctypes
import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import suppress
from multiprocessing.resource_tracker import ensure_running
from typing import Any

from optrun.errors import RunFailedError
from optrun.sweep.worker import Desk, Work, begin, execute_here
from optrun.sweep.workers import (
    KILL,
    NEEDS_MAIN,
    Loss,
    Results,
    Running,
    Workers,
    is_broken,
    no_interrupts,
)

STARTS = 3
"""How often in a row a worker may die before it has begun a pack, where none ever has started."""
MOST_STARTS = 20
"""The same where others have, so that it is bad luck, or a machine without memory."""


class Local(Workers):
    """Processes of this machine, each with a pool of its own, so that it is known which pack a death is due to."""

    def __init__(self, jobs: int, plugins: Sequence[str], timeout: float | None) -> None:
        self.timeout = timeout
        _start_tracker()
        context = multiprocessing.get_context("spawn")
        self._stop: Any = context.RawValue("b", 0)
        any_ready = context.RawValue("b", 0)
        self._slots = [_Slot(context, self._stop, any_ready, plugins) for _ in range(jobs)]
        self._slot_of: dict[Results, _Slot] = {}

    @property
    def room(self) -> int:
        """For each worker a pack that it runs, and one that it goes on with at once."""
        return 2 * len(self._slots)

    def submit(self, work: Work) -> Results:
        """Give a pack to the worker that has the fewest."""
        slot = min(self._slots, key=lambda slot: len(slot.taken))
        future = slot.submit(work)
        self._slot_of[future] = slot
        return future

    def loss(self, future: Results) -> Loss | None:
        """Blame the first pack of a worker for its death; the one that waited is innocent."""
        return self._slot_of.pop(future).loss(future)

    def end_overdue(self) -> list[Results]:
        """Kill the workers whose pack has taken too long."""
        if self.timeout is not None:
            for slot in self._slots:
                slot.end_overdue(self.timeout)
        return []

    def running(self) -> list[Running]:
        """Return what the workers tell."""
        desks = [slot.desk for slot in self._slots if slot.taken]
        return [Running(desk.step, desk.steps, desk.lanes, desk.alive) for desk in desks if desk.steps]

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
        ensure_running()
    finally:
        sys.warnoptions.remove("ignore:resource_tracker")


class _Slot:
    """One worker process, made anew where it died."""

    def __init__(self, context: Any, stop: Any, any_ready: Any, plugins: Sequence[str]) -> None:
        self._any_ready = any_ready
        self.desk: Any = context.RawValue(Desk)
        self.taken: deque[Results] = deque()
        self._context = context
        self._arguments = (stop, any_ready, self.desk, plugins)
        self._innocent: set[Results] = set()
        """What waited behind a pack that was blamed for the death of the worker."""
        self._pool: ProcessPoolExecutor | None = None
        self._killed_at: float | None = None
        """When the pack began for which the worker was killed."""
        self._starts = 0
        self._ended = 0
        """How many of the packs that the worker has begun are known to have ended."""

    def submit(self, work: Work) -> Results:
        future: Results
        try:
            if self._pool is None:
                self._start()
            future = self._submitted(work)
        except BrokenExecutor as error:
            future = Future()
            future.set_exception(error)
        self.taken.append(future)
        return future

    def loss(self, future: Results) -> Loss | None:
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
            return Loss.WAITED
        self._innocent.update(self.taken)
        self.end()
        # It may also have died while it sent the results.
        if self.desk.begun <= self._ended + before:
            self._starts += 1
            if self._starts == (MOST_STARTS if self._any_ready.value else STARTS):
                raise RunFailedError(self._why_none_begins())
            return Loss.WAITED
        self._starts = 0
        if self._killed_at is None:
            return Loss.DIED
        # It may have come to the next pack just before it was killed.
        return Loss.OVERDUE if self.desk.began == self._killed_at else Loss.WAITED

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

    def _first(self) -> Results | None:
        """Return the pack that was run, or is to be run, when all before it had ended."""
        return next((each for each in self.taken if not each.done() or is_broken(each)), None)

    def _start(self) -> None:
        ctypes.memset(ctypes.addressof(self.desk), 0, ctypes.sizeof(self.desk))
        self._killed_at = None
        self._ended = 0
        self._pool = ProcessPoolExecutor(1, self._context, begin, self._arguments)

    def end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def kill(self) -> None:
        if self._pool is not None and self.desk.pid:
            with suppress(ProcessLookupError):
                os.kill(self.desk.pid, KILL)

    def _submitted(self, work: Work) -> Results:
        assert self._pool is not None
        with no_interrupts():
            return self._pool.submit(execute_here, work)
