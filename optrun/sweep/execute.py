"""Packs on executors: as many at a time as there are workers, and each again where its worker died."""

import multiprocessing
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from optrun.config import RunConfig
from optrun.errors import RunFailedError
from optrun.sweep.worker import Result, begin, execute, execute_here, failed

DEATHS = 3
"""How many workers a pack may lose before it is split, or its run fails."""

POLL_SECONDS = 0.2

Pack = Sequence[int]
Finished = tuple[Pack, list[Result]]


def finished(
    configs: Sequence[RunConfig],
    packs: Sequence[Pack],
    *,
    jobs: int,
    interrupted: Callable[[], bool],
    plugins: Sequence[str] = (),
) -> Generator[Finished]:
    """Yield each pack, the numbers of its runs, with their results, as soon as it is through.

    With one job it runs in this process, with more in processes of their own. After an interruption the packs that
    are not through are left. Raises RunFailedError where no process can be started.
    """
    if jobs == 1:
        for pack in packs:
            results = None if interrupted() else execute([configs[run] for run in pack], interrupted)
            if results is None:
                return
            yield pack, results
        return
    yield from _Pool(configs, min(jobs, len(packs)), interrupted, plugins).finished(packs)


class _Pool:
    """Worker processes, made anew where one of them died."""

    def __init__(
        self,
        configs: Sequence[RunConfig],
        jobs: int,
        interrupted: Callable[[], bool],
        plugins: Sequence[str],
    ) -> None:
        self._configs = configs
        self._jobs = jobs
        self._interrupted = interrupted
        self._context = multiprocessing.get_context("spawn")
        self._stop: Any = self._context.Value("b", 0, lock=False)
        self._ready: Any = self._context.Value("b", 0, lock=False)
        self._plugins = plugins

    def finished(self, packs: Sequence[Pack]) -> Iterator[Finished]:
        """Yield the packs with their results, as soon as they are through."""
        waiting = deque(packs)
        suspects: deque[Pack] = deque()
        deaths: Counter[tuple[int, ...]] = Counter()
        while (waiting or suspects) and not self._interrupted():
            lost: list[Pack] = []
            # A pack that was lost with its worker runs alone, so that it is known which one kills.
            queue = suspects if suspects else waiting
            with self._executor() as executor:
                yield from self._through(executor, queue, 1 if suspects else 2 * self._jobs, lost)
            if lost and not self._ready.value:
                raise RunFailedError(
                    "no worker process could start: one job needs none, and with more of them a script needs "
                    "'if __name__ == \"__main__\":' around what it does"
                )
            for pack in lost:
                alone = queue is suspects
                deaths[tuple(pack)] += alone
                if deaths[tuple(pack)] < DEATHS:
                    suspects.append(pack)
                elif len(pack) > 1:
                    half = len(pack) // 2
                    suspects.extend((pack[:half], pack[half:]))
                else:
                    reason = f"its process died, {DEATHS} times"
                    yield pack, [Result(failed(reason), {}, {}, {})]

    def _through(
        self, executor: Executor, queue: deque[Pack], depth: int, lost: list[Pack]
    ) -> Iterator[Finished]:
        """Yield what comes of the packs in a queue until it is empty, or a worker dies with what is then lost."""
        flying: dict[Future[list[Result] | None], Pack] = {}
        while queue or flying:
            if self._interrupted():
                self._stop.value = 1
                queue.clear()
            while queue and len(flying) < depth and not lost:
                pack = queue.popleft()
                try:
                    future = _submitted(executor, [self._configs[run] for run in pack])
                except BrokenProcessPool:
                    lost.append(pack)
                else:
                    flying[future] = pack
            done, _ = wait(flying, POLL_SECONDS, FIRST_COMPLETED)
            for future in done:
                pack = flying.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    lost.append(pack)
                elif (results := future.result()) is not None:
                    yield pack, results
            if lost and not flying:
                return

    @contextmanager
    def _executor(self) -> Iterator[Executor]:
        arguments = (self._stop, self._ready, self._plugins)
        executor = ProcessPoolExecutor(self._jobs, self._context, begin, arguments)
        try:
            yield executor
        finally:
            self._stop.value = int(self._interrupted() or sys.exc_info()[0] is not None)
            executor.shutdown(cancel_futures=True)


def _submitted(executor: Executor, configs: list[RunConfig]) -> Future[list[Result] | None]:
    """Submit a pack; a worker that this starts leaves Ctrl-C, which the terminal sends to all, to its parent."""
    if sys.platform == "win32":
        return executor.submit(execute_here, configs)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return executor.submit(execute_here, configs)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
