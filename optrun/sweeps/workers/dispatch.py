"""Packs on workers: as many at a time as there is room for, and each again where its worker died."""

import math
import time
import warnings
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from optrun.errors import OptrunError, OptrunWarning
from optrun.sweeps.workers.base import Failure, Running, Workers
from optrun.sweeps.workers.task import Ended, Result, Work, failed, warnings_of

DEATHS = 3
"""How many workers a pack may lose at one step before it is split, or its run fails."""

LEAST_PAUSE_SECONDS = 1.0
"""Once workers die, a pack pauses after as long as none has died for; it is no shorter than this."""

POLL_SECONDS = 0.2

GRACE_SECONDS = 5.0
"""How long packs that run have after an interruption to pause."""

Pack = Sequence[int]
Finished = tuple[Pack, Sequence[Result]]

_attempts = count()
"""Unique in this process, so that results of a pack that was given up are known in a later stage, too."""


@dataclass
class Dispatch:
    """Executes packs, the numbers of their runs, on workers.

    A pack whose worker dies is executed again from its last checkpoint; after three deaths there, or at once where its
    time was over, in two halves, or its run has failed if that is alone.
    """

    work_of: Callable[[Pack], Work]
    workers: Workers
    interrupted: Callable[[], bool]
    observe: Callable[[Sequence[Running]], None]
    note_death: Callable[[], None]
    """Called where a worker has died and its pack runs again."""

    _waiting: deque[Pack] = field(default_factory=deque, init=False)
    _running: dict[int, Pack] = field(default_factory=dict, init=False)
    _given_up: dict[int, Pack] = field(default_factory=dict, init=False)
    """Packs whose time was over, whose results may come late."""
    _deaths: Counter[tuple[int, tuple[int, ...]]] = field(default_factory=Counter, init=False)
    """Of each pack, at each step at which it went on."""
    _died_at: float | None = field(default=None, init=False)
    _steps: dict[int, int] = field(default_factory=dict, init=False)
    """The step at which each run that has not ended began, or has paused since."""
    _spent_before: dict[int, float] = field(default_factory=dict, init=False)
    """The seconds of each run before this attempt."""
    _ended: set[int] = field(default_factory=set, init=False)
    """Runs that have ended while packs were given up, of which they may be a part."""
    _failed: set[int] = field(default_factory=set, init=False)
    _came_late: set[int] = field(default_factory=set, init=False)
    """Runs whose results came late, which are not executed again: they are beyond where they began."""

    def finished(self, packs: Sequence[Pack]) -> Generator[Finished]:
        """Yield each pack with the results of its runs as soon as it has ended or paused; one that paused goes on.

        Results may still come of a pack that was given up: of its parts, those that wait are then not executed, and
        one that runs comes a second time. After an interruption, packs that run are left if they do not pause in time,
        and the others at once. Raises RunFailedError where no worker can do anything.
        """
        self._waiting.extend(packs)
        while (self._waiting or self._running) and not self.interrupted():
            while self._waiting and len(self._running) < self.workers.room:
                self._submit(self._waiting.popleft())
            yield from self._outcomes()
            self.observe(self.workers.running())
        if self._running:
            self.workers.stop()
        self._waiting.clear()
        until = time.monotonic() + GRACE_SECONDS
        while self._running and time.monotonic() < until:
            yield from self._outcomes()

    def _submit(self, pack: Pack) -> None:
        work = self.work_of(pack)
        start, seconds = work.start, work.seconds
        for run in pack:
            self._steps[run] = start
            self._spent_before.setdefault(run, seconds)
        since = math.inf if self._died_at is None else time.monotonic() - self._died_at
        spent = seconds - self._spent_before[pack[0]]
        work = replace(work, pause_seconds=max(LEAST_PAUSE_SECONDS, since), spent=spent)
        number = next(_attempts)
        self._running[number] = pack
        self.workers.submit(number, work)

    def _outcomes(self) -> Iterator[Finished]:
        """Yield what has ended, or ends within a moment."""
        for number, outcome in self.workers.wait(POLL_SECONDS):
            if isinstance(outcome, OptrunError):
                raise outcome
            if number in self._given_up:
                yield from self._late(self._given_up.pop(number), outcome)
            elif (pack := self._running.pop(number, None)) is None:
                continue  # of an earlier stage
            elif isinstance(outcome, Failure):
                if outcome is Failure.TIMED_OUT:
                    self._given_up[number] = pack
                if not self.interrupted():
                    yield from self._try_again(pack, outcome)
            else:
                for warned in warnings_of(outcome):
                    warnings.warn(warned, OptrunWarning, stacklevel=2)
                if isinstance(outcome, Ended):
                    yield pack, outcome
                elif new := [pair for pair in zip(pack, outcome, strict=True) if not pair[1].is_unchanged]:
                    yield [run for run, _ in new], [result for _, result in new]
                self._go_on(pack, outcome)

    def _go_on(self, pack: Pack, results: Sequence[Result]) -> None:
        """Have those go on that have paused: they are at different steps where the pack was run in halves."""
        if isinstance(results, Ended) and not self._given_up:
            for run in pack:
                self._steps.pop(run, None)
                self._spent_before.pop(run, None)
            return
        paused: defaultdict[int, list[int]] = defaultdict(list)
        for run, result in zip(pack, results, strict=True):
            if not result.goes_on:
                if self._given_up:
                    self._ended.add(run)
                self._steps.pop(run, None)
                self._spent_before.pop(run, None)
            elif run not in self._came_late:
                self._steps[run] = result.state.steps
                paused[result.state.steps].append(run)
        self._waiting.extendleft(paused.values())

    def _try_again(self, pack: Pack, failure: Failure) -> Iterator[Finished]:
        """Have a pack executed again, whole or in halves; or yield that its run has failed."""
        if not (pack := self._without_late(pack)):
            return
        step = self._steps[pack[0]]
        for run in pack:
            self._spent_before.pop(run, None)
        deaths = 0
        if failure is Failure.DIED:
            self._died_at = time.monotonic()
            self._deaths[step, tuple(pack)] += 1
            deaths = self._deaths[step, tuple(pack)]
            if deaths < DEATHS or len(pack) > 1:
                self.note_death()
        if failure is not Failure.TIMED_OUT and deaths < DEATHS:
            self._waiting.appendleft(pack)
        elif len(pack) > 1:
            half = len(pack) // 2
            self._waiting.extendleft((pack[half:], pack[:half]))
        else:
            self._failed.update(pack)
            reason = f"its process died, {DEATHS} times"
            if failure is Failure.TIMED_OUT:
                reason = f"no end after {self.workers.timeout:g} s"
            yield pack, [Result(failed(reason), start=step)]

    def _late(self, pack: Pack, outcome: Sequence[Result] | Failure) -> Iterator[Finished]:
        """Yield what a pack that was given up has left of runs that have not gone on since."""
        if isinstance(outcome, Failure):
            return
        pairs = [
            (run, result)
            for run, result in zip(pack, outcome, strict=True)
            if run not in self._failed and not result.goes_on
            if run in self._ended or result.start == self._steps[run]
        ]
        if pairs:
            self._came_late.update(run for run, _ in pairs)
            self._waiting = deque(left for each in self._waiting if (left := self._without_late(each)))
            yield [run for run, _ in pairs], [result for _, result in pairs]

    def _without_late(self, pack: Pack) -> Pack:
        return [run for run in pack if run not in self._came_late]
