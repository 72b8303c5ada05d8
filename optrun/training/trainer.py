"""The trainer: consumes the steps of a pack, records and stops them, and commits what resuming needs."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, ValidationError

from optrun.arrays import Array, one_blas_thread
from optrun.errors import RunFailedError, StateError
from optrun.store import Checkpoint, RunState, Status
from optrun.training.evaluator import Evaluator
from optrun.training.pack import Pack, PackState
from optrun.training.recorder import Recorder
from optrun.training.stopping import Stopping, StoppingState

REPORT_SECONDS = 0.1


class Sink(Protocol):
    """Where results go: a store, or memory."""

    @property
    def resumable(self) -> bool:
        """Whether a checkpoint that was committed can be read back."""
        ...

    def commit(
        self,
        *,
        curves: Mapping[int, Mapping[str, Array]],
        evaluations: Mapping[int, Mapping[str, Array]],
        states: Mapping[int, RunState],
        params: Mapping[int, Mapping[str, Array]],
        checkpoints: Mapping[int, Checkpoint | None],
    ) -> None:
        """Keep, all or nothing, what was recorded since the last commit."""


@dataclass(frozen=True)
class Progress:
    """How far a pack is; the loss, the rate, the evaluation and the rows are those of the first lane."""

    step: int
    steps: int
    loss: float
    lr: float
    alive: int
    seconds: float
    """Time spent, before an interruption too."""
    evaluation: tuple[int, Mapping[str, float]] | None
    """The last one and its step."""
    rows: Callable[[], Mapping[str, Array]]
    """Returns the columns ``[n]`` recorded since the last commit, as views that the next step may change.

    There is a call before every commit, so that one who looks at every call misses none.
    """


class Trainer:
    """Runs a pack to its end and commits its results to a sink.

    A checkpoint holds the state before a step, and is committed together with the rows of all steps before it.
    ``interrupted`` is asked at every step; where it says yes, the pack is checkpointed and left.
    """

    def __init__(
        self,
        pack: Pack,
        sink: Sink,
        *,
        observe: Callable[[Progress], None] | None = None,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.pack = pack
        config = pack.configs[0]
        self._sink = sink
        self._observe = observe
        self._onlooker_error: Exception | None = None
        self._interrupted = interrupted
        self._recorder = Recorder(pack)
        self._stopping = Stopping(config.stop, pack.lanes)
        self._evaluate_every = config.evaluate.every
        self._evaluations: list[tuple[int, dict[str, Array]]] = []
        self._last_evaluation: tuple[int, dict[str, Array]] | None = None
        every = config.checkpoint.every
        self._checkpoint_steps = every if isinstance(every, int) else None
        self._checkpoint_seconds = math.inf if every is None or isinstance(every, int) else every.seconds
        self._time_limit = math.inf if config.stop.time is None else config.stop.time.seconds
        self._start = self._step = 0
        self._spent = 0.0
        self._ends: dict[int, _End] = {}
        self._evaluator = Evaluator(pack)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same config, a pack of one lane; StateError where it does not fit."""
        try:
            meta = _Meta.model_validate(checkpoint.meta)
        except ValidationError as error:
            raise StateError(f"the checkpoint is damaged: {error.errors()[0]['msg']}") from None
        lanes, steps = self.pack.lanes, self.pack.steps
        if not (meta.step < steps and len(meta.stopping.best) == len(meta.stopping.best_at) == lanes):
            raise StateError(
                f"the checkpoint at step {meta.step} is not one of {lanes} lanes and {steps} steps"
            )
        self.pack.load_state(checkpoint.arrays, meta.pack)
        self._stopping.load_state(meta.stopping)
        self._start, self._spent = meta.step, meta.seconds

    def run(self) -> None:
        """Run every lane to its end, or all of them until an interruption.

        Raises RunFailedError, after what was recorded is committed, where a problem, an optimizer or a scheduler
        raises.
        """
        with one_blas_thread, np.errstate(all="ignore"):
            try:
                if self._take_steps():
                    self._finish()
            except OSError:
                raise  # the store's, or one that may pass: the last checkpoint stays
            except Exception as error:
                reason = f"{type(error).__name__}: {error} (after step {self._step})"
                self._fail(reason)
                raise RunFailedError(reason) from error
        if self._onlooker_error is not None:
            raise self._onlooker_error

    def _take_steps(self) -> bool:
        """Take the steps; return whether all lanes have come to their end."""
        began = last_checkpoint = time.monotonic()
        next_report = began
        for t, device_loss in self.pack.iterate(self._start):
            self._step = t
            loss = self.pack.arrays.to_host(device_loss)
            now = time.monotonic()
            seconds = self._spent + now - began
            if self._interrupted() or self._onlooker_error is not None:
                self._commit(t, seconds, Status.INTERRUPTED)
                return False
            if self._is_checkpoint_due(t, now - last_checkpoint):
                self._report(t, loss, seconds)
                self._commit(t, seconds, Status.RUNNING)
                last_checkpoint = now
            if t % self._recorder.every == 0:
                self._recorder.record(t, loss)
            if self._evaluate_every and t % self._evaluate_every == 0:
                self._last_evaluation = t, self._evaluator.now()
                self._evaluations.append(self._last_evaluation)
            ended = len(self._ends)
            for lane, status, reason in self._stopping.check(t, loss):
                self._end(lane, t, status, reason)
            if seconds > self._time_limit:
                for lane in self._living():
                    self._end(lane, t, Status.TIMED_OUT, f"out of time at step {t}")
            if now >= next_report:
                self._report(t, loss, seconds)
                next_report = now + REPORT_SECONDS
            if len(self._ends) > ended and not self._stopping.alive.any():
                break
        return True

    def _is_checkpoint_due(self, t: int, seconds: float) -> bool:
        by_steps = self._checkpoint_steps is not None and t % self._checkpoint_steps == 0 and t > self._start
        return by_steps or seconds >= self._checkpoint_seconds or self._recorder.full

    def _living(self) -> list[int]:
        return [int(lane) for lane in np.flatnonzero(self._stopping.alive)]

    def _end(self, lane: int, t: int, status: Status, reason: str) -> None:
        self._ends[lane] = _End(t, status, reason)
        self._recorder.end(lane)
        self._stopping.end(lane)
        self._evaluator.keep([lane], others_go_on=bool(self._stopping.alive.any()))

    def _commit(self, t: int, seconds: float, status: Status) -> None:
        self._sink.commit(
            curves=self._recorder.take(),
            evaluations=self._taken_evaluations(),
            states={lane: RunState(status=status, steps=t) for lane in self._living()},
            params={},
            checkpoints={0: self._checkpoint(t, seconds)} if self._sink.resumable else {},
        )

    def _checkpoint(self, t: int, seconds: float) -> Checkpoint:
        arrays, pack = self.pack.state()
        meta = _Meta(step=t, seconds=seconds, pack=pack, stopping=self._stopping.state())
        return Checkpoint(arrays, meta.model_dump())

    def _finish(self) -> None:
        living = self._living()
        self._evaluator.keep(living, others_go_on=False)
        for lane in living:
            self._ends[lane] = _End(self.pack.steps, Status.COMPLETED, "")
        metrics = self._evaluator.final()
        states = {lane: self._state(lane, end, metrics) for lane, end in sorted(self._ends.items())}
        self._sink.commit(
            curves=self._recorder.take(),
            evaluations=self._taken_evaluations(metrics),
            states=states,
            params={lane: self._evaluator.params(lane) for lane in states},
            checkpoints={0: None},
        )

    def _fail(self, reason: str) -> None:
        for lane in self._living():
            self._end(lane, self._step, Status.FAILED, reason)
        self._sink.commit(
            curves=self._recorder.take(),
            evaluations=self._taken_evaluations(),
            states={
                lane: RunState(status=end.status, reason=end.reason, steps=end.step)
                for lane, end in self._ends.items()
            },
            params={},
            checkpoints={0: None},
        )

    def _state(self, lane: int, end: "_End", metrics: Mapping[str, Array]) -> RunState:
        loss = float(metrics["loss"][lane])
        status, reason = end.status, end.reason
        target = self.pack.configs[lane].stop.target
        if status is Status.COMPLETED and not math.isfinite(loss):
            status, reason = Status.DIVERGED, f"loss is {loss:g} after step {end.step - 1}"
        elif status is Status.COMPLETED and target is not None and loss <= target:
            status, reason = Status.TARGET_REACHED, f"loss is {loss:g} after the last step"
        figures = self._evaluator.figures(lane, metrics)
        summary = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        return RunState(status=status, reason=reason, steps=end.step, summary=summary)

    def _taken_evaluations(self, final: Mapping[str, Array] | None = None) -> dict[int, dict[str, Array]]:
        """Return each lane's evaluations since the last time, up to its end, and forget them."""
        taken: dict[int, dict[str, Array]] = {}
        if final is None and not self._evaluations:
            return taken
        for lane in range(self.pack.lanes):
            end = self._ends.get(lane)
            rows: list[tuple[int, Mapping[str, Array]]] = [
                (t, of) for t, of in self._evaluations if end is None or t <= end.step
            ]
            if final is not None and end is not None and not self._was_evaluated_at(end.step):
                rows.append((end.step, final))
            if rows:
                columns = {
                    name: np.array([of[name][lane] for _, of in rows], np.float64) for name in rows[0][1]
                }
                taken[lane] = {"step": np.array([t for t, _ in rows], np.int64), **columns}
        self._evaluations.clear()
        return taken

    def _was_evaluated_at(self, step: int) -> bool:
        return (
            bool(self._evaluate_every) and step < self.pack.steps and step % (self._evaluate_every or 1) == 0
        )

    def _report(self, t: int, loss: Array, seconds: float) -> None:
        if self._observe is None:
            return
        lr = float(np.ravel(self.pack.optimizer.param_groups[0]["lr"])[0])
        alive = int(self._stopping.alive.sum())
        evaluation = None
        if self._last_evaluation is not None:
            at, metrics = self._last_evaluation
            evaluation = at, {name: float(of[0]) for name, of in metrics.items()}
        rows = partial(self._recorder.rows, 0)
        progress = Progress(t, self.pack.steps, float(loss[0]), lr, alive, seconds, evaluation, rows)
        try:
            self._observe(progress)
        except Exception as error:
            # Whoever looks on must not cost the run: it is checkpointed at the next step, then the error goes on.
            self._observe, self._onlooker_error = None, error


class _Meta(BaseModel):
    """What a checkpoint holds beside arrays."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    step: NonNegativeInt
    seconds: NonNegativeFloat
    pack: PackState
    stopping: StoppingState


@dataclass(frozen=True)
class _End:
    step: int
    status: Status
    reason: str
