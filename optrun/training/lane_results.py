"""What comes of the lanes of a pack, as it is committed: their ends, final figures, curves and checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from optrun.arrays import Array
from optrun.kernels.denormals import denormals
from optrun.store import Checkpoint, Status
from optrun.store.states import CODES, States
from optrun.store.types import RESTORED
from optrun.training.best_parameters import BestParameters
from optrun.training.checkpoints import Meta, checkpoint_of
from optrun.training.evaluations import Evaluations
from optrun.training.evaluator import Evaluator
from optrun.training.of_runs import ParamsOfRuns, StatesOfRuns
from optrun.training.pack import Pack
from optrun.training.recorder import Recorder
from optrun.training.sink import Sink
from optrun.training.snapshots import SnapshotBuffer
from optrun.training.stopping import Stopping


@dataclass
class LaneResults:
    """The rows, the evaluations and the ended lanes of a pack that are not yet committed."""

    pack: Pack
    runs: Array
    """The sink's run numbers of the lanes ``[B]``."""
    recorder: Recorder
    snapshots: SnapshotBuffer
    evaluations: Evaluations
    evaluator: Evaluator
    stopping: Stopping
    best: BestParameters | None
    """The parameters of the best evaluations, if they are to be restored."""
    is_alone: bool
    """Whether the pack has had one lane all the time, whose time is its own."""
    _states: States = field(init=False)
    """Of all lanes; they are those of ended ones until these are committed."""
    _has_ended: Array = field(init=False)
    """Which lanes have ended since the last commit."""

    def __post_init__(self) -> None:
        self._states = States(self.pack.lanes, Status.RUNNING)
        self._has_ended = np.zeros(self.pack.lanes, bool)

    @property
    def running(self) -> Array:
        """The lanes that have not ended."""
        return np.flatnonzero(self.stopping.alive)

    def end(self, lanes: Sequence[int] | Array, t: int, status: Status, reason: str) -> None:
        """Have lanes end at step t."""
        states = self._states
        states.codes[lanes], states.steps[lanes], states.reasons[lanes] = CODES[status], t, reason
        self._has_ended[lanes] = True

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
        running, ended, states = self.running, np.flatnonzero(self._has_ended), self._states
        if evaluating:
            self.evaluator.snapshot(running, others_continue=False)
        seen = np.flatnonzero(self._has_ended | self.stopping.alive)
        lanes = seen if evaluating else ended
        states.codes[running], states.steps[running] = CODES[status], t
        figures = self.evaluator.final(lanes)
        self.evaluator.summarise(lanes, figures, states)
        own = {name: values[self._has_ended[lanes]] for name, values in figures.items()}
        self._judge(ended, own)
        if self.best is not None:
            self._restore(self.best, ended, own)
        going = running if pausing or sink.resumable else running[:0]
        # From the checkpoint of a completed run it can be prolonged.
        if sink.resumable and self.pack.configs[0].checkpoint.every is not None:
            going = np.concatenate([going, ended[states.chosen(ended).are(Status.COMPLETED)]])
        self._commit(
            sink,
            seen,
            seconds if self.is_alone and len(ended) else None,
            final=own,
            params=self.evaluator.params(lanes, self.runs[lanes]) if len(lanes) else None,
            checkpoints=self._checkpoints(t, seconds, going) if len(going) else {},
        )

    def commit_failed(self, sink: Sink, reason: str) -> None:
        """Commit the lanes that have ended as failed, and what was recorded.

        Nothing is evaluated: the evaluation may be what fails, and a failed lane must not have final metrics.
        """
        ended, states = np.flatnonzero(self._has_ended), self._states
        states.codes[ended], states.reasons[ended] = CODES[Status.FAILED], reason
        states.put_figures(ended, {})
        self._commit(sink, ended, None)

    def _judge(self, ended: Array, final: Mapping[str, Array]) -> None:
        """Have completed lanes the statuses that their final figures give them."""
        if not len(ended):
            return
        states = self._states
        is_completed = states.chosen(ended).are(Status.COMPLETED)
        for row in np.flatnonzero(is_completed & self.stopping.may_end(ended, final)).tolist():
            lane, figures = int(ended[row]), {name: float(values[row]) for name, values in final.items()}
            found, reason = self.stopping.final_status(lane, figures, int(states.steps[lane]))
            states.codes[lane], states.reasons[lane] = CODES[found], reason

    def _restore(self, best: BestParameters, ended: Array, final: Mapping[str, Array]) -> None:
        """Give lanes that have ended well the parameters and the summary of their best evaluation.

        The evaluations keep what was measured at the end.
        """
        states = self._states
        steps: dict[int, int] = {}
        for row, lane in enumerate(ended.tolist()):
            figures = {name: float(values[row]) for name, values in final.items()}
            step = self.stopping.best_step(lane, figures, int(states.steps[lane]))
            if step is not None and not states[lane].is_bad:
                steps[lane] = step
                states.reasons[lane] = "; ".join(filter(None, [states.reasons[lane], f"{RESTORED}{step}"]))
        if steps:
            lanes = np.array([*steps], np.int64)
            self.evaluator.restore(lanes, best)
            self.evaluator.summarise(lanes, self.evaluator.final(lanes), states)

    def _commit(
        self,
        sink: Sink,
        lanes: Array,
        seconds: float | None,
        *,
        final: Mapping[str, Array] | None = None,
        params: ParamsOfRuns | None = None,
        checkpoints: Mapping[int, Checkpoint | None] | None = None,
    ) -> None:
        """Commit the states of lanes, and what they have left since the last commit."""
        runs, ended = self.runs, np.flatnonzero(self._has_ended)
        sink.commit(
            curves=self.recorder.take(runs),
            evaluations=self.evaluations.take(ended, self._states.steps[ended], final or {}, runs),
            states=StatesOfRuns(runs[lanes], self._states.chosen(lanes), seconds),
            params=ParamsOfRuns([], {}, {}, np.zeros(0, bool)) if params is None else params,
            snapshots={int(runs[lane]): taken for lane, taken in self.snapshots.take().items()},
            checkpoints=dict.fromkeys(runs[ended].tolist())
            | {int(runs[lane]): each for lane, each in (checkpoints or {}).items()},
        )
        self._has_ended[:] = False

    def _checkpoints(self, t: int, seconds: float, lanes: Array) -> dict[int, Checkpoint]:
        arrays, pack = self.pack.state()
        arrays |= {} if self.best is None else self.best.state()
        stopping = self.stopping.state()
        meta = Meta(step=t, seconds=seconds, alone=self.is_alone, pack=pack, stopping=stopping)
        configs = self.pack.configs
        with denormals(flushed=False):  # Python would write an option of 1e-310 as 0.0
            return {lane: checkpoint_of(lane, configs[lane], arrays, meta) for lane in lanes.tolist()}
