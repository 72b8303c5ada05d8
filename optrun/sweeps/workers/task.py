"""A pack, what executes it, and what it leaves."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from threading import get_ident
from typing import overload

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.errors import ChangedError, MissingExtraError, RunFailedError
from optrun.kernels.auto_engine import first_of
from optrun.plugin_code import reason_of, traceback_of
from optrun.problems import Problem
from optrun.registry import problems
from optrun.store import Checkpoint, RunState, Status
from optrun.store.curve_columns import CURVE, EVALUATION
from optrun.store.pack_columns import PackColumns
from optrun.training.grid import LaneGrid
from optrun.training.identity import Identity
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.run_seed import problem_options
from optrun.training.trainer import Progress, Trainer

Observer = Callable[[Progress, int], None]
"""Is told how far a pack is, and how many lanes it has."""

_paused: dict[int, tuple[RunConfig, Problem]] = {}
"""What each thread keeps of its last pack, where that has paused: data may take long to read."""
_data = attrgetter("problem", "dtype", "backend", "engine")


@dataclass(frozen=True)
class Result:
    """What a run leaves: all that a store commits at its end, or what has come since its last pause.

    The state of a paused run is running; at a rung its summary has the figures of where it is.
    """

    state: RunState
    curves: Mapping[str, Array] = field(default_factory=dict)
    evaluations: Mapping[str, Array] = field(default_factory=dict)
    params: Mapping[str, Array] = field(default_factory=dict)
    snapshots: Mapping[int, Mapping[str, Array]] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    """From which a paused run goes on, in any pack."""
    start: int = 0
    """The step at which it went on from what had been left before."""
    goes_on: bool = False
    """Whether it has paused on its way, and is to go on at once; with no step made, where it is interrupted."""
    traceback: str = ""
    """Of the exception by which it failed."""
    warnings: Sequence[str] = ()
    """What its process has warned of, told by the first result of a pack."""

    @property
    def is_unchanged(self) -> bool:
        """Whether the run is where it was, so that there is nothing to commit."""
        return self.goes_on and self.state.steps == self.start


@dataclass(frozen=True)
class Ended(Sequence[Result]):
    """The results of a pack whose runs began and ended together, in columns for a store."""

    columns: PackColumns
    warnings: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.columns.runs)

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> list[Result]: ...
    def __getitem__(self, index: int | slice) -> Result | list[Result]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        if not 0 <= index < len(self):
            raise IndexError(index)
        columns = self.columns
        curves, evaluations = (columns.series[kind].of(index) for kind in (CURVE, EVALUATION))
        return Result(columns.states[index], curves, evaluations, columns.params_of(index))


def with_warnings(results: Sequence[Result], more: Sequence[str]) -> Sequence[Result]:
    """Return the results of a pack of which more warnings tell."""
    if isinstance(results, Ended):
        return replace(results, warnings=(*results.warnings, *more))
    first, *others = results
    return [replace(first, warnings=(*first.warnings, *more)), *others]


def warnings_of(results: Sequence[Result]) -> Sequence[str]:
    """Return what the process of a pack has warned of."""
    return results.warnings if isinstance(results, Ended) else results[0].warnings


@dataclass(frozen=True)
class Work:
    """A pack that is to be executed: of each lane its config, and where it goes on from, all at one step."""

    configs: Sequence[RunConfig]
    until: int | None = None
    """The step before which the lanes pause."""
    checkpoints: Sequence[Checkpoint] | None = None
    runs: Sequence[int] | None = None
    """The increasing numbers of the runs, where their results are for a store if they begin and end here."""
    identity: Identity = field(default_factory=Identity)
    """The data and the code of which the pack is to be built."""
    pause_seconds: float = math.inf
    """After how long the lanes pause, where the config does not say that they do so earlier."""
    spent: float = 0.0
    """How many seconds of this attempt were before it paused."""
    packs: float = 1.0
    """About how many packs like this one its process executes, it among them."""

    def unchanged(self) -> list[Result]:
        """Return the results of lanes that make no step."""
        state = RunState(status=Status.RUNNING, steps=self.start)
        return [Result(state, start=self.start, goes_on=True) for _ in self.configs]

    @property
    def start(self) -> int:
        """The step at which the lanes go on."""
        return int(self.checkpoints[0].meta.get("step", 0)) if self.checkpoints else 0

    @property
    def seconds(self) -> float:
        """How long the lanes have run, at earlier times too."""
        return max((float(each.meta.get("seconds", 0.0)) for each in self.checkpoints or ()), default=0.0)

    def execute(self, interrupted: Callable[[], bool], observe: Observer | None = None) -> Sequence[Result]:
        """Run the pack and return the results of its lanes; those that an interruption left no step are unchanged.

        Lanes that have not ended are paused before the step ``until``, and on the way there at an interruption, where
        a checkpoint is due, and after ``pause_seconds``. A pack that raises, for want of memory too, is run again in
        two halves, so that the run to blame fails alone. Raises ChangedError where it is built of other data or code
        than its ``identity``.
        """
        are_columns = isinstance(self.configs, LaneGrid)
        # Others are made once, and not whenever they are asked for.
        whole = self if are_columns else replace(self, configs=[*self.configs])
        results: list[Result] = []
        left = [range(len(self.configs))]
        while left:
            lanes = left.pop()
            some = whole._part(lanes)._attempted(interrupted, observe)
            if isinstance(some, Ended) and len(some) == len(self.configs):
                return some
            if some:
                results += some
            else:
                half = len(lanes) // 2
                left += [lanes[half:], lanes[:half]]
        return results

    def _part(self, lanes: range) -> "Work":
        part = slice(lanes.start, lanes.stop)
        return replace(
            self,
            configs=self.configs[part],
            checkpoints=None if self.checkpoints is None else self.checkpoints[part],
            runs=None if self.runs is None else self.runs[part],
        )

    def _attempted(self, interrupted: Callable[[], bool], observe: Observer | None) -> Sequence[Result]:
        """Return the results of the lanes; none where several lanes raised.

        What the pack held is free when this has returned, so that a smaller one has room.
        """
        memory = MemoryStore(self.configs)
        reason, traceback = self._run(memory, interrupted, observe)
        lanes = len(self.configs)
        if reason and lanes > 1:
            return []
        if not reason and self.runs is not None and (columns := memory.columns(self.runs)) is not None:
            return Ended(columns)
        states = [memory.state(lane) for lane in range(lanes)]
        if reason and not states[0].status.final:
            states = [failed(reason)]
        living = [state for state in states if not state.status.final]
        if any(state.steps <= self.start for state in living):
            return self.unchanged()
        end = math.inf if self.until is None else self.until
        return [
            replace(
                _result(memory, lane, state),
                start=self.start,
                goes_on=not state.status.final and state.steps < end,
                traceback=traceback,
            )
            for lane, state in enumerate(states)
        ]

    def _run(
        self, memory: MemoryStore, interrupted: Callable[[], bool], observe: Observer | None
    ) -> tuple[str, str]:
        """Run the pack and return why it raised, if it did, and the traceback.

        Of the exception, whose frames hold the pack, nothing but text is kept.
        """
        onlooker: list[Exception] = []

        def look(now: Progress) -> None:
            try:
                if observe is not None:
                    observe(now, len(self.configs))
            except Exception as error:
                onlooker.append(error)
                raise

        try:
            pack = self._pack()
            self.identity.check(pack)
            trainer = Trainer(
                pack,
                memory,
                observe=None if observe is None else look,
                interrupted=interrupted,
                until=self.until,
                pauses=True,
                pause_seconds=self.pause_seconds,
            )
            if self.checkpoints is not None:
                trainer.resume(self.checkpoints)
            with first_of(self.packs):
                trainer.run()
            if not memory.states().ended.all():
                _paused[get_ident()] = self.configs[0], pack.problem
                if interrupted():  # asked after it is kept, so that none is left that comes as the sweep ends
                    _paused.pop(get_ident(), None)
        except RunFailedError as error:
            return str(error), error.traceback
        except (ChangedError, MissingExtraError):  # no run is to blame for it
            raise
        except Exception as error:
            if error in onlooker:  # whoever looks on is not to blame a run for it
                raise
            return reason_of(error), traceback_of(error)
        return "", ""

    def _pack(self) -> Pack:
        """Build the pack, with the problem of the last one where that has paused, and this goes on with its data."""
        kept = _paused.pop(get_ident(), None)
        if kept is not None and self.checkpoints is not None:
            (config, problem), own = kept, self.configs[0]
            is_same = (
                _data(config) == _data(own)
                and problem_options(config) == problem_options(own)
                and type(problem) is problems.find(own.problem.name)
            )
            if is_same and self.checkpoints[0].meta.get("pack", {}).get("problem") == problem.fingerprint:
                return Pack(self.configs, problem=problem)
        return Pack(self.configs)


def forget() -> None:
    """Let go of what threads of this process keep of packs that have paused: the sweep is over."""
    _paused.clear()


def _result(memory: MemoryStore, lane: int, state: RunState) -> Result:
    return Result(
        state,
        memory.curves(lane),
        memory.evaluations(lane),
        # A view would keep those of all lanes.
        {name: values.copy() for name, values in memory.params(lane).items()},
        {step: memory.snapshot(lane, step) for step in memory.snapshot_steps(lane)},
        memory.checkpoint(lane),
    )


def failed(reason: str) -> RunState:
    """Return the state of a run that could not be run."""
    return RunState(status=Status.FAILED, reason=reason)
