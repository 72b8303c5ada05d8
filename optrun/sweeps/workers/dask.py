"""Packs on a Dask cluster: one that is started here, or one that runs already."""

import asyncio
import logging
import os
import signal
import time
import warnings
from asyncio import wait_for
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any, Self
from uuid import uuid4

from optrun.errors import ConfigError, MissingExtraError, OptrunWarning, RunFailedError, install
from optrun.fallbacks import Fallback
from optrun.sweeps.workers.base import NEEDS_MAIN, Attempt, CallerExecutor, Failure, Outcome
from optrun.sweeps.workers.processes import isolated, starting
from optrun.sweeps.workers.task import Result
from optrun.sweeps.workers.worker_process import Task, execute_anywhere, stop

CONNECT_SECONDS = 8.0
CLOSE_SECONDS = 10.0
STOP_SECONDS = 2.0
START_SECONDS = 3.0
STARTS = 3
MISSING_SECONDS = 10.0
"""How long a worker that died may take to come back, or a pack to be given to one."""


GONE = "the Dask scheduler answers no more"


class Connection:
    """Dask, imported, and a client of the scheduler that has the address, where one is given.

    Raises MissingExtraError without Dask, and ConfigError where no scheduler answers.
    """

    def __init__(self, address: str | None) -> None:
        try:
            self.dask: Any = import_module("dask")
            # It sets its loggers up when it is imported.
            with self.dask.config.set({"logging.distributed": "critical"}):
                self.distributed: Any = import_module("distributed")
        except ImportError as error:
            raise MissingExtraError(
                f"the executor dask needs Dask: {install('distributed>=2025.1')}"
            ) from error
        self.client: Any = None
        if address is not None:
            self._check_answers(address)
            self.client = self.distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)

    def _check_answers(self, address: str) -> None:
        # A client that fails to connect waits for itself when it is thrown away, and leaves a traceback.
        try:
            with ThreadPoolExecutor(1) as thread:  # the one of the caller may have a loop that runs
                kind = thread.submit(asyncio.run, wait_for(self._kind_at(address), CONNECT_SECONDS)).result()
        except Exception as error:
            why = "" if isinstance(error, TimeoutError) else f": {error or type(error).__name__}"
            raise ConfigError(f"no Dask scheduler answers at {address}{why}", field="address") from error
        if kind != "Scheduler":
            raise ConfigError(f"a Dask {kind} answers at {address}, not the scheduler", field="address")

    async def _kind_at(self, address: str) -> str:
        security = self.distributed.Security().get_connection_args("client")
        async with self.distributed.rpc(address, timeout=CONNECT_SECONDS, connection_args=security) as there:
            return str((await there.identity())["type"])

    def __enter__(self) -> Self:
        log = logging.getLogger("distributed.client")
        # Of a scheduler that is gone it would write a traceback.
        self._log, self._level = log, log.level
        log.setLevel(logging.CRITICAL)
        return self

    def __exit__(self, *error: object) -> None:
        if self.client is not None:
            _close(self.client)
        self._log.setLevel(self._level)


class Dask(CallerExecutor):
    """The cluster of a connection, or one of ``jobs`` processes of this machine."""

    def __init__(
        self, connection: Connection, jobs: int | None, plugins: Sequence[str], timeout: float | None
    ) -> None:
        with ExitStack() as stack:
            self._cluster: Any = None
            self._client = connection.client
            if self._client is None:
                assert jobs is not None
                self._cluster = _cluster(connection.distributed, connection.dask, jobs, stack)
                self._client = connection.distributed.Client(self._cluster, set_as_default=False)
                stack.callback(_close, self._client)
            self._stack = stack.pop_all()
        super().__init__(self._client.get_executor(pure=False), jobs, plugins, timeout)
        topic = f"optrun-{uuid4()}"
        self._function = partial(_execute, topic)
        self._starts: dict[int, float] = {}
        """When attempts began."""
        self._taken_back: set[int] = set()
        """Attempts that no worker has, whose packs are handed over again."""
        self._seen: dict[Any, float] = {}
        self._busy_at = self._seen_at = time.monotonic()
        self._client.subscribe_topic(topic, self._note)

    @property
    def room(self) -> int:
        """A pack for each thread that there is now, or for each process where its time may end it."""
        if self._cluster is not None:
            return super().room
        try:
            threads = self._client.nthreads().values()
        except OSError as error:  # a TimeoutError, too, is one
            raise RunFailedError(GONE) from error
        self._note_missing(bool(threads))
        there = max(1, int(sum(threads)) if self.timeout is None else len(threads))
        return min(there, self._jobs or there)

    def _note_missing(self, is_there: bool) -> None:
        """Warn where there has been no worker for a while."""
        now = time.monotonic()
        if is_there:
            self._seen_at = now
        elif now - self._seen_at > MISSING_SECONDS / 2:
            warnings.warn("the Dask scheduler has no worker yet: packs wait", OptrunWarning, stacklevel=2)

    def wait(self, seconds: float) -> Sequence[tuple[int, Outcome]]:
        """Replace workers of a cluster of ours that do not come back, and take back packs that none of them has."""
        if self._cluster is not None:
            there = list(self._cluster.scheduler.workers.values())
            self._replace_missing({worker.name for worker in there})
            if not there or not self._attempts or any(worker.processing for worker in there):
                self._busy_at = time.monotonic()
            elif time.monotonic() - self._busy_at > MISSING_SECONDS:
                self._busy_at = time.monotonic()
                self._taken_back.update(attempt.number for attempt in self._attempts.values())
                for future in list(self._attempts):
                    future.cancel()
        return super().wait(seconds)

    def _outcome(self, attempt: Attempt, future: Future[Sequence[Result]]) -> Outcome:
        """Tell a worker that ended itself from one that died: by how long it ran."""
        began = self._starts.pop(attempt.number, None)
        if future.cancelled():
            if attempt.number in self._taken_back:
                return Failure.NOT_STARTED
            if not self._is_stopped and self._client.status != "running":
                return RunFailedError(GONE)
        outcome = super()._outcome(attempt, future)
        if outcome is Failure.DIED and began is not None and self.timeout is not None:
            # The news of its start was under way for a moment.
            left = self.timeout - attempt.spent
            is_over = time.monotonic() - began >= left - min(0.5, left / 2)
            return Failure.TIMED_OUT if is_over else outcome
        return outcome

    def _replace_missing(self, names: Collection[Any]) -> None:
        assert self._cluster is not None
        now = time.monotonic()
        for name in list(self._cluster.worker_spec):
            if name in names:
                self._seen[name] = now
            elif now - self._seen.setdefault(name, now) > MISSING_SECONDS:
                self._seen[name] = now
                # Dask itself forgets the nanny of such a worker after a while, and starts no other.
                if (nanny := self._cluster.workers.pop(name, None)) is not None:
                    self._cluster.loop.add_callback(nanny.close)
                self._cluster.scale(len(self._cluster.worker_spec))

    def _note(self, event: tuple[float, int]) -> None:
        self._starts[event[1]] = time.monotonic()

    def stop(self) -> None:
        """Cancel what has not begun, and have the others pause."""
        if not self._is_stopped:
            # A scheduler may be gone, or a worker not answer.
            with Fallback("workers were not told to pause", Exception):
                self._client.run(stop, self._sweep, on_error="ignore", callback_timeout=STOP_SECONDS)
        super().stop()

    def _has_begun(self, attempt: Attempt) -> bool:
        return attempt.number in self._starts

    def close(self) -> None:
        """Have what is under way pause, and end a cluster that was started here."""
        super().close()
        self._stack.close()


def _execute(topic: str, task: Task) -> Sequence[Result]:
    """Run a pack in a worker, which says that it begins."""
    worker = import_module("distributed").get_worker()
    return execute_anywhere(task, partial(worker.log_event, topic, task.number))


def _close(client: Any) -> None:
    """Close a client, also one whose scheduler is gone."""
    with Fallback("a client of Dask did not close in time", TimeoutError):
        client.close(timeout=CLOSE_SECONDS)


def _cluster(distributed: Any, dask: Any, jobs: int, stack: ExitStack) -> Any:
    """Start a quiet cluster of processes of one thread, to be closed with the stack."""
    settings = {
        # A death is counted where the pack is split: the scheduler is to name it at once.
        "distributed.scheduler.allowed-failures": 0,
        # No worker ever has two packs, and what is stolen from one that dies may be lost.
        "distributed.scheduler.work-stealing": False,
        "distributed.scheduler.worker-saturation": 1.0,
        "logging.distributed": "critical",
    }
    stack.enter_context(dask.config.set(settings))
    stack.enter_context(isolated())  # for as long as it may start a worker again
    place = stack.enter_context(TemporaryDirectory(prefix="optrun-dask-", ignore_cleanup_errors=True))
    for attempt in range(STARTS):
        try:
            with starting():
                cluster = distributed.LocalCluster(
                    n_workers=jobs,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                    memory_limit=None,
                    silence_logs=logging.CRITICAL,
                    local_directory=place,
                )
        except RuntimeError as error:
            if attempt == STARTS - 1:
                raise RunFailedError(f"no Dask worker could start: {error}; {NEEDS_MAIN}") from error
        else:
            break
    stack.callback(_end, cluster)
    return cluster


def _end(cluster: Any) -> None:
    """End a cluster at once: its workers have nothing left that anyone wants, and may be in a pack without end."""
    nannies = list(cluster.workers.values())
    for nanny in nannies:
        nanny.auto_restart = False
    until = time.monotonic() + START_SECONDS
    # A process that is told to end before it has started complains.
    while any(map(_is_starting, nannies)) and time.monotonic() < until:
        time.sleep(0.05)
    for nanny in nannies:
        if nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        cluster.close(timeout=CLOSE_SECONDS)


def _is_starting(nanny: Any) -> bool:
    return nanny.process is not None and nanny.process.status.name == "starting"
