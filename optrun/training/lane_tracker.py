"""Per-lane bookkeeping during training: recording, evaluation, early stopping."""

from collections.abc import Mapping, Sequence

import numpy as np

from optrun.arrays import Array
from optrun.errors import StateError, counted
from optrun.fallbacks import Fallback
from optrun.store import Status
from optrun.training.best_parameters import BestParameters
from optrun.training.checkpoints import Meta, select_arrays
from optrun.training.device_losses import DeviceLosses
from optrun.training.evaluations import Evaluations
from optrun.training.evaluator import Evaluator
from optrun.training.lane_results import LaneResults
from optrun.training.leaps import leaps_of
from optrun.training.pack import Pack
from optrun.training.recorder import Recorder
from optrun.training.sink import Sink
from optrun.training.snapshots import SnapshotBuffer
from optrun.training.stopping import Stopping, StoppingState


class LaneTracker:
    """Observes the steps of a pack; what comes of its lanes is in its results, until they are committed.

    ``runs`` are the sink's run numbers of the lanes, by default 0 … B-1.
    """

    def __init__(self, pack: Pack, runs: Array | None = None) -> None:
        config = pack.configs[0]
        self.pack = pack
        self.runs = np.arange(pack.lanes) if runs is None else runs
        self.recorder = Recorder(pack)
        self._snapshots = SnapshotBuffer(pack)
        self.evaluations = Evaluations(pack.lanes, pack.steps, config.evaluate.every)
        self._stopping = Stopping(config.stop, pack.lanes)
        self._evaluator = Evaluator(pack)
        self._best = BestParameters(pack) if config.stop.restore_best else None
        self._leaps = leaps_of(pack)
        is_asynchronous = pack.is_asynchronous and self._leaps is None
        self._device_losses = DeviceLosses(pack, config.stop) if is_asynchronous else None
        self.results = LaneResults(
            pack,
            self.runs,
            self.recorder,
            self._snapshots,
            self.evaluations,
            self._evaluator,
            self._stopping,
            self._best,
            is_alone=pack.lanes == 1,
        )

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
        self.results.is_alone = meta.alone

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

    @property
    def may_leap(self) -> bool:
        """Whether steps can be made many at once; then those between them are synchronous."""
        return self._leaps is not None

    def makes_leaps(self, t: int) -> bool:
        """Whether steps from t on are to be made at once, for which the pack is then ready."""
        return self._leaps is not None and self._leaps.is_worth(self.pack.steps - t)

    def next_due(self, t: int, stop: int) -> int:
        """Return the first step from t on that has to be observed, at most ``stop``; t where each has to be."""
        if not self.makes_leaps(t):
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
            self._snapshots.add(t, self.results.running.tolist())
        self._check_stopping(t, loss)
        if observed is not None:
            ending = list(self._stopping.check_figures(t, observed))
            if self._best is not None:
                self._best.keep(np.flatnonzero(self._stopping.improved).tolist())
            for lane, status, reason in ending:
                self._end(lane, t, status, reason)

    def end(self, t: int, status: Status, reason: str) -> None:
        """End all running lanes at step t."""
        running = self.results.running
        self._end_lanes(running, t, status, reason)
        if len(running):
            self._evaluator.snapshot(running, others_continue=False)

    def narrowed(self) -> "LaneTracker":
        """Return the running lanes in a pack of their own; everything must have been committed."""
        running = self.results.running.tolist()
        narrowed = LaneTracker(self.pack.narrowed(running), self.runs[running])
        narrowed._load_stopping(self._stopping.state().select(running))
        narrowed.results.is_alone = False
        if self._best is not None and narrowed._best is not None:
            narrowed._best.load_state(select_arrays(self._best.state(), running))
        return narrowed

    def fail(self, sink: Sink, t: int, reason: str) -> None:
        """End all lanes whose end is not committed as failed, and commit what was recorded."""
        if self._device_losses is not None:
            with Fallback("the device does not return the losses of its last steps", Exception):
                self._observe_deferred()
        self._end_lanes(self.results.running, t, Status.FAILED, reason)
        self.results.commit_failed(sink, reason)

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

    def _end_lanes(self, lanes: Sequence[int] | Array, t: int, status: Status, reason: str) -> None:
        self.results.end(lanes, t, status, reason)
        self.recorder.end(lanes, t)
        self._stopping.end(lanes)
