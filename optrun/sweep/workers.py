"""Where packs are executed: in this process, in processes of its own, or on an executor that the caller brings."""

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count
from typing import Any, Self

from optrun.config import RunConfig
from optrun.errors import RunFailedError
from optrun.sweep.worker import Desk, Result, Task, begin, execute, execute_anywhere, execute_here, origin
from optrun.training.trainer import Progress

KILL = signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM

Configs = Sequence[RunConfig]
Results = Future[list[Result] | None]

NEEDS_MAIN = "a script needs 'if __name__ == \"__main__\":' around what it does"

STARTS = 3
"""How often in a row a worker may die before it has started, where none ever has."""
MOST_STARTS = 20
"""The same where others have, so that it is bad luck, or a machine without memory."""

GIVE_UP_SECONDS = 2.0
"""How much longer than its time a pack is waited for that should have ended its process."""

AT_ONCE = 256
"""How many packs an executor gets at once whose number of workers is not known."""


@dataclass(frozen=True)
class Running:
    """How far a pack is that a worker runs."""

    step: int
    steps: int
    lanes: int
    alive: int


class Loss(Enum):
    """Why a pack has no results."""

    DIED = auto()
    """Its worker died while it ran."""
    OVERDUE = auto()
    """It had not ended when its time was over."""
    WAITED = auto()
    """It had not begun."""


class Workers(ABC):
    """Takes packs, as many at once as there is ``room`` for, and gives futures of their results."""

    timeout: float | None = None

    @property
    @abstractmethod
    def room(self) -> int:
        """How many packs may be under way."""

    @abstractmethod
    def submit(self, configs: Configs) -> Results:
        """Have a pack executed."""

    def loss(self, future: Results) -> Loss | None:
        """Return why a future that is done has no results; None where it has."""
        return None

    def end_overdue(self) -> list[Results]:
        """End the packs whose time is over; return those that nothing can end, which are waited for no longer."""
        return []

    def running(self) -> list[Running]:
        """Return how far the packs are that are executed, as far as that is known."""
        return []

    @abstractmethod
    def stop(self) -> None:
        """Ask the workers to leave what they do."""

    @abstractmethod
    def close(self) -> None:
        """End the workers, also those that do not stop."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Here(Workers):
    """This process: a pack has been executed when it has been taken."""

    def __init__(self, interrupted: Callable[[], bool], observe: Callable[[Sequence[Running]], None]) -> None:
        self._interrupted = interrupted
        self._observe = observe

    @property
    def room(self) -> int:
        """One."""
        return 1

    def submit(self, configs: Configs) -> Results:
        """Execute a pack."""
        future: Results = Future()
        future.set_result(execute(configs, self._interrupted, self._look))
        return future

    def _look(self, now: Progress, lanes: int) -> None:
        self._observe([Running(now.step, now.steps, lanes, now.alive)])

    def stop(self) -> None:
        """Do nothing: a pack that has been taken has ended."""

    def close(self) -> None:
        """Do nothing."""


class Local(Workers):
    """Processes of this machine, each with a pool of its own, so that it is known which pack a death is due to."""

    def __init__(self, jobs: int, plugins: Sequence[str], timeout: float | None) -> None:
        self.timeout = timeout
        context = multiprocessing.get_context("spawn")
        self._stop: Any = context.RawValue("b", 0)
        any_ready = context.RawValue("b", 0)
        self._slots = [_Slot(context, self._stop, any_ready, plugins) for _ in range(jobs)]
        self._slot_of: dict[Results, _Slot] = {}

    @property
    def room(self) -> int:
        """For each worker a pack that it runs, and one that it goes on with at once."""
        return 2 * len(self._slots)

    def submit(self, configs: Configs) -> Results:
        """Give a pack to the worker that has the fewest."""
        slot = min(self._slots, key=lambda slot: len(slot.taken))
        future = slot.submit(configs)
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
        """End the workers; one that is still at work is killed."""
        self.stop()
        for slot in self._slots:
            slot.close()


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

    def submit(self, configs: Configs) -> Results:
        future: Results
        try:
            if self._pool is None:
                self._start()
            future = self._submitted(configs)
        except BrokenExecutor as error:
            future = Future()
            future.set_exception(error)
        self.taken.append(future)
        return future

    def loss(self, future: Results) -> Loss | None:
        is_first = future is self._first()
        self.taken.remove(future)
        if not _is_broken(future):
            return None
        if future in self._innocent or not is_first:
            self._innocent.discard(future)
            return Loss.WAITED
        self._innocent.update(self.taken)
        if self._pool is not None:
            self._end()
        if not self.desk.ready:
            self._starts += 1
            if self._starts == (MOST_STARTS if self._any_ready.value else STARTS):
                raise RunFailedError(
                    f"no worker process could start: one job needs none, and with more of them {NEEDS_MAIN}"
                )
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
            self._kill()

    def close(self) -> None:
        if self._pool is not None:
            if not all(future.done() for future in self.taken):
                self._kill()
            self._end()

    def _first(self) -> Results | None:
        """Return the pack that was run, or is to be run, when all before it had ended."""
        return next((each for each in self.taken if not each.done() or _is_broken(each)), None)

    def _start(self) -> None:
        ctypes.memset(ctypes.addressof(self.desk), 0, ctypes.sizeof(self.desk))
        self._killed_at = None
        self._pool = ProcessPoolExecutor(1, self._context, begin, self._arguments)

    def _end(self) -> None:
        assert self._pool is not None
        self._pool.shutdown(cancel_futures=True)
        self._pool = None

    def _kill(self) -> None:
        if self.desk.pid:
            with suppress(ProcessLookupError):
                os.kill(self.desk.pid, KILL)

    def _submitted(self, configs: Configs) -> Results:
        assert self._pool is not None
        with no_interrupts():
            return self._pool.submit(execute_here, configs)


class Brought(Workers):
    """An executor of the caller, which is left open.

    A worker process ends itself where a pack takes too long; a thread cannot be ended, and is given up.
    """

    def __init__(
        self, executor: Executor, jobs: int | None, plugins: Sequence[str], timeout: float | None
    ) -> None:
        self.timeout = timeout
        self._executor = executor
        self._jobs = jobs
        self._plugins = tuple(plugins)
        self._numbers = count()
        self._last = -1
        self._function: Callable[[Task], list[Result] | None] = execute_anywhere
        self._running: dict[Results, float | None] = {}
        """When each was first seen to run, as far as the executor tells."""
        self._given_up = 0
        self._is_stopped = False

    @property
    def room(self) -> int:
        """As many as the caller says that there are workers."""
        return self._jobs or AT_ONCE

    def submit(self, configs: Configs) -> Results:
        """Hand a pack over, with all that a worker must know."""
        self._last = next(self._numbers)
        task = Task(self._last, configs, self._plugins, self.timeout, origin())
        try:
            future = self._executor.submit(self._function, task)
        except (BrokenExecutor, RuntimeError) as error:
            raise RunFailedError(f"the executor takes no packs: {error}; the same sweep goes on") from error
        self._running[future] = None
        return future

    def loss(self, future: Results) -> Loss | None:
        """Return why a pack has no results: an executor does not tell whether its worker ended itself."""
        del self._running[future]
        if future.cancelled():
            if self._is_stopped:
                return Loss.WAITED
            raise RunFailedError("the executor cancelled a pack; the same sweep goes on")
        if not _is_broken(future):
            return None
        return Loss.DIED

    def end_overdue(self) -> list[Results]:
        """Return the packs that have run too long, so that no process can have ended itself."""
        if self.timeout is None:
            return []
        now = time.monotonic()
        for future, began in self._running.items():
            if began is None and future.running():
                self._running[future] = now
        until = now - self.timeout - GIVE_UP_SECONDS
        late = [future for future, began in self._running.items() if began is not None and began < until]
        for future in late:
            del self._running[future]
        self._given_up += len(late)
        if self._given_up >= self.room:
            raise RunFailedError(
                f"no worker is left: each is in a pack that had no end after {self.timeout:g} s, and cannot be ended; "
                "processes can"
            )
        return late

    def stop(self) -> None:
        """Cancel what has not begun."""
        self._is_stopped = True
        for future in list(self._running):
            future.cancel()

    def close(self) -> None:
        """Cancel what has not begun, and leave the executor to the caller."""
        self.stop()


def _is_broken(future: Results) -> bool:
    """Return whether the worker of a future that is done has died; MemoryError: it could not send the results."""
    if future.cancelled():
        return False
    error = future.exception()
    # Dask's error is no BrokenExecutor, and a client's executor may come from anyone, so that it goes by its name.
    return isinstance(error, (BrokenExecutor, MemoryError)) or type(error).__name__ == "KilledWorker"


@contextmanager
def no_interrupts() -> Iterator[None]:
    """Have processes that are started within leave Ctrl-C, which the terminal sends to all, to this one."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
