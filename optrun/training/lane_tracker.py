"""Per-lane bookkeeping during training: recording, early stopping, what to commit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optrun.arrays import Array
from optrun.errors import StateError, counted
from optrun.fallbacks import Fallback
from optrun.kernels.denormals import denormals
from optrun.store import Checkpoint, RunState, Status
from optrun.store.types import RESTORED
from optrun.training.best_parameters import BestParameters
from optrun.training.checkpoints import Meta, checkpoint_of, select_arrays
from optrun.training.device_losses import DeviceLosses
from optrun.training.evaluations import Evaluations
from optrun.training.evaluator import Evaluator
from optrun.training.leaps import leaps_of
from optrun.training.pack import Pack
from optrun.training.recorder import Recorder
from optrun.training.sink import EndsSink, Sink
from optrun.training.snapshots import SnapshotBuffer
from optrun.training.stopping import Stopping, StoppingState


@dataclass(frozen=True)
class _LaneEnd:
    step: int
    status: Status
    reason: str


class LaneTracker:
    """A pack with the rows, the evaluations and the ended lanes that are not yet committed.

    ``runs`` are the sink's run numbers of the lanes, by default 0 … B-1.
    """

    def __init__(self, pack: Pack, runs: Sequence[int] | None = None) -> None:
        config = pack.configs[0]
        self.pack = pack
        self.runs = range(pack.lanes) if runs is None else runs
        self.recorder = Recorder(pack)
        self._snapshots = SnapshotBuffer(pack)
        self.evaluations = Evaluations(pack.lanes, pack.steps, config.evaluate.every)
        self._stopping = Stopping(config.stop, pack.lanes)
        self._is_alone = pack.lanes == 1
        """Whether the pack has had one lane all the time, whose time is its own."""
        self._keeps_end = config.checkpoint.every is not None
        """Whether a completed run keeps a checkpoint, from which it can be prolonged."""
        self._evaluator = Evaluator(pack)
        self._best = BestParameters(pack) if config.stop.restore_best else None
        self._device_losses = DeviceLosses(pack, config.stop) if pack.is_asynchronous else None
        self._leaps = leaps_of(pack)
        self._ends: dict[int, _LaneEnd] = {}

    @property
    def alive(self) -> int:
        """The number of lanes that have not ended."""
        return self._stopping.running

    @property
    def is_sparse(self) -> bool:
        """Whether so many lanes have ended that a narrower pack is faster."""
        return 0 < 2 * self.alive <= self.pack.lanes

    def load(self, arrays: Mapping[str, Array], meta: Meta) -> None:
        """Restore a state of as many lanes; StateError if it does not fit."""
        lanes, steps = self.pack.lanes, self.pack.steps
        if not (meta.step < steps and len(meta.stopping.best) == lanes):
            raise StateError(
                f"the checkpoint at step {meta.step} does not fit "
                f"{counted(lanes, 'lane')} and {counted(steps, 'step')}"
            )
        self.pack.load_state(arrays if self._best is None else self._best.load_state(arrays), meta.pack)
        self._load_stopping(meta.stopping)
        self._is_alone = meta.alone

    @property
    def sync_every(self) -> int:
        """The number of steps between two synchronisations of the host with the device."""
        return 1 if self._device_losses is None else self._device_losses.steps

    def needs_sync(self, t: int) -> bool:
        """Whether the host needs the loss of step t; on a device most steps are asynchronous."""
        if self._device_losses is None:
            return True
        is_due = self.evaluations.is_due(t) or self._snapshots.is_due(t)
        return is_due or self._device_losses.is_full(t) or self.is_full

    @property
    def is_full(self) -> bool:
        """Whether rows or snapshots need a commit."""
        return self.recorder.full or self._snapshots.full

    def defer_step(self, t: int, loss: Array) -> None:
        """Leave step t on the device; the next `sync` observes it."""
        if self._device_losses is not None:
            self._store_loss(t, loss)
        if t % self.recorder.every == 0:
            self.recorder.record(t, loss)

    def next_due(self, t: int, stop: int) -> int:
        """Return the first step from t on that has to be observed, at most ``stop``; t where each has to be."""
        if self._leaps is None or not self._leaps.is_worth(self.pack.steps - t):
            return t
        room = t + -t % self.recorder.every + self.recorder.room * self.recorder.every
        return min(room, self.evaluations.next_due(t, stop), self._snapshots.next_due(t, stop))

    def leap(self, t: int, most: int) -> int:
        """Make the steps from t on, at most so many, of which none has to be observed; return how many."""
        assert self._leaps is not None
        stopping, recorder = self._stopping, self.recorder
        bounds = stopping.limits, stopping.target, stopping.alive
        made = self._leaps.make(t, most, recorder.every, recorder.coming, *bounds)
        steps = range(t + made.recorded.start, t + made.recorded.stop, recorder.every)
        recorder.record_many(steps, made.recorded.start)
        for lane, end in made.ended:
            self._end_lanes([lane], end, *stopping.verdict(lane, end, float(made.last[lane])))
        if made.ended:
            self._evaluator.snapshot_of([lane for lane, _ in made.ended], made.final)
        return made.steps

    def sync(self, t: int, loss: Array) -> Array:
        """Observe the steps left on the device, and return the loss of step t on the host."""
        if self._device_losses is None:
            return self.pack.arrays.to_host(loss)
        self._store_loss(t, loss)
        return self._observe_deferred(t)

    def observe_step(self, t: int, loss: Array) -> None:
        """Evaluate and record step t, keep its parameters, check the stopping criteria; call before the update."""
        observed: Mapping[str, Array] | None = None
        if self.evaluations.is_due(t):
            loss = loss.copy()  # an evaluation may overwrite the buffer
            figures = self._evaluator.current()
            self.evaluations.add(t, figures)
            observed = self._evaluator.existing(figures)
            self.pack.observe_evaluation(observed)
        # After the schedules have observed the evaluation: the update uses their values.
        if t % self.recorder.every == 0:
            self.recorder.record(t, loss)
        if self._snapshots.is_due(t):
            self._snapshots.add(t, self._running_lanes())
        self._check_stopping(t, loss)
        if observed is not None:
            ending = list(self._stopping.check_figures(t, observed))
            if self._best is not None:
                self._best.keep(np.flatnonzero(self._stopping.improved).tolist())
            for lane, status, reason in ending:
                self._end(lane, t, status, reason)

    def end(self, t: int, status: Status, reason: str) -> None:
        """End all running lanes at step t."""
        running = self._running_lanes()
        self._end_lanes(running, t, status, reason)
        if running:
            self._evaluator.snapshot(running, others_continue=False)

    def narrowed(self) -> "LaneTracker":
        """Return the running lanes in a pack of their own; everything must have been committed."""
        running = self._running_lanes()
        narrowed = LaneTracker(self.pack.narrowed(running), [self.runs[lane] for lane in running])
        narrowed._load_stopping(self._stopping.state().select(running))
        narrowed._is_alone = False
        if self._best is not None and narrowed._best is not None:
            narrowed._best.load_state(select_arrays(self._best.state(), running))
        return narrowed

    def commit(
        self,
        sink: Sink,
        t: int,
        seconds: float,
        status: Status,
        *,
        pausing: bool = False,
        evaluating: bool = False,
    ) -> None:
        """Commit everything since the last commit: the results of ended lanes, and a checkpoint of the others.

        With ``pausing`` the others are checkpointed even if the sink is not resumable; with ``evaluating`` they are
        also evaluated, and their parameters are kept.
        """
        running = self._running_lanes()
        if evaluating:
            self._evaluator.snapshot(running, others_continue=False)
        ended = sorted(self._ends)
        final = self._evaluator.final(sorted([*ended, *running]) if evaluating else ended)
        summaries = {lane: self._evaluator.summary(lane, metrics) for lane, metrics in final.items()}
        own = seconds if self._is_alone else None
        states = {lane: self._state(lane, final[lane], summaries[lane], own) for lane in ended}
        if self._best is not None:
            states |= self._restored(self._best, {lane: states[lane] for lane in ended}, final)
        states |= dict.fromkeys(running, RunState(status=status, steps=t, summary={}))
        for lane in summaries.keys() & running if evaluating else ():
            states[lane] = RunState(status=status, steps=t, summary=summaries[lane])
        going = running if pausing or sink.resumable else []
        if sink.resumable and self._keeps_end:
            going = [*going, *(lane for lane in ended if states[lane].status is Status.COMPLETED)]
        self._commit(
            sink,
            states,
            final={lane: final[lane] for lane in ended},
            params=self._evaluator.params(final),
            checkpoints=self._checkpoints(t, seconds, going) if going else {},
        )

    def commit_ends(self, sink: EndsSink) -> None:
        """Commit, as columns, no more than how lanes have ended, their final figures and their parameters."""
        lanes = sorted(self._ends)
        if not lanes:
            return
        ends = [self._ends[lane] for lane in lanes]
        figures, statuses = self._evaluator.final_columns(lanes), [end.status for end in ends]
        for row in np.flatnonzero(self._stopping.may_end(lanes, figures)).tolist():
            if statuses[row] is Status.COMPLETED:
                final = {name: float(values[row]) for name, values in figures.items()}
                statuses[row], _ = self._stopping.final_status(lanes[row], final, ends[row].step)
        runs = np.array(self.runs)[lanes]
        steps, params = np.array([end.step for end in ends]), self._evaluator.final_params(lanes)
        sink.end(runs, statuses, steps, figures, params)
        self._ends.clear()

    def _restored(
        self, best: BestParameters, states: Mapping[int, RunState], final: Mapping[int, Mapping[str, float]]
    ) -> dict[int, RunState]:
        """Give lanes that have ended well the parameters of their best evaluation; return the states of these lanes.

        The evaluations keep what was measured at the end.
        """
        steps = {
            lane: step
            for lane, state in states.items()
            if not state.is_bad
            and (step := self._stopping.best_step(lane, final[lane], state.steps)) is not None
        }
        if not steps:
            return {}
        self._evaluator.restore(list(steps), best)
        figures = self._evaluator.final(list(steps))
        return {
            lane: replace(
                states[lane],
                summary=self._evaluator.summary(lane, figures[lane]),
                reason="; ".join(filter(None, [states[lane].reason, f"{RESTORED}{step}"])),
            )
            for lane, step in steps.items()
        }

    def fail(self, sink: Sink, t: int, reason: str) -> None:
        """End all lanes whose end is not committed as failed, and commit what was recorded.

        Nothing is evaluated: the evaluation may be what fails, and a failed lane must not have final metrics.
        """
        if self._device_losses is not None:
            with Fallback("the device does not return the losses of its last steps", Exception):
                self._observe_deferred()
        self._end_lanes(self._running_lanes(), t, Status.FAILED, reason)
        states = {
            lane: RunState(status=Status.FAILED, reason=reason, steps=end.step)
            for lane, end in self._ends.items()
        }
        self._commit(sink, states)

    def _running_lanes(self) -> list[int]:
        return [int(lane) for lane in np.flatnonzero(self._stopping.alive)]

    def _load_stopping(self, state: StoppingState) -> None:
        self._stopping.load_state(state)
        if self._device_losses is not None:
            self._device_losses.load(state)

    def _observe_deferred(self, now: int | None = None) -> Array:
        """Check the steps left on the device, except the current one; return the losses of the last one."""
        assert self._device_losses is not None
        losses = np.empty(0)
        for t, losses, has_average in self._device_losses.fetch():
            if t != now:
                self._check_stopping(t, losses, has_average)
        return losses

    def _store_loss(self, t: int, loss: Array) -> None:
        assert self._device_losses is not None
        self._evaluator.snapshot_where(self._device_losses.store(t, loss, self.pack.averaged() is not None))

    def _check_stopping(self, t: int, loss: Array, has_average: bool | None = None) -> None:
        """End the lanes that stop at step t; ``has_average`` tells whether an average existed at step t, if not now."""
        for lane, status, reason in self._stopping.check(t, loss):
            if self._device_losses is None:
                self._end(lane, t, status, reason)
                continue
            had = self.pack.averaged() is not None if has_average is None else has_average
            self._evaluator.confirm_snapshot(lane, with_average=had)
            self._end_lanes([lane], t, status, reason)

    def _end(self, lane: int, t: int, status: Status, reason: str) -> None:
        self._end_lanes([lane], t, status, reason)
        self._evaluator.snapshot([lane], others_continue=bool(self._stopping.alive.any()))

    def _end_lanes(self, lanes: Sequence[int], t: int, status: Status, reason: str) -> None:
        self._ends.update(dict.fromkeys(lanes, _LaneEnd(t, status, reason)))
        self.recorder.end(lanes, t)
        self._stopping.end(lanes)

    def _commit(
        self,
        sink: Sink,
        states: Mapping[int, RunState],
        *,
        final: Mapping[int, Mapping[str, float]] | None = None,
        params: Mapping[int, Mapping[str, Array]] | None = None,
        checkpoints: Mapping[int, Checkpoint | None] | None = None,
    ) -> None:
        runs = self.runs
        evaluations = self.evaluations.take({lane: end.step for lane, end in self._ends.items()}, final or {})
        sink.commit(
            curves=self.recorder.take(runs),
            evaluations={runs[lane]: rows for lane, rows in evaluations.items()},
            states={runs[lane]: state for lane, state in sorted(states.items())},
            params={runs[lane]: values for lane, values in (params or {}).items()},
            snapshots={runs[lane]: taken for lane, taken in self._snapshots.take().items()},
            checkpoints={runs[lane]: None for lane in self._ends}
            | {runs[lane]: each for lane, each in (checkpoints or {}).items()},
        )
        self._ends.clear()

    def _checkpoints(self, t: int, seconds: float, lanes: Iterable[int]) -> dict[int, Checkpoint]:
        arrays, pack = self.pack.state()
        arrays |= {} if self._best is None else self._best.state()
        stopping = self._stopping.state()
        meta = Meta(step=t, seconds=seconds, alone=self._is_alone, pack=pack, stopping=stopping)
        configs = self.pack.configs
        with denormals(flushed=False):  # Python would write an option of 1e-310 as 0.0
            return {lane: checkpoint_of(lane, configs[lane], arrays, meta) for lane in lanes}

    def _state(
        self,
        lane: int,
        final: Mapping[str, float],
        summary: Mapping[str, float | None],
        seconds: float | None,
    ) -> RunState:
        end = self._ends[lane]
        status, reason = end.status, end.reason
        if status is Status.COMPLETED:
            status, reason = self._stopping.final_status(lane, final, end.step)
        return RunState(status=status, reason=reason, steps=end.step, summary=summary, seconds=seconds)
