"""The lanes of a pack under way: what is recorded of each, where it has ended, and what of it is to be committed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optrun.arrays import Array
from optrun.errors import StateError, counted
from optrun.fallbacks import Fallback
from optrun.store import Checkpoint, RunState, Status
from optrun.training.checkpoints import Meta, checkpoint_of
from optrun.training.device_losses import Ahead
from optrun.training.evaluations import Evaluations
from optrun.training.evaluator import Evaluator
from optrun.training.pack import Pack
from optrun.training.recorder import Recorder
from optrun.training.sink import Sink
from optrun.training.stopping import Stopping, StoppingState


@dataclass(frozen=True)
class _End:
    step: int
    status: Status
    reason: str


class Lanes:
    """A pack with the rows, the evaluations and the ends of its lanes since the last commit.

    ``runs`` are the numbers of the lanes in the sink, by default those in the pack.
    """

    def __init__(self, pack: Pack, runs: Sequence[int] | None = None) -> None:
        config = pack.configs[0]
        self.pack = pack
        self.runs = range(pack.lanes) if runs is None else runs
        self.recorder = Recorder(pack)
        self.evaluations = Evaluations(pack.lanes, pack.steps, config.evaluate.every)
        self._stopping = Stopping(config.stop, pack.lanes)
        self._keeps_end = config.checkpoint.every is not None
        """Whether a run that completes keeps a checkpoint, from which it can go on with more steps."""
        self._evaluator = Evaluator(pack)
        self._ahead = Ahead(pack, config.stop) if pack.runs_ahead else None
        self._ends: dict[int, _End] = {}

    @property
    def alive(self) -> int:
        """How many lanes have not ended."""
        return self._stopping.living

    @property
    def is_sparse(self) -> bool:
        """Whether so many lanes have ended that the others are faster without them."""
        return 0 < 2 * self.alive <= self.pack.lanes

    def load(self, arrays: Mapping[str, Array], meta: Meta) -> None:
        """Go on from the state of as many lanes; StateError where it does not fit."""
        lanes, steps = self.pack.lanes, self.pack.steps
        if not (meta.step < steps and len(meta.stopping.best) == lanes):
            raise StateError(
                f"the checkpoint at step {meta.step} is not one of "
                f"{counted(lanes, 'lane')} and {counted(steps, 'step')}"
            )
        self.pack.load_state(arrays, meta.pack)
        self._watch_from(meta.stopping)

    @property
    def look_every(self) -> int:
        """Return from how many steps to the next the host looks at the losses."""
        return 1 if self._ahead is None else self._ahead.steps

    def is_looked_at(self, t: int) -> bool:
        """Whether what happens at step t needs the host, which lets the device run ahead elsewhere."""
        if self._ahead is None:
            return True
        return self._ahead.is_full(t) or self.recorder.full or self.evaluations.is_due(t)

    def pass_by(self, t: int, loss: Array) -> None:
        """Leave step t to the device: the host takes it in when it looks at a later one."""
        if self._ahead is not None:
            self._mark(t, loss)
        if t % self.recorder.every == 0:
            self.recorder.record(t, loss)

    def look(self, t: int, loss: Array) -> Array:
        """Take in the steps that were left to the device, and return the loss of step t on the host."""
        if self._ahead is None:
            return self.pack.arrays.to_host(loss)
        self._mark(t, loss)
        return self._take_in_passed(t)

    def take_in(self, t: int, loss: Array) -> None:
        """Record, evaluate and watch step t, before its update."""
        if t % self.recorder.every == 0:
            self.recorder.record(t, loss)
        self._watch(t, loss)
        # Last, since an evaluation may overwrite the loss.
        if self.evaluations.is_due(t):
            self.evaluations.add(t, self._evaluator.now())

    def end(self, t: int, status: Status, reason: str) -> None:
        """End all lanes that have not ended, at step t."""
        living = self._living()
        self._close(living, t, status, reason)
        if living:
            self._evaluator.keep(living, others_go_on=False)

    def narrowed(self) -> "Lanes":
        """Return the lanes that have not ended, in a pack of their own; everything has been committed."""
        living = self._living()
        narrowed = Lanes(self.pack.narrowed(living), [self.runs[lane] for lane in living])
        narrowed._watch_from(self._stopping.state().of(living))
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
        """Commit what there is since the last time: the results of lanes that have ended, a checkpoint of the others.

        ``pausing``, the others are checkpointed wherever the results go; ``evaluating``, they are evaluated too, and
        their parameters are kept.
        """
        living = self._living()
        if evaluating:
            self._evaluator.keep(living, others_go_on=False)
        ended = sorted(self._ends)
        final = self._evaluator.final(sorted([*ended, *living]) if evaluating else ended)
        summaries = {lane: self._evaluator.summary(lane, metrics) for lane, metrics in final.items()}
        states = {lane: self._state(lane, final[lane]["loss"], summaries[lane]) for lane in ended}
        states |= {lane: RunState(status=status, steps=t, summary=summaries.get(lane, {})) for lane in living}
        going = living if pausing or sink.resumable else []
        if sink.resumable and self._keeps_end:
            going = [*going, *(lane for lane in ended if states[lane].status is Status.COMPLETED)]
        self._commit(
            sink,
            states,
            final={lane: final[lane] for lane in ended},
            params=self._evaluator.params(final),
            checkpoints=self._checkpoints(t, seconds, going) if going else {},
        )

    def fail(self, sink: Sink, t: int, reason: str) -> None:
        """End as failed all lanes whose end is not committed, and commit what was recorded.

        Nothing is evaluated, for it may be what raises: no lane is to pass for one that has its final figures.
        """
        if self._ahead is not None:
            with Fallback("the device tells nothing of its last steps", Exception):
                self._take_in_passed()
        self._close(self._living(), t, Status.FAILED, reason)
        states = {
            lane: RunState(status=Status.FAILED, reason=reason, steps=end.step)
            for lane, end in self._ends.items()
        }
        self._commit(sink, states)

    def _living(self) -> list[int]:
        return [int(lane) for lane in np.flatnonzero(self._stopping.alive)]

    def _watch_from(self, state: StoppingState) -> None:
        self._stopping.load_state(state)
        if self._ahead is not None:
            self._ahead.load(state)

    def _take_in_passed(self, now: int | None = None) -> Array:
        """Watch the steps that were left to the device, but for that of now; return the losses of the last one."""
        assert self._ahead is not None
        losses = np.empty(0)
        for t, losses, has_average in self._ahead.fetched():
            if t != now:
                self._watch(t, losses, has_average)
        return losses

    def _mark(self, t: int, loss: Array) -> None:
        assert self._ahead is not None
        self._evaluator.keep_where(self._ahead.mark(t, loss, self.pack.averaged() is not None))

    def _watch(self, t: int, loss: Array, has_average: bool | None = None) -> None:
        """End the lanes that step t ends; ``has_average`` is what there was then, and not now, on a device."""
        for lane, status, reason in self._stopping.check(t, loss):
            if self._ahead is None:
                self._end(lane, t, status, reason)
                continue
            had = self.pack.averaged() is not None if has_average is None else has_average
            self._evaluator.was_kept(lane, with_average=had)
            self._close([lane], t, status, reason)

    def _end(self, lane: int, t: int, status: Status, reason: str) -> None:
        self._close([lane], t, status, reason)
        self._evaluator.keep([lane], others_go_on=bool(self._stopping.alive.any()))

    def _close(self, lanes: Sequence[int], t: int, status: Status, reason: str) -> None:
        self._ends.update(dict.fromkeys(lanes, _End(t, status, reason)))
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
            curves={runs[lane]: rows for lane, rows in self.recorder.take().items()},
            evaluations={runs[lane]: rows for lane, rows in evaluations.items()},
            states={runs[lane]: state for lane, state in sorted(states.items())},
            params={runs[lane]: values for lane, values in (params or {}).items()},
            checkpoints={runs[lane]: None for lane in self._ends}
            | {runs[lane]: each for lane, each in (checkpoints or {}).items()},
        )
        self._ends.clear()

    def _checkpoints(self, t: int, seconds: float, lanes: Iterable[int]) -> dict[int, Checkpoint]:
        arrays, pack = self.pack.state()
        meta = Meta(step=t, seconds=seconds, pack=pack, stopping=self._stopping.state())
        configs = self.pack.configs
        return {lane: checkpoint_of(lane, configs[lane], arrays, meta) for lane in lanes}

    def _state(self, lane: int, loss: float, summary: Mapping[str, float | None]) -> RunState:
        end = self._ends[lane]
        status, reason = end.status, end.reason
        if status is Status.COMPLETED:
            status, reason = self._stopping.ends_in(lane, loss, end.step)
        return RunState(status=status, reason=reason, steps=end.step, summary=summary)
