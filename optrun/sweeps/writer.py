"""The one writer of a sweep: commits each pack in one transaction, and tells how far the sweep is."""

import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optrun.arrays import Array
from optrun.config.sweep.model import Metric
from optrun.errors import RunFailedError
from optrun.store import RunState, Status, Store, blobs
from optrun.store.event_names import TRACEBACK
from optrun.store.pack_columns import PackColumns
from optrun.store.states import States
from optrun.store.types import STEPS_TO_TARGET
from optrun.sweeps.workers.base import Running
from optrun.sweeps.workers.task import Ended, Result
from optrun.training.memory_store import MemoryStore

REPORT_SECONDS = 0.1


@dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is."""

    runs: int
    """Runs that have ended, those of earlier times too."""
    of_runs: int
    """All that there are to be, within the limit of this time."""
    packs: int
    """Packs that have ended this time."""
    of_packs: int
    """Those that there are to be; it grows where one is split."""
    executed: int
    """Runs that have ended this time, those that were pruned among them."""
    seconds: float
    diverged: int
    """Runs that diverged, this time."""
    failed: int
    """Runs that failed, this time."""
    best: float | None
    """The best metric of the runs that came to their end, this time; None if the sweep has several problems."""
    until: int | None = None
    """The step to which runs go for now; None is their end."""
    lane_steps: int = 0
    """Steps of all runs this time, as far as it is known also of those that go on."""
    lanes: int = 0
    """Runs that go on, as far as it is known."""
    under_way: float = 0.0
    """How many runs the parts are worth that are done of those that go on."""
    deaths: int = 0
    """How often a worker has died, so that its pack runs again."""
    confirms: bool = False
    """Whether the sweep is through, and these are the runs that confirm its best settings."""


class Writer:
    """Commits the results of packs to a store, or keeps them in memory."""

    def __init__(
        self,
        metric: Metric,
        results: Store | MemoryStore,
        observe: Callable[[SweepProgress], None] | None,
    ) -> None:
        self._metric = metric
        self._results = results
        self.states = States()
        """How far each run has come, by what has been committed."""
        self._left = bytearray()
        """Whether the result of each run is expected."""
        self._before: int | None = None
        """How many runs had ended at an earlier time."""
        self._observe = observe
        self._began = time.monotonic()
        self._next_report = 0.0
        self._steps = 0
        self._now = SweepProgress(0, 0, 0, 0, 0, 0.0, 0, 0, None)

    def begin(
        self,
        states: Sequence[RunState],
        wanted: Sequence[int],
        packs: Sequence[Sequence[int]],
        of_runs: int,
        until: int | None,
        *,
        comparable: bool = True,
    ) -> None:
        """Expect the results of these runs in these packs or their parts.

        All runs have come as far as ``states`` say. ``comparable`` is whether their metrics can be compared.
        """
        self._comparable = comparable
        self.states = States.of(states)
        self._left = bytearray(len(states))
        for run in wanted:
            self._left[run] = True
        ended = int(self.states.ended.sum())
        if self._before is None:
            self._before = ended
        self._pack_of = array("q", bytes(8 * len(states)))
        for number, pack in enumerate(packs):
            for run in pack:
                self._pack_of[run] = number
        self._through: set[int] = set()
        """The packs of which a part is through."""
        of_packs = self._now.packs + len(packs)
        self._now = replace(
            self._now,
            runs=ended,
            executed=ended - self._before,
            of_runs=of_runs,
            of_packs=of_packs,
            until=until,
        )
        self._report()

    def commit(self, pack: Sequence[int], results: Sequence[Result]) -> None:
        """Commit the results of a pack of runs.

        Raises RunFailedError where a run has been committed before with other results.
        """
        if isinstance(results, Ended) and all(map(self._left.__getitem__, pack)):
            self._commit_ended(pack, results.columns)
            return
        # What comes a second time is compared as it is: only a failure has no steps of its own.
        by_run = {
            run: self._as_far(run, each) if self._left[run] or each.state.status is Status.FAILED else each
            for run, each in zip(pack, results, strict=True)
        }
        for run in [run for run in by_run if not self._left[run]]:
            if not (result := by_run.pop(run)).goes_on:
                self._check_same(run, result)
        self._keep(by_run)
        paused = {run for run, each in by_run.items() if each.goes_on}
        for run in by_run.keys() - paused:
            self._left[run] = False
        self._note(pack, [*by_run], States.of(each.state for each in by_run.values()), is_paused=bool(paused))

    def _commit_ended(self, pack: Sequence[int], columns: PackColumns) -> None:
        """Commit what runs leave that are expected, and began and ended together."""
        if isinstance(self._results, Store):
            self._results.commit(packs=[columns])
        for run in pack:
            self._left[run] = False
        self._note(pack, pack, columns.states, is_paused=False)

    def _note(self, pack: Sequence[int], runs: Sequence[int], states: States, *, is_paused: bool) -> None:
        """Take into account how far runs of a pack have come."""
        places = np.asarray(runs, np.int64)
        # A figure of a rung is that of fewer steps.
        ended = states.ended
        through = ended & ~states.are(Status.PRUNED, Status.DIVERGED, Status.FAILED)
        values = states.figures.get(self._metric.name, np.empty(0))
        figures = values[through[: len(values)] & np.isfinite(values)].tolist()
        if self._metric.name == STEPS_TO_TARGET:
            figures = states.steps[states.are(Status.TARGET_REACHED)].tolist()
        figures += [self._now.best] if self._now.best is not None else []
        better = max if self._metric.goal == "maximize" else min
        self._steps += int((states.steps - self.states.steps[places]).sum())
        self.states.put(places, states)
        number = self._pack_of[pack[0]]
        is_another_part = not is_paused and number in self._through
        if not is_paused:
            self._through.add(number)
        count = int(ended.sum())
        self._now = replace(
            self._now,
            runs=self._now.runs + count,
            packs=self._now.packs + (not is_paused),
            of_packs=self._now.of_packs + is_another_part,
            executed=self._now.executed + count,
            diverged=self._now.diverged + states.count(Status.DIVERGED),
            failed=self._now.failed + states.count(Status.FAILED),
            best=better(figures, default=None) if self._comparable else None,
        )
        self._report()

    def _as_far(self, run: int, result: Result) -> Result:
        """Return a result whose run has come as far as it was: one that could not go on tells of no steps."""
        steps = max(result.state.steps, self.states[run].steps)
        return (
            result
            if steps == result.state.steps
            else replace(result, state=replace(result.state, steps=steps))
        )

    def _keep(self, by_run: Mapping[int, Result]) -> None:
        """Commit results in one transaction."""
        if isinstance(self._results, Store):
            for run, each in by_run.items():
                if each.traceback:
                    self._results.log(TRACEBACK, run, text=each.traceback)
        # Of those that have paused, what was kept there goes.
        waited = {run for run in by_run if self.states[run].steps}
        self._results.commit(
            curves={run: each.curves for run, each in by_run.items() if each.curves},
            evaluations={run: each.evaluations for run, each in by_run.items() if each.evaluations},
            states={run: each.state for run, each in by_run.items()},
            params={run: each.params for run, each in by_run.items() if each.params or run in waited},
            snapshots={run: each.snapshots for run, each in by_run.items() if each.snapshots},
            checkpoints={
                run: each.checkpoint for run, each in by_run.items() if each.checkpoint or run in waited
            },
        )

    def note_death(self) -> None:
        """Tell that a worker has died, and that its pack runs again."""
        self._now = replace(self._now, deaths=self._now.deaths + 1)
        self._report()

    def look(self, running: Sequence[Running]) -> None:
        """Tell how far the sweep is, with the packs that go on."""
        if self._observe is not None and time.monotonic() >= self._next_report:
            self._report(running)

    def _report(self, running: Sequence[Running] = ()) -> None:
        if self._observe is None:
            return
        now = time.monotonic()
        self._next_report = now + REPORT_SECONDS
        self._observe(
            replace(
                self._now,
                seconds=now - self._began,
                lane_steps=self._steps + sum((each.step - each.start) * each.lanes for each in running),
                lanes=sum(each.alive for each in running),
                under_way=sum(each.step / each.steps * each.lanes for each in running),
            )
        )

    def _check_same(self, run: int, result: Result) -> None:
        results, began = self._results, result.start
        stored = results.run(run)
        left = (
            _since(began, results.curves(run)),
            _since(began, results.evaluations(run)),
            results.params(run),
            *(results.snapshot(run, step) for step in results.snapshot_steps(run) if step >= began),
        )
        again = (result.curves, result.evaluations, result.params, *result.snapshots.values())
        ends = [(each.status, each.reason, each.steps, dict(each.summary)) for each in (stored, result.state)]
        if ends[0] != ends[1] or [*map(_bits, left)] != [*map(_bits, again)]:
            raise RunFailedError(
                f"run {run} came twice, with other results the second time: the first ones are kept. "
                "It is to be the same to the bit on every machine that takes part"
            )


def _bits(arrays: Mapping[str, Array]) -> list[tuple[str, bytes]]:
    return [(name, blobs.encode(values)) for name, values in arrays.items()]


def _since(step: int, stored: Mapping[str, Array]) -> Mapping[str, Array]:
    """Return the rows of curves from a step on; nothing where there are none."""
    first = np.searchsorted(stored["step"], step) if stored else 0
    rows = {name: values[first:] for name, values in stored.items()}
    return rows if any(map(len, rows.values())) else {}
