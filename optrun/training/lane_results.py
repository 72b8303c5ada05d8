"""What comes of the lanes of a pack, as it is committed: their ends, final figures, curves and checkpoints."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from optrun.arrays import Array
from optrun.kernels.denormals import denormals
from optrun.store import Checkpoint, RunState, Status
from optrun.store.types import RESTORED
from optrun.training.best_parameters import BestParameters
from optrun.training.checkpoints import Meta, checkpoint_of
from optrun.training.evaluations import Evaluations
from optrun.training.evaluator import Evaluator
from optrun.training.pack import Pack
from optrun.training.recorder import Recorder
from optrun.training.sink import EndsSink, Sink
from optrun.training.snapshots import SnapshotBuffer
from optrun.training.stopping import Stopping


@dataclass(frozen=True)
class LaneEnd:
    """How a lane has ended."""

    step: int
    status: Status
    reason: str


@dataclass
class LaneResults:
    """The rows, the evaluations and the ended lanes of a pack that are not yet committed."""

    pack: Pack
    runs: Sequence[int]
    """The sink's run numbers of the lanes."""
    recorder: Recorder
    snapshots: SnapshotBuffer
    evaluations: Evaluations
    evaluator: Evaluator
    stopping: Stopping
    best: BestParameters | None
    """The parameters of the best evaluations, if they are to be restored."""
    is_alone: bool
    """Whether the pack has had one lane all the time, whose time is its own."""
    ends: dict[int, LaneEnd] = field(default_factory=dict)

    @property
    def running(self) -> list[int]:
        """The lanes that have not ended."""
        return [int(lane) for lane in np.flatnonzero(self.stopping.alive)]

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
        running = self.running
        if evaluating:
            self.evaluator.snapshot(running, others_continue=False)
        ended = sorted(self.ends)
        final = self.evaluator.final(sorted([*ended, *running]) if evaluating else ended)
        summaries = {lane: self.evaluator.summary(lane, metrics) for lane, metrics in final.items()}
        own = seconds if self.is_alone else None
        states = {lane: self._state(lane, final[lane], summaries[lane], own) for lane in ended}
        if self.best is not None:
            states |= self._restored(self.best, {lane: states[lane] for lane in ended}, final)
        states |= dict.fromkeys(running, RunState(status=status, steps=t, summary={}))
        for lane in summaries.keys() & running if evaluating else ():
            states[lane] = RunState(status=status, steps=t, summary=summaries[lane])
        going = running if pausing or sink.resumable else []
        # From the checkpoint of a completed run it can be prolonged.
        if sink.resumable and self.pack.configs[0].checkpoint.every is not None:
            going = [*going, *(lane for lane in ended if states[lane].status is Status.COMPLETED)]
        self._commit(
            sink,
            states,
            final={lane: final[lane] for lane in ended},
            params=self.evaluator.params(final),
            checkpoints=self._checkpoints(t, seconds, going) if going else {},
        )

    def commit_ends(self, sink: EndsSink) -> None:
        """Commit, as columns, no more than how lanes have ended, their final figures and their parameters."""
        lanes = sorted(self.ends)
        if not lanes:
            return
        ends = [self.ends[lane] for lane in lanes]
        figures, statuses = self.evaluator.final_columns(lanes), [end.status for end in ends]
        for row in np.flatnonzero(self.stopping.may_end(lanes, figures)).tolist():
            if statuses[row] is Status.COMPLETED:
                final = {name: float(values[row]) for name, values in figures.items()}
                statuses[row], _ = self.stopping.final_status(lanes[row], final, ends[row].step)
        runs = np.array(self.runs)[lanes]
        steps, params = np.array([end.step for end in ends]), self.evaluator.final_params(lanes)
        sink.end(runs, statuses, steps, figures, params)
        self.ends.clear()

    def commit_failed(self, sink: Sink, reason: str) -> None:
        """Commit the lanes that have ended as failed, and what was recorded.

        Nothing is evaluated: the evaluation may be what fails, and a failed lane must not have final metrics.
        """
        states = {
            lane: RunState(status=Status.FAILED, reason=reason, steps=end.step)
            for lane, end in self.ends.items()
        }
        self._commit(sink, states)

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
            and (step := self.stopping.best_step(lane, final[lane], state.steps)) is not None
        }
        if not steps:
            return {}
        self.evaluator.restore(list(steps), best)
        figures = self.evaluator.final(list(steps))
        return {
            lane: replace(
                states[lane],
                summary=self.evaluator.summary(lane, figures[lane]),
                reason="; ".join(filter(None, [states[lane].reason, f"{RESTORED}{step}"])),
            )
            for lane, step in steps.items()
        }

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
        evaluations = self.evaluations.take({lane: end.step for lane, end in self.ends.items()}, final or {})
        sink.commit(
            curves=self.recorder.take(runs),
            evaluations={runs[lane]: rows for lane, rows in evaluations.items()},
            states={runs[lane]: state for lane, state in sorted(states.items())},
            params={runs[lane]: values for lane, values in (params or {}).items()},
            snapshots={runs[lane]: taken for lane, taken in self.snapshots.take().items()},
            checkpoints={runs[lane]: None for lane in self.ends}
            | {runs[lane]: each for lane, each in (checkpoints or {}).items()},
        )
        self.ends.clear()

    def _checkpoints(self, t: int, seconds: float, lanes: Iterable[int]) -> dict[int, Checkpoint]:
        arrays, pack = self.pack.state()
        arrays |= {} if self.best is None else self.best.state()
        stopping = self.stopping.state()
        meta = Meta(step=t, seconds=seconds, alone=self.is_alone, pack=pack, stopping=stopping)
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
        end = self.ends[lane]
        status, reason = end.status, end.reason
        if status is Status.COMPLETED:
            status, reason = self.stopping.final_status(lane, final, end.step)
        return RunState(status=status, reason=reason, steps=end.step, summary=summary, seconds=seconds)
