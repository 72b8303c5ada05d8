"""A pack, what executes it, and what it leaves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.errors import ChangedError, MissingExtraError, RunFailedError
from optrun.plugin_code import reason_of, traceback_of
from optrun.store import Checkpoint, RunRows, RunState, Status
from optrun.training.identity import NOTHING_KNOWN, Identity
from optrun.training.memory import Memory
from optrun.training.pack import Pack
from optrun.training.trainer import Progress, Trainer

Observer = Callable[[Progress, int], None]
"""Is told how far a pack is, and how many lanes it has."""


@dataclass(frozen=True)
class Result:
    """What a run leaves: all that a store commits at its end, or what has come since its last pause.

    The state of a paused run is running, and its summary has the figures of where it is.
    """

    state: RunState
    curves: Mapping[str, Array] = field(default_factory=dict)
    evaluations: Mapping[str, Array] = field(default_factory=dict)
    params: Mapping[str, Array] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    """From which a paused run goes on, in any pack."""
    rows: RunRows | None = None
    """Of a store, in place of the arrays."""
    traceback: str = ""
    """Of the exception by which it failed."""
    warnings: Sequence[str] = ()
    """What its process has warned of, told by the first result of a pack."""

    def as_rows(self, run: int) -> RunRows:
        """Return what the run of this number has left as rows of a store."""
        return RunRows.of(run, self.curves, self.evaluations, self.params)


def execute(
    configs: Sequence[RunConfig],
    interrupted: Callable[[], bool],
    observe: Observer | None = None,
    *,
    until: int | None = None,
    checkpoints: Sequence[Checkpoint] | None = None,
    runs: Sequence[int] | None = None,
    identity: Identity = NOTHING_KNOWN,
) -> list[Result] | None:
    """Run a pack and return the results of its lanes; None where it was interrupted.

    They are rows of a store where the numbers of the ``runs`` are given. The pack begins at ``checkpoints``, one of
    each lane and all of one step, and lanes that have not ended before the step ``until`` are paused there. A pack
    that raises, for want of memory too, is run again in two halves, so that the run to blame fails alone. Raises
    ChangedError where it is built of other data or code than its ``identity``.
    """
    results: list[Result] = []
    left = [range(len(configs))]
    while left:
        lanes = left.pop()
        part = slice(lanes.start, lanes.stop)
        own = None if checkpoints is None else checkpoints[part]
        numbers = None if runs is None else runs[part]
        some = _attempted(configs[part], interrupted, observe, until, own, numbers, identity)
        if some is None:
            return None
        if some:
            results += some
        else:
            half = len(lanes) // 2
            left += [lanes[half:], lanes[:half]]
    return results


def _attempted(
    configs: Sequence[RunConfig],
    interrupted: Callable[[], bool],
    observe: Observer | None,
    until: int | None,
    checkpoints: Sequence[Checkpoint] | None,
    runs: Sequence[int] | None,
    identity: Identity,
) -> list[Result] | None:
    """Run a pack and return the results of its lanes: none where several lanes raised, None where it was interrupted.

    What the pack held is free when this has returned, so that a smaller one has room.
    """
    memory = Memory(configs)
    reason, traceback = _ended(configs, memory, interrupted, observe, until, checkpoints, identity)
    lanes = len(configs)
    if reason and lanes > 1:
        return []
    states = [memory.state(lane) for lane in range(lanes)]
    if reason and not states[0].status.final:
        states = [failed(reason)]
    if any(state.status is Status.INTERRUPTED for state in states):
        return None
    if runs is None:
        return [
            replace(_result(memory, lane, state), traceback=traceback) for lane, state in enumerate(states)
        ]
    # Lane by lane, so that the arrays of all are not there a second time.
    return [
        Result(state, rows=_result(memory, lane, state).as_rows(run), traceback=traceback)
        for lane, (run, state) in enumerate(zip(runs, states, strict=True))
    ]


def _result(memory: Memory, lane: int, state: RunState) -> Result:
    return Result(
        state,
        memory.curves(lane),
        memory.evaluations(lane),
        # A view would keep those of all lanes.
        {name: values.copy() for name, values in memory.params(lane).items()},
        memory.checkpoint(lane),
    )


def _ended(
    configs: Sequence[RunConfig],
    memory: Memory,
    interrupted: Callable[[], bool],
    observe: Observer | None,
    until: int | None,
    checkpoints: Sequence[Checkpoint] | None,
    identity: Identity,
) -> tuple[str, str]:
    """Run a pack and return why it raised, if it did, and the traceback.

    Of the exception, whose frames hold the pack, nothing but text is kept.
    """
    onlooker: list[Exception] = []

    def look(now: Progress) -> None:
        try:
            if observe is not None:
                observe(now, len(configs))
        except Exception as error:
            onlooker.append(error)
            raise

    try:
        seen = None if observe is None else look
        pack = Pack(configs)
        identity.check(pack)
        trainer = Trainer(pack, memory, observe=seen, interrupted=interrupted, until=until)
        if checkpoints is not None:
            trainer.resume(checkpoints)
        trainer.run()
    except RunFailedError as error:
        return str(error), error.traceback
    except (ChangedError, MissingExtraError):  # no run is to blame for it
        raise
    except Exception as error:
        if error in onlooker:  # whoever looks on is not to blame a run for it
            raise
        return reason_of(error), traceback_of(error)
    return "", ""


def failed(reason: str) -> RunState:
    """Return the state of a run that could not be run."""
    return RunState(status=Status.FAILED, reason=reason)


@dataclass(frozen=True)
class Work:
    """A pack that is to be executed: of each lane its config, and where it goes on from."""

    configs: Sequence[RunConfig]
    until: int | None = None
    """The step before which the lanes pause."""
    checkpoints: Sequence[Checkpoint] | None = None
    runs: Sequence[int] | None = None
    """The numbers of the runs, where their results are to be rows of a store: they begin and end here."""
    identity: Identity = NOTHING_KNOWN
    """The data and the code of which the pack is to be built."""

    def execute(
        self, interrupted: Callable[[], bool], observe: Observer | None = None
    ) -> list[Result] | None:
        """Run the pack as `execute` does."""
        return execute(
            self.configs,
            interrupted,
            observe,
            until=self.until,
            checkpoints=self.checkpoints,
            runs=self.runs,
            identity=self.identity,
        )
