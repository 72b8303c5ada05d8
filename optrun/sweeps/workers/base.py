"""Where packs are executed: what all kinds of workers have in common, this process, and executors of the caller."""

import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count
from multiprocessing.resource_tracker import ensure_running
from typing import Self
from uuid import uuid4

from optrun.errors import RunFailedError
from optrun.sweeps.workers.task import Result, Work, forget
from optrun.sweeps.workers.worker_process import (
    ISOLATED,
    Plugin,
    Task,
    execute_anywhere,
    machine,
    origin,
    stop,
)
from optrun.training.interrupt import SIGNALS
from optrun.training.trainer import Progress

KILL = signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM

PackFuture = Future[list[Result]]

NEEDS_MAIN = "a script needs 'if __name__ == \"__main__\":' around what it does"

GIVE_UP_SECONDS = 2.0
"""How much longer than its time a pack is waited for that should have ended its process."""

AT_ONCE = 256
"""How many packs an executor gets at once whose number of workers is not known."""

NO_WORKERS = (
    "no worker is left: each is in a pack that had no end after {:g} s, and cannot be ended; processes can"
)


@dataclass(frozen=True)
class Running:
    """How far a pack is that a worker runs."""

    start: int
    """The step at which it went on."""
    step: int
    steps: int
    lanes: int
    alive: int


class Fate(Enum):
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
    def submit(self, work: Work) -> PackFuture:
        """Have a pack executed."""

    def fate_of(self, future: PackFuture) -> Fate | None:
        """Return why a future that is done has no results; None where it has."""
        return None

    def end_overdue(self) -> list[PackFuture]:
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

    def submit(self, work: Work) -> PackFuture:
        """Execute a pack."""
        future: PackFuture = Future()

        def look(now: Progress, lanes: int) -> None:
            self._observe([Running(work.start, now.step, now.steps, lanes, now.alive)])

        future.set_result(work.execute(self._interrupted, look))
        return future

    def stop(self) -> None:
        """Do nothing: a pack that has been taken has ended."""

    def close(self) -> None:
        """Let go of the data of a pack that has paused."""
        forget()


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
        self._plugins = [Plugin.of(target) for target in plugins]
        self._numbers = count()
        self._last = -1
        self._function: Callable[[Task], list[Result]] = execute_anywhere
        self._running: dict[PackFuture, float | None] = {}
        """When each was first seen to run, as far as the executor tells."""
        self._spent: dict[PackFuture, float] = {}
        """How long its attempt had run before."""
        self._sweep = uuid4().hex
        self._given_up: set[PackFuture] = set()
        """What is waited for no longer, and goes on."""
        self._idle_since: float | None = None
        """Since when nothing has begun, though packs wait and others were given up."""
        self._is_stopped = False

    @property
    def room(self) -> int:
        """As many as the caller says that there are workers, less those that are given up with their packs."""
        return (self._jobs or AT_ONCE) - len(self._given_up)

    def submit(self, work: Work) -> PackFuture:
        """Hand a pack over, with all that a worker must know."""
        self._last = next(self._numbers)
        here = machine(work.configs[0].backend)
        task = Task(self._last, work, self._plugins, self.timeout, origin(), self._sweep, here)
        try:
            future = self._executor.submit(self._function, task)
        except RuntimeError as error:
            raise RunFailedError(f"the executor takes no packs: {error}; the same sweep goes on") from error
        self._running[future] = None
        self._spent[future] = work.spent
        return future

    def fate_of(self, future: PackFuture) -> Fate | None:
        """Return why a pack has no results: an executor does not tell whether its worker ended itself."""
        del self._running[future], self._spent[future]
        if future.cancelled():
            if self._is_stopped:
                return Fate.WAITED
            raise RunFailedError("the executor cancelled a pack; the same sweep goes on")
        if not is_broken(future):
            return None
        return Fate.DIED

    def end_overdue(self) -> list[PackFuture]:
        """Return the packs that have run too long, so that no process can have ended itself."""
        if self.timeout is None:
            return []
        self._given_up = {future for future in self._given_up if not future.done()}
        now = time.monotonic()
        for future, began in self._running.items():
            if began is None and future.running():
                self._running[future] = now - self._spent[future]
        until = now - self.timeout - GIVE_UP_SECONDS
        late = [future for future, began in self._running.items() if began is not None and began < until]
        for future in late:
            del self._running[future], self._spent[future]
        self._given_up.update(late)
        # There may be fewer workers than the caller says.
        is_idle = self._given_up and self._running and not any(map(_has_begun, self._running))
        self._idle_since = (self._idle_since or now) if is_idle else None
        if self.room <= 0 or (is_idle and now - (self._idle_since or now) > GIVE_UP_SECONDS):
            raise RunFailedError(NO_WORKERS.format(self.timeout))
        return late

    def stop(self) -> None:
        """Cancel what has not begun, and have the threads of this process pause."""
        self._is_stopped = True
        stop(self._sweep)
        self._cancel(self._running)

    def _cancel(self, futures: Iterable[PackFuture]) -> None:
        for future in list(futures):
            future.cancel()

    def close(self) -> None:
        """Have what is under way leave off, and leave the executor to the caller."""
        self.stop()


def _has_begun(future: PackFuture) -> bool:
    return future.running() or future.done()


def is_broken(future: PackFuture) -> bool:
    """Return whether the worker of a future that is done has died; MemoryError: it could not send the results."""
    if future.cancelled():
        return False
    error = future.exception()
    # Dask's error is no BrokenExecutor, and a client's executor may come from anyone, so that it goes by its name.
    return isinstance(error, (BrokenExecutor, MemoryError)) or type(error).__name__ == "KilledWorker"


@contextmanager
def starting() -> Iterator[None]:
    """Have processes that are started within leave to this one the signals that a terminal or a cluster sends to all.

    They are `isolated` too.
    """
    with isolated():
        if sys.platform == "win32":
            yield
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            # The first process of all starts this one, too, after which signals are let through.
            ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def isolated() -> Iterator[None]:
    """Have processes that are started within import nothing from the working directory of their own accord.

    Where Python is started with a command alone, a file `types.py` there is taken for the standard library's. They are
    told by this process later where to look.
    """
    name, value = ISOLATED
    if os.environ.get(name):
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
