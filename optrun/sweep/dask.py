"""Packs on a Dask cluster: one that is started here, or one that runs already."""

import logging
import os
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from optrun.errors import ConfigError, MissingExtraError, RunFailedError
from optrun.sweep.worker import Result, Task, Work, execute_anywhere
from optrun.sweep.workers import KILL, NEEDS_MAIN, Brought, Loss, Results, no_interrupts

CLOSE_SECONDS = 10.0
START_SECONDS = 3.0
STARTS = 3
MISSING_SECONDS = 10.0
"""How long a worker that died may take to come back, or a pack to be given to one."""


class Dask(Brought):
    """A cluster of ``jobs`` processes of this machine, or the one whose scheduler has the address.

    Raises MissingExtraError without Dask, and ConfigError where no scheduler answers.
    """

    def __init__(
        self, jobs: int | None, address: str | None, plugins: Sequence[str], timeout: float | None
    ) -> None:
        try:
            dask = import_module("dask")
            # It sets its loggers up when it is imported.
            with dask.config.set({"logging.distributed": "critical"}):
                distributed = import_module("distributed")
        except ImportError as error:
            raise MissingExtraError(
                "the executor dask needs Dask: python -m pip install 'distributed>=2025.1'"
            ) from error
        with ExitStack() as stack:
            self._cluster = _cluster(distributed, dask, jobs or 1, stack) if address is None else None
            try:
                client = distributed.Client(self._cluster or address, set_as_default=False)
            except (OSError, ValueError) as error:
                raise ConfigError(
                    f"no Dask scheduler answers at {address}: {error}", field="address"
                ) from error
            self._client = stack.enter_context(client)
            self._stack = stack.pop_all()
        super().__init__(self._client.get_executor(pure=False), jobs, plugins, timeout)
        topic = f"optrun-{uuid4()}"
        self._function = partial(_execute, topic)
        self._starts: dict[int, float] = {}
        self._numbers_of: dict[Results, int] = {}
        self._lost: set[Results] = set()
        self._seen: dict[Any, float] = {}
        self._busy_at = time.monotonic()
        self._client.subscribe_topic(topic, self._note)

    @property
    def room(self) -> int:
        """A pack for each thread that there is now, so that none waits with its time running."""
        if self._cluster is not None:
            return self._jobs or 1
        there = max(1, int(sum(self._client.nthreads().values())))
        return min(there, self._jobs or there)

    def submit(self, work: Work) -> Results:
        """Hand a pack to the cluster."""
        future = super().submit(work)
        self._numbers_of[future] = self._last
        return future

    def loss(self, future: Results) -> Loss | None:
        """Tell a worker that ended itself from one that died: by how long it ran."""
        began = self._starts.pop(self._numbers_of.pop(future), None)
        if future in self._lost and future.cancelled():
            del self._running[future]
            return Loss.WAITED
        loss = super().loss(future)
        if loss is Loss.DIED and began is not None and self.timeout is not None:
            # The news of its start was under way for a moment.
            is_over = time.monotonic() - began >= self.timeout - min(0.5, self.timeout / 2)
            return Loss.OVERDUE if is_over else loss
        return loss

    def end_overdue(self) -> list[Results]:
        """Replace workers of a cluster of ours that do not come back, and take back packs that none of them has."""
        if self._cluster is not None:
            there = list(self._cluster.scheduler.workers.values())
            self._replace_missing({worker.name for worker in there})
            if not there or not self._running or any(worker.processing for worker in there):
                self._busy_at = time.monotonic()
            elif time.monotonic() - self._busy_at > MISSING_SECONDS:
                self._lost = set(self._running)
                for future in self._lost:
                    future.cancel()
        return super().end_overdue()

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
                self._cluster.scale(self._jobs or 1)

    def _note(self, event: tuple[float, int]) -> None:
        self._starts[event[1]] = time.monotonic()

    def close(self) -> None:
        """Cancel what is under way, and end a cluster that was started here."""
        super().close()
        self._stack.close()


def _execute(topic: str, task: Task) -> list[Result] | None:
    """Run a pack in a worker, which says that it begins."""
    import_module("distributed").get_worker().log_event(topic, task.number)
    return execute_anywhere(task)


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
    place = stack.enter_context(TemporaryDirectory(prefix="optrun-dask-", ignore_cleanup_errors=True))
    for attempt in range(STARTS):
        try:
            with no_interrupts():
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
                os.kill(nanny.pid, KILL)
    with suppress(TimeoutError):
        cluster.close(timeout=CLOSE_SECONDS)


def _is_starting(nanny: Any) -> bool:
    return nanny.process is not None and nanny.process.status.name == "starting"
