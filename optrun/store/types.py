"""What a store is told and what it tells: the state of a run, its record, a checkpoint, an event."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from optrun.arrays import Array

FIRST_COLUMNS = ("step", "loss", "lr")
"""The columns of every curve, in this order before the others."""

STEPS_TO_TARGET = "steps_to_target"
"""A figure that no summary has: the steps of a run that ended at `stop.target`; infinite where it did not."""

TIME_TO_TARGET = "time_to_target"
"""The same in seconds, of a run that was alone in its pack: lanes that share one have no times of their own."""

RESTORED = "restored to step "
"""The end of the reason of a run that has the parameters of an earlier step, and before that step."""

TO_TARGET = (STEPS_TO_TARGET, TIME_TO_TARGET)


class Status(StrEnum):
    """How far a run has come, or why it ended."""

    WAITING = "waiting"
    RUNNING = "running"
    """It has begun; in a sweep, a worker has its pack, which may wait there behind another."""
    COMPLETED = "completed"
    TARGET_REACHED = "target_reached"
    EARLY_STOPPED = "early_stopped"
    TIMED_OUT = "timed_out"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether the run has ended; an interrupted one waits to be resumed, a run of a sweep also for its start."""
        return self not in _GOING_ON


NO_FIGURES: Mapping[str, float | None] = {}
"""Is shared by states that have none, and never changed."""


_GOING_ON = frozenset((Status.WAITING, Status.RUNNING, Status.INTERRUPTED))


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """Where a run stands: updates made, and a flat summary in which None stands for NaN or infinity."""

    status: Status
    reason: str = ""
    steps: int = 0
    summary: Mapping[str, float | None] = field(default_factory=lambda: NO_FIGURES)
    derived: Mapping[str, float | None] = field(default_factory=lambda: NO_FIGURES, compare=False)
    """Figures of its evaluations or its time, which are computed when they are asked for and not stored."""
    seconds: float | None = field(default=None, compare=False)
    """How long a run that has just ended took, if it was alone in its pack; events keep it, as it is no result."""

    @property
    def params_step(self) -> int:
        """The step whose parameters are those of the end: the last, or the one that they were restored to."""
        step = self.reason.rpartition(RESTORED)[2] if RESTORED in self.reason else ""
        return int(step) if step.isdecimal() else self.steps

    @property
    def figures(self) -> Mapping[str, float | None]:
        """The summary, and what was computed beside it."""
        return {**self.summary, **self.derived}

    @property
    def has_begun(self) -> bool:
        """Whether the run has left something: it has ended, or can go on from somewhere."""
        return self.status.final or self.steps > 0

    @property
    def is_bad(self) -> bool:
        """Whether the run has diverged or failed."""
        return self.status in (Status.DIVERGED, Status.FAILED)

    def figure(self, name: str) -> float | None:
        """Return a finite figure; None without one, and of a run that is bad."""
        if name == STEPS_TO_TARGET:
            return float(self.steps) if self.status is Status.TARGET_REACHED else None
        value = None if self.is_bad else self.summary.get(name, self.derived.get(name))
        return value if value is not None and math.isfinite(value) else None

    def has_figure(self, name: str) -> bool:
        """Whether an ended run has a figure, be it the worst: that of a run that diverged, or missed its target."""
        return self.is_bad or name in self.summary or name in self.derived or name == STEPS_TO_TARGET


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord(RunState):
    """A run as it is stored: what it was asked to do, and its state."""

    run: int
    seed: int
    config: dict[str, Any]

    @classmethod
    def of(cls, run: int, seed: int, config: dict[str, Any], state: RunState) -> Self:
        """Return the record of a run that is in a state."""
        own = {each.name: getattr(state, each.name) for each in fields(RunState)}
        return cls(run=run, seed=seed, config=config, **own)


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedRun(RunState):
    """One of many runs that are stored: as a record, but that its config is read whenever it is asked for."""

    run: int
    seed: int
    read: Callable[[int], RunRecord] = field(compare=False, repr=False)

    @property
    def config(self) -> dict[str, Any]:
        """What the run was asked to do; StoreError where it is damaged."""
        return self.read(self.run).config


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on: arrays by name, and a JSON object for everything else."""

    arrays: Mapping[str, Array]
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened at a time: no part of what runs left.

    What a sweep is to run, and which settings went on from its rungs, are events too, and are read back from them.
    """

    kind: str
    time: str
    attempt: int
    run: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
