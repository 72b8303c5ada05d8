"""Packs on workers: as many at a time as there is room for, and each again where its worker died."""

import math
import time
import warnings
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import replace

from optrun.errors import OptrunError, OptrunWarning, RunFailedError
from optrun.sweeps.workers.base import Fate, PackFuture, Running, Workers
from optrun.sweeps.workers.task import Result, Work, failed

DEATHS = 3
"""How many workers a pack may lose at one step before it is split, or its run fails."""

LEAST_PAUSE_SECONDS = 1.0
"""Once workers die, a pack pauses after as long as none has died for; it is no shorter than this."""

POLL_SECONDS = 0.2

GRACE_SECONDS = 5.0
"""How long packs under way have after an interruption to pause."""

Pack = Sequence[int]
Finished = tuple[Pack, list[Result]]


def finished(
    work_of: Callable[[Pack], Work],
    packs: Sequence[Pack],
    workers: Workers,
    *,
    interrupted: Callable[[], bool],
    observe: Callable[[Sequence[Running]], None],
    died: Callable[[], None],
) -> Generator[Finished]:
    """Yield each pack, the numbers of its runs, with their results, as soon as it is through.

    A pack that has paused comes too, and goes on. One whose worker dies is executed again from where it paused, and in
    two halves after three deaths there, or at once where its time was over; a run that is left alone by that has
    failed. Results may still arrive of a pack that was given up; its parts that wait are then not executed, and a part
    that is under way comes a second time. ``died`` is called where a worker has died and its pack runs again. After an
    interruption the packs that are not through are left, those that pause in time excepted. Raises RunFailedError where
    no worker can do anything.
    """
    yield from _Loop(work_of, workers, interrupted, observe, died).finished(packs)


class _Loop:
    def __init__(
        self,
        work_of: Callable[[Pack], Work],
        workers: Workers,
        interrupted: Callable[[], bool],
        observe: Callable[[Sequence[Running]], None],
        died: Callable[[], None],
    ) -> None:
        self._work_of = work_of
        self._workers = workers
        self._interrupted = interrupted
        self._observe = observe
        self._died = died
        self._waiting: deque[Pack] = deque()
        self._flying: dict[PackFuture, Pack] = {}
        self._late: dict[PackFuture, Pack] = {}
        self._deaths: Counter[tuple[int, tuple[int, ...]]] = Counter()
        """Of each pack, at each step at which it went on."""
        self._died_at: float | None = None
        self._steps: dict[int, int] = {}
        """The step at which each run began, or has paused since."""
        self._spent_before: dict[int, float] = {}
        """The seconds of each run before this attempt."""
        self._ended: set[int] = set()
        self._failed: set[int] = set()
        self._came: set[int] = set()
        """Runs whose results have come late, which are not executed again: they are beyond where they began."""

    def finished(self, packs: Sequence[Pack]) -> Iterator[Finished]:
        self._waiting.extend(packs)
        while (self._waiting or self._flying) and not self._interrupted():
            while self._waiting and len(self._flying) < self._workers.room:
                self._submit(self._waiting.popleft())
            yield from self._landed()
            for future in self._workers.end_overdue():
                self._late[future] = self._flying.pop(future)
                yield from self._try_again(self._late[future], Fate.OVERDUE)
            self._observe(self._workers.running())
        if self._flying:
            self._workers.stop()
        self._waiting.clear()
        until = time.monotonic() + GRACE_SECONDS
        while self._flying and time.monotonic() < until:
            yield from self._landed()

    def _submit(self, pack: Pack) -> None:
        work = self._work_of(pack)
        for run in pack:
            self._steps[run] = work.start
            self._spent_before.setdefault(run, work.seconds)
        since = math.inf if self._died_at is None else time.monotonic() - self._died_at
        spent = work.seconds - self._spent_before[pack[0]]
        work = replace(work, pause_seconds=max(LEAST_PAUSE_SECONDS, since), spent=spent)
        self._flying[self._workers.submit(work)] = pack

    def _landed(self) -> Iterator[Finished]:
        """Yield what has come, or comes within a moment."""
        done, _ = wait([*self._flying, *self._late], POLL_SECONDS, FIRST_COMPLETED)
        for future in done:
            if future in self._late:
                yield from self._came_late(future)
                continue
            pack = self._flying.pop(future)
            fate = self._workers.fate_of(future)
            if fate is None:
                results = _results_of(future)
                for said in results[0].warnings:
                    warnings.warn(said, OptrunWarning, stacklevel=2)
                new = [pair for pair in zip(pack, results, strict=True) if not pair[1].is_unchanged]
                if new:
                    yield [run for run, _ in new], [result for _, result in new]
                self._go_on(pack, results)
            elif not self._interrupted():
                yield from self._try_again(pack, fate)

    def _go_on(self, pack: Pack, results: Sequence[Result]) -> None:
        """Have those go on that have paused: they are at different steps where the pack was run in halves."""
        paused: defaultdict[int, list[int]] = defaultdict(list)
        for run, result in zip(pack, results, strict=True):
            if not result.goes_on:
                self._ended.add(run)
            elif run not in self._came:
                self._steps[run] = result.state.steps
                paused[result.state.steps].append(run)
        self._waiting.extendleft(paused.values())

    def _try_again(self, pack: Pack, fate: Fate) -> Iterator[Finished]:
        """Have a pack executed again, whole or in halves; or yield that its run has failed."""
        if not (pack := self._without_late(pack)):
            return
        step = self._steps[pack[0]]
        self._deaths[step, tuple(pack)] += fate is Fate.DIED
        deaths = self._deaths[step, tuple(pack)]
        for run in pack:
            self._spent_before.pop(run, None)
        if fate is Fate.DIED:
            self._died_at = time.monotonic()
        if fate is Fate.DIED and (deaths < DEATHS or len(pack) > 1):
            self._died()
        if fate is not Fate.OVERDUE and deaths < DEATHS:
            self._waiting.appendleft(pack)
        elif len(pack) > 1:
            half = len(pack) // 2
            self._waiting.extendleft((pack[half:], pack[:half]))
        else:
            self._failed.update(pack)
            reason = f"its process died, {DEATHS} times"
            if fate is Fate.OVERDUE:
                reason = f"no end after {self._workers.timeout:g} s"
            yield pack, [Result(failed(reason), start=step)]

    def _came_late(self, future: PackFuture) -> Iterator[Finished]:
        pack = self._late.pop(future)
        if future.cancelled() or future.exception() is not None:
            return
        pairs = [
            (run, result)
            for run, result in zip(pack, future.result(), strict=True)
            if run not in self._failed and not result.goes_on
            # Of one that has gone on since, what comes is of no use.
            if run in self._ended or result.start == self._steps[run]
        ]
        if pairs:
            self._came.update(run for run, _ in pairs)
            self._waiting = deque(left for each in self._waiting if (left := self._without_late(each)))
            yield [run for run, _ in pairs], [result for _, result in pairs]

    def _without_late(self, pack: Pack) -> Pack:
        return [run for run in pack if run not in self._came]


def _results_of(future: PackFuture) -> list[Result]:
    try:
        return future.result()
    except OptrunError:
        raise
    except Exception as error:
        raise RunFailedError(f"a worker could not run a pack: {type(error).__name__}: {error}") from error
