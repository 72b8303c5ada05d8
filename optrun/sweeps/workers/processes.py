"""Packs in processes of this machine, which may die and may be killed."""

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.resource_tracker import ensure_running
from typing import Any

from optrun.errors import RunFailedError
from optrun.problems.data.shared import Key, published
from optrun.sweeps.workers.base import NEEDS_MAIN, Failure, Outcome, Running, Workers
from optrun.sweeps.workers.task import Work
from optrun.sweeps.workers.worker_process import ISOLATED, Plugin, Shared, execute_for_parent
from optrun.training.interrupt import SIGNALS

STARTS = 3
"""How often in a row processes may die, for each job, before one has begun a pack, where none ever has started."""
MOST_STARTS = 20
"""The same where others have, so that it is bad luck, or a machine without memory."""


class LocalProcesses(Workers):
    """Processes of this machine, each with one pack at a time, so that it is known which pack a death is due to."""

    def __init__(self, jobs: int, plugins: Sequence[str], timeout: float | None) -> None:
        self.timeout = timeout
        self._jobs = jobs
        self._plugins = [Plugin.of(target) for target in plugins]
        self._waiting: deque[tuple[int, Work]] = deque()
        self._workers: list[_Worker] = []
        self._outcomes: list[tuple[int, Outcome]] = []
        self._shared = ExitStack()
        self._tables: Mapping[Key, str] | None = None
        """What of the data processes need not read; None before the first one starts."""
        self._deaths = 0
        """How many processes in a row have died that had begun no pack."""
        self._has_started = False
        """Whether a process has ever been ready for a pack."""

    @property
    def room(self) -> int:
        """For each process a pack that it runs, and one that is at hand when that ends."""
        return 2 * self._jobs

    def submit(self, number: int, work: Work) -> None:
        """Give a pack to a process as soon as one is idle."""
        self._waiting.append((number, work))
        self._hand_out()

    def wait(self, seconds: float) -> Sequence[tuple[int, Outcome]]:
        """Return attempts and their outcomes, once their processes have other packs.

        Raises RunFailedError where processes die before they begin a pack.
        """
        wait([each.results for each in self._workers], 0.0 if self._outcomes else seconds)
        for worker in list(self._workers):
            self._receive(worker)
            if self.timeout is not None:
                worker.kill_overdue(self.timeout)
        self._hand_out()
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def _receive(self, worker: "_Worker") -> None:
        """Note what a process has sent, or that it has died."""
        # Asked first: what a process sent before it died is seen. One that it has forked may hold its pipe open.
        is_alive = worker.process.is_alive()
        outcome: Outcome
        try:
            if not worker.results.poll():
                if is_alive:
                    return
                raise EOFError
            outcome = worker.results.recv()
        except (EOFError, OSError, MemoryError):  # MemoryError: its results have no room here
            self._workers.remove(worker)
            worker.end()
            outcome = worker.failure
        else:
            worker.is_ready = self._has_started = True
        if outcome is Failure.NOT_STARTED:
            self._deaths += 1
        elif worker.number is not None:
            self._deaths = 0
        if self._deaths >= self._jobs * (MOST_STARTS if self._has_started else STARTS):
            raise RunFailedError(
                f"{self._deaths} worker processes died before they began a pack; the same sweep goes on"
                if self._has_started
                else f"no worker process could start: {NEEDS_MAIN}, or jobs=1; and a plugin must not end its process"
            )
        if worker.number is not None:
            self._outcomes.append((worker.number, outcome))
            worker.number = None

    def _hand_out(self) -> None:
        """Give packs that wait to idle processes, and start processes for the others."""
        for worker in self._workers:
            while self._waiting and worker.is_ready and worker.number is None:
                number, work = self._waiting.popleft()
                try:
                    worker.send(number, work)
                except MemoryError:  # a part of it may have room
                    self._outcomes.append((number, Failure.DIED))
        starting = sum(not each.is_ready for each in self._workers)
        for _ in range(min(len(self._waiting) - starting, self._jobs - len(self._workers))):
            if self._tables is None:
                self._tables = self._shared.enter_context(published())
            self._workers.append(_Worker(self._plugins, self._tables, self._jobs))

    def running(self) -> list[Running]:
        """Return what the processes tell."""
        shared = [each.shared for each in self._workers]
        # Read once: the process sets it to 0 when its pack ends.
        return [
            Running(each.start, each.step, steps, each.lanes, each.alive)
            for each in shared
            if (steps := each.steps)
        ]

    def stop(self) -> None:
        """Have every process leave its pack at the next step."""
        self._outcomes += [(number, Failure.NOT_STARTED) for number, _ in self._waiting]
        self._waiting.clear()
        for worker in self._workers:
            worker.shared.stop = True

    def close(self) -> None:
        """Kill the processes: they hold nothing, and to end by themselves takes Python long."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()
        self._shared.close()


class _Worker:
    """A process, a pipe in each direction, and the attempt that it has."""

    def __init__(self, plugins: Sequence[Plugin], tables: Mapping[Key, str], processes: int) -> None:
        context = get_context("spawn")
        self.shared: Any = context.RawValue(Shared)
        packs, self._packs = context.Pipe(duplex=False)
        self.results, results = context.Pipe(duplex=False)
        self.process = context.Process(
            target=execute_for_parent, args=(packs, results, self.shared, plugins, tables, processes)
        )
        with starting():
            self.process.start()
        # A pipe is at its end once no process has the other end.
        packs.close()
        results.close()
        self.is_ready = False
        self.number: int | None = None
        self._is_overdue = False

    @property
    def failure(self) -> Failure:
        """Why it has no results, now that it has died."""
        if self.number is None or not self.shared.began:
            return Failure.NOT_STARTED
        return Failure.TIMED_OUT if self._is_overdue else Failure.DIED

    def send(self, number: int, work: Work) -> None:
        self.shared.began = 0.0
        with suppress(OSError):  # it has died meanwhile, which is found when its results are waited for
            self._packs.send(work)
        self.number = number

    def kill_overdue(self, timeout: float) -> None:
        began = self.shared.began
        if self.number is not None and began and time.monotonic() - began > timeout:
            self._is_overdue = True
            self.process.kill()

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self._packs.close()
        self.results.close()


@contextmanager
def starting() -> Iterator[None]:
    """Have processes that are started within leave to this one the signals that a terminal or a cluster sends to all.

    They are `isolated` too.
    """
    with isolated():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            # The first process of all starts another one, which cleans up after all. After a kill -9 it would warn of
            # what is left, though nothing is lost.
            sys.warnoptions.append("ignore:resource_tracker")
            try:
                ensure_running()
            finally:
                sys.warnoptions.remove("ignore:resource_tracker")
            # Its start lets signals through.
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
