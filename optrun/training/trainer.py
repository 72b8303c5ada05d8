"""The trainer: runs the steps of a pack; decides when to commit, to narrow the pack and to stop."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from optrun.arrays import Array, one_blas_thread
from optrun.errors import MissingExtraError, RunFailedError
from optrun.frames import roomy
from optrun.kernels.denormals import denormals
from optrun.plugin_code import guarded, is_ctrl_c, output_of_caller, output_on_stderr, reason_of, traceback_of
from optrun.store import Checkpoint, Status
from optrun.training.checkpoints import join_checkpoints
from optrun.training.lane_tracker import LaneTracker
from optrun.training.pack import Pack
from optrun.training.sink import Sink

REPORT_SECONDS = 0.1


@dataclass(frozen=True)
class Progress:
    """The progress of a pack; loss, lr, evaluation and rows are those of the first remaining lane."""

    step: int
    steps: int
    loss: float
    lr: float
    alive: int
    seconds: float
    """Run time, including the time before an interruption."""
    evaluation: tuple[int, Mapping[str, float]] | None
    """The last evaluation: its step and its metrics."""
    rows: Callable[[], Mapping[str, Array]]
    """Returns the columns ``[n]`` recorded since the last commit, as views that the next step may change.

    It is reported before every commit, so an observer that reads it every time sees every row.
    """


class Trainer:
    """Runs a pack to its end and commits its results to a sink.

    A checkpoint holds the state before a step, and is committed with the rows of all earlier steps. ``interrupted`` is
    called at every step, or on a device at every synchronisation; if it returns true, the lanes are checkpointed and
    the run stops. The run also stops before step ``until``: then the lanes are evaluated and checkpointed, whatever
    the sink, and stay running. With ``pauses`` it stops likewise, but without an evaluation, at an interruption and
    whenever a checkpoint is due, at the latest after ``pause_seconds``. When half of the lanes have ended, the pack is
    narrowed to the others.
    """

    def __init__(
        self,
        pack: Pack,
        sink: Sink,
        *,
        observe: Callable[[Progress], None] | None = None,
        interrupted: Callable[[], bool] = lambda: False,
        until: int | None = None,
        pauses: bool = False,
        pause_seconds: float = math.inf,
    ) -> None:
        config = pack.configs[0]
        self._lanes = LaneTracker(pack)
        self._sink = _GuardedSink(sink)
        self._observe = observe
        self._observer_error: BaseException | None = None
        self._interrupted = interrupted
        self._steps = pack.steps
        self._stop = pack.steps if until is None else min(until, pack.steps)
        every = config.checkpoint.every
        self._checkpoint_steps = every if isinstance(every, int) else None
        seconds = math.inf if every is None or isinstance(every, int) else every.seconds
        self._checkpoint_seconds = seconds if every is None else min(seconds, pause_seconds)
        self._pauses = pauses
        self._pauses_when_due = pauses and every is not None
        self._time_limit = math.inf if config.stop.time is None else config.stop.time.seconds
        self._start = self._step = 0
        self._spent = 0.0
        self._began = self._saved = self._synced = time.monotonic()

    def resume(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Resume from one checkpoint per lane, all of the same step; StateError if they do not fit."""
        arrays, meta = join_checkpoints(checkpoints, self._lanes.pack.configs)
        pack = self._lanes.pack
        with guarded(pack.configs[0].optimizer.name, type(pack.optimizer)):
            self._lanes.load(arrays, meta)
        self._start = self._step = meta.step
        self._spent = meta.seconds

    @property
    def step(self) -> int:
        """The last step whose loss was computed."""
        return self._step

    @roomy
    def run(self) -> None:
        """Run all lanes to their end, or until an interruption.

        Raises RunFailedError, after committing what was recorded, for any exception of a problem, an optimizer or a
        scheduler. Exceptions of the sink, of the observer and of a real Ctrl-C are raised unchanged.
        """
        with one_blas_thread, denormals(flushed=True), np.errstate(all="ignore"), output_on_stderr():
            try:
                self._take_steps()
            except MissingExtraError:
                raise  # not the fault of a run, and it may pass: the last checkpoint stays
            except BaseException as error:
                if error is self._sink.error or error is self._observer_error or is_ctrl_c(error):
                    raise
                reason = reason_of(error, f"after step {self._step}")
                self._lanes.fail(self._sink, self._step, reason)
                raise RunFailedError(reason, traceback=traceback_of(error)) from error
        if self._observer_error is not None:
            raise self._observer_error

    def _take_steps(self) -> None:
        self._began = self._saved = self._synced = next_report = time.monotonic()
        for t, device_loss in self._iterate():
            loss = self._lanes.sync(t, device_loss)
            now = self._synced = time.monotonic()
            if self._interrupted() or self._observer_error is not None:
                self._commit(t, Status.RUNNING if self._pauses else Status.INTERRUPTED, pausing=self._pauses)
                return
            if self._is_checkpoint_due(t, now - self._saved):
                pausing = self._pauses_when_due and t > self._start
                self._report(t, loss)
                self._commit(t, Status.RUNNING, pausing=pausing)
                if pausing:
                    return
            self._lanes.observe_step(t, loss)
            if self._seconds(now) > self._time_limit:
                self._lanes.end(t, Status.TIMED_OUT, f"out of time at step {t}")
            if now >= next_report:
                self._report(t, loss)
                next_report = now + REPORT_SECONDS
            if not self._lanes.alive:
                break
        pausing = self._lanes.alive > 0 and self._stop < self._steps
        if not pausing:
            self._lanes.end(self._steps, Status.COMPLETED, "")
        self._commit(max(self._start, self._stop), Status.RUNNING, pausing=pausing, evaluating=pausing)

    def _iterate(self) -> Iterator[tuple[int, Array]]:
        """Yield each step whose loss the host needs, and that loss; narrow the pack when enough lanes have ended."""
        start: int | None = self._start
        while start is not None:
            # Asked before the first step, whose coefficients are then prepared with those of the next ones.
            self._lanes.makes_leaps(start)
            leap = self._leap if self._lanes.may_leap else None
            steps, start = self._lanes.pack.iterate(start, self._stop, leap), None
            for t, loss in steps:
                self._step = t
                if self._lanes.is_sparse and t % self._lanes.sync_every == 0:
                    self._report(t, self._lanes.pack.arrays.to_host(loss))
                    self._commit(t, Status.RUNNING)
                    self._lanes, start = self._lanes.narrowed(), t
                    break
                if self._lanes.needs_sync(t) or self._needs_sync(t):
                    yield t, loss
                else:
                    self._lanes.defer_step(t, loss)

    def _leap(self, t: int) -> int:
        """Make steps from t on that nothing but the recorder observes; return the step to go on with."""
        end = self._lanes.next_due(t, self._stop - 1)
        if (every := self._checkpoint_steps) is not None:
            end = min(end, t + -t % every)
        while t < end and self._lanes.alive and not self._lanes.is_sparse:
            steps = self._lanes.leap(t, end - t)
            t += steps
            self._step = t - 1
            self._lanes.pack.advance(steps)
            if time.monotonic() - self._synced >= REPORT_SECONDS:
                break
        return t

    def _needs_sync(self, t: int) -> bool:
        return (
            t + 1 == self._stop
            or self._is_checkpoint_step(t)
            or time.monotonic() - self._synced >= REPORT_SECONDS
        )

    def _is_checkpoint_step(self, t: int) -> bool:
        return self._checkpoint_steps is not None and t % self._checkpoint_steps == 0 and t > self._start

    def _is_checkpoint_due(self, t: int, seconds: float) -> bool:
        return self._is_checkpoint_step(t) or seconds >= self._checkpoint_seconds or self._lanes.is_full

    def _commit(self, t: int, status: Status, *, pausing: bool = False, evaluating: bool = False) -> None:
        now = time.monotonic()
        seconds = self._seconds(now)
        self._lanes.results.commit(self._sink, t, seconds, status, pausing=pausing, evaluating=evaluating)
        self._saved = now

    def _seconds(self, now: float) -> float:
        return self._spent + now - self._began

    def _report(self, t: int, loss: Array) -> None:
        if self._observe is None:
            return
        lanes = self._lanes
        lr = float(np.ravel(lanes.pack.optimizer.param_groups[0]["lr"])[0])
        evaluation = None
        if lanes.evaluations.last is not None:
            at, metrics = lanes.evaluations.last
            evaluation = at, {name: float(of[0]) for name, of in metrics.items()}
        rows = partial(lanes.recorder.rows, 0)
        seconds = self._seconds(time.monotonic())
        progress = Progress(t, self._steps, float(loss[0]), lr, lanes.alive, seconds, evaluation, rows)
        try:
            with output_of_caller(), denormals(flushed=False):
                self._observe(progress)
        except BaseException as error:
            self._observe, self._observer_error = None, error
            # An observer's error must not lose the run: it is raised after a checkpoint at the next step.
            if not isinstance(error, Exception):
                raise


class _GuardedSink:
    """A sink that remembers its exception, to tell it from those of users' code, and keeps denormal numbers."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.error: BaseException | None = None

    @property
    def resumable(self) -> bool:
        return self._sink.resumable

    def commit(self, **results: Any) -> None:
        try:
            with denormals(flushed=False):  # otherwise Python would write an option of 1e-310 as 0.0
                self._sink.commit(**results)
        except BaseException as error:
            self.error = error
            raise
