"""Where packs are executed: what all kinds of workers have in common, this process, and executors of the caller."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self
from uuid import uuid4

from optrun.errors import OptrunError, RunFailedError
from optrun.sweeps.workers.task import Result, Work, forget
from optrun.sweeps.workers.worker_process import (
    Plugin,
    Task,
    execute_anywhere,
    machine,
    origin,
    own_error,
    stop,
)
from optrun.training.trainer import Progress

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


class Failure(Enum):
    """Why a pack has no results."""

    DIED = auto()
    """Its worker died while it ran."""
    TIMED_OUT = auto()
    """It had not ended when its time was over; an executor may still have its results later."""
    NOT_STARTED = auto()
    """No worker has begun it."""


Outcome = Sequence[Result] | Failure | OptrunError
"""The results of the lanes of a pack, or why there are none; an error ends the sweep."""


class Workers(ABC):
    """Executes packs, as many at once as there is ``room`` for."""

    timeout: float | None = None

    @property
    @abstractmethod
    def room(self) -> int:
        """How many packs may be submitted and have no outcome yet."""

    @abstractmethod
    def submit(self, number: int, work: Work) -> None:
        """Have a pack executed, as the attempt of this number, which no other one has."""

    @abstractmethod
    def wait(self, seconds: float) -> Sequence[tuple[int, Outcome]]:
        """Return attempts and their outcomes, as soon as there are any, or after so many seconds."""

    def running(self) -> list[Running]:
        """Return how far the packs are that are executed, as far as that is known."""
        return []

    @abstractmethod
    def stop(self) -> None:
        """Have packs that run pause, and others not start."""

    @abstractmethod
    def close(self) -> None:
        """End the workers, also those that do not stop."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class ThisProcess(Workers):
    """This process, which executes a pack while it waits for its outcome."""

    room = 1

    def __init__(self, interrupted: Callable[[], bool], observe: Callable[[Sequence[Running]], None]) -> None:
        self._interrupted = interrupted
        self._observe = observe
        self._submitted: deque[tuple[int, Work]] = deque()

    def submit(self, number: int, work: Work) -> None:
        """Remember a pack."""
        self._submitted.append((number, work))

    def wait(self, seconds: float) -> Sequence[tuple[int, Outcome]]:
        """Execute the pack that was submitted."""
        number, work = self._submitted.popleft()

        def look(now: Progress, lanes: int) -> None:
            self._observe([Running(work.start, now.step, now.steps, lanes, now.alive)])

        return [(number, work.execute(self._interrupted, look))]

    def stop(self) -> None:
        """Do nothing: a pack is executed at once."""

    def close(self) -> None:
        """Let go of the data of a pack that has paused."""
        forget()


@dataclass(eq=False)
class Attempt:
    """A pack that an executor has."""

    number: int
    spent: float
    """How long it had run before."""
    began: float | None = None
    """When it was first seen to run, less what it had run before; as far as the executor tells."""
    is_given_up: bool = False
    """Whether its time was over, so that its results may come late."""


class CallerExecutor(Workers):
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
        self._function: Callable[[Task], Sequence[Result]] = execute_anywhere
        self._attempts: dict[Future[Sequence[Result]], Attempt] = {}
        self._sweep = uuid4().hex
        self._idle_since: float | None = None
        """Since when nothing has begun, though packs wait and others were given up."""
        self._is_stopped = False

    @property
    def room(self) -> int:
        """As many as the caller says that there are workers, less those that are given up with their packs."""
        return (self._jobs or AT_ONCE) - sum(each.is_given_up for each in self._attempts.values())

    def submit(self, number: int, work: Work) -> None:
        """Give a pack to the executor, with all that a worker must know."""
        here = machine(work.configs[0].backend)
        task = Task(number, work, self._plugins, self.timeout, origin(), self._sweep, here)
        try:
            future = self._executor.submit(self._function, task)
        except RuntimeError as error:
            raise RunFailedError(f"the executor takes no packs: {error}; the same sweep goes on") from error
        self._attempts[future] = Attempt(number, work.spent)

    def wait(self, seconds: float) -> Sequence[tuple[int, Outcome]]:
        """Return attempts and their outcomes; of those given up only results.

        Raises RunFailedError where every worker was given up.
        """
        late = self._timed_out()
        done, _ = wait(self._attempts, 0.0 if late else seconds, FIRST_COMPLETED)
        outcomes: list[tuple[int, Outcome]] = [(attempt.number, Failure.TIMED_OUT) for attempt in late]
        for future in done:
            attempt = self._attempts.pop(future)
            outcome = self._outcome(attempt, future)
            if isinstance(outcome, Sequence) or not attempt.is_given_up:
                outcomes.append((attempt.number, outcome))
        return outcomes

    def _outcome(self, attempt: Attempt, future: Future[Sequence[Result]]) -> Outcome:
        """Return what became of a pack: an executor does not tell whether its worker ended itself."""
        if future.cancelled():
            if self._is_stopped:
                return Failure.NOT_STARTED
            return RunFailedError("the executor cancelled a pack; the same sweep goes on")
        error = future.exception()
        if error is None:
            return future.result()
        # MemoryError: results could not be sent. Dask's KilledWorker is no BrokenExecutor; a client's executor may
        # come from anyone, so that it goes by its name.
        if isinstance(error, (BrokenExecutor, MemoryError)) or type(error).__name__ == "KilledWorker":
            return Failure.DIED
        return own_error(error)

    def _timed_out(self) -> list[Attempt]:
        """Give up the packs that have run too long, so that no process can have ended itself."""
        if self.timeout is None:
            return []
        now = time.monotonic()
        pending = {future: attempt for future, attempt in self._attempts.items() if not future.done()}
        for future, attempt in pending.items():
            if attempt.began is None and future.running():
                attempt.began = now - attempt.spent
        waiting = [each for each in pending.values() if not each.is_given_up]
        until = now - self.timeout - GIVE_UP_SECONDS
        late = [each for each in waiting if each.began is not None and each.began < until]
        for attempt in late:
            attempt.is_given_up = True
        given_up = sum(each.is_given_up for each in pending.values())
        left = [each for each in waiting if not each.is_given_up]
        # There may be fewer workers than the caller says.
        is_idle = given_up and left and all(each.began is None for each in left)
        self._idle_since = (self._idle_since or now) if is_idle else None
        if given_up >= (self._jobs or AT_ONCE) or (
            self._idle_since is not None and now - self._idle_since > GIVE_UP_SECONDS
        ):
            raise RunFailedError(NO_WORKERS.format(self.timeout))
        return late

    def stop(self) -> None:
        """Cancel what has not begun, and have the threads of this process pause."""
        self._is_stopped = True
        stop(self._sweep)
        for future, attempt in list(self._attempts.items()):
            if not self._has_begun(attempt):
                future.cancel()

    def _has_begun(self, attempt: Attempt) -> bool:
        """Whether a pack runs whose future could be cancelled nevertheless."""
        return False

    def close(self) -> None:
        """Have what runs pause, and leave the executor to the caller."""
        self.stop()
