"""A plan carried out: what is left of it is executed, and one writer commits each pack in one transaction."""

from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from optrun.arrays import Array
from optrun.errors import StoreError
from optrun.store import Checkpoint, RunState, Status, Store
from optrun.store.blocks import LEAST_LANES
from optrun.store.states import CODES, States
from optrun.sweeps.options import Execution
from optrun.sweeps.plan.expand import Plan
from optrun.sweeps.plan.packs import Group, as_range, divided, grouped
from optrun.sweeps.plan.stages import Stage, stages_of
from optrun.sweeps.sweep_store import add_settings, decisions_in, end_runs
from optrun.sweeps.workers.base import Workers
from optrun.sweeps.workers.dispatch import Dispatch
from optrun.sweeps.workers.task import Ended, Work
from optrun.sweeps.writer import SweepProgress, Writer
from optrun.training.curve_figures import with_figure
from optrun.training.identity import Identity, with_fingerprint
from optrun.training.memory_store import MemoryStore

if TYPE_CHECKING:
    from optrun.sweeps.workers.dask import Connection


def carry_out(
    plan: Plan,
    groups: Sequence[Group],
    results: Store | MemoryStore,
    how: Execution,
    *,
    limit: int | None = None,
    interrupted: Callable[[], bool],
    observe: Callable[[SweepProgress], None] | None = None,
    connection: "Connection | None" = None,
) -> Plan:
    """Execute what is left of a plan, stage by stage; return it with the settings that were added.

    After an interruption, or the failed run that ends it all, what packs under way have made is kept. ``limit`` is how
    many runs are executed at most. Raises RunFailedError where no worker can do anything, or a run comes again with
    other results.
    """
    course = _Course(plan, groups, results, how, limit, interrupted, observe, connection)
    with course.stack:
        course.run()
    return course.plan


class _Course:
    """A plan on its way through its stages."""

    def __init__(
        self,
        plan: Plan,
        groups: Sequence[Group],
        results: Store | MemoryStore,
        how: Execution,
        limit: int | None,
        interrupted: Callable[[], bool],
        observe: Callable[[SweepProgress], None] | None,
        connection: "Connection | None",
    ) -> None:
        self.plan = plan
        self.stack = ExitStack()
        self._groups = groups
        self._results = results
        self._how = how
        self._limit = limit
        self._interrupted = interrupted
        self._connection = connection
        ended = int(States.of(results.states()).ended.sum())
        self._of_runs = plan.size if limit is None else min(plan.size, ended + limit)
        self._writer = Writer(plan.metric, results, observe)
        self._workers: Workers | None = None

    def run(self) -> None:
        """Execute stages until there is no other one, or one is not through."""
        stages = stages_of(self.plan, decisions_in(self._results))
        stage = next(stages, None)
        while stage is not None and self._is_through(stage):
            try:
                metric, results = self.plan.metric, self._results
                stage = stages.send(with_figure(results.states(), results, metric.name, metric.goal_of))
            except StopIteration:
                stage = None

    def _is_through(self, stage: Stage) -> bool:
        """Execute what is left of a stage; return whether nothing is."""
        self._begin(stage)
        states = States.of(self._results.states())
        runs = np.asarray(stage.runs, np.int64)
        is_left = ~states.ended[runs]
        if stage.until is not None:
            is_left &= states.steps[runs] < stage.until
        left = as_range(array("q", runs[is_left].tolist()))
        wanted = left[: self._limit]
        if self._limit is not None:
            self._limit -= len(wanted)
        if not wanted:
            return not left
        return self._execute(wanted, states, stage.until) and wanted == left

    def _begin(self, stage: Stage) -> None:
        """Add the settings of a stage to the plan, and end the runs that go on no longer."""
        first, count = len(self.plan.nodes), len(stage.settings)
        if count and stage.runs[0] >= first * self.plan.repeats:
            self.plan = self.plan.extended(stage.settings)
            self._groups = grouped(self.plan, stage.runs)
            add_settings(self._results, self.plan, self._groups, first)
        if stage.promoted is not None:
            end_runs(self._results, stage.ends, stage.promoted, stage.until)

    def _execute(self, wanted: Sequence[int], states: States, until: int | None) -> bool:
        """Execute runs until they end or pause; return whether all did, and none failed where that ends all."""
        how, plan, look = self._how, self.plan, self._writer.look
        packs = _divided(self._groups, wanted, states, replace(how, lanes=plan.most_lanes or how.lanes))
        self._writer.begin(
            states, wanted, packs, self._of_runs, until, comparable=not plan.has_several_problems
        )
        if self._workers is None:
            # A later stage may have more packs than what is left of this one.
            most = len(packs) if len(plan.outline) == 1 else max(len(packs), how.split)
            workers = how.workers(most, self._interrupted, look, self._connection)
            self._workers = self.stack.enter_context(workers)
        has_to_end = False
        left = np.zeros(len(states), bool)
        left[np.asarray(wanted)] = True
        waiting = left & ~states.are(Status.RUNNING)
        group_of = np.zeros(len(states), np.int64)
        for number, group in enumerate(self._groups):
            group_of[np.asarray(group.runs)] = number
        to_begin = np.bincount(group_of[waiting], minlength=len(self._groups))
        # A pack that has paused goes on at once: reading its checkpoints takes as long as writing them.
        paused: dict[int, Checkpoint | None] = {}

        def work_of(pack: Sequence[int]) -> Work:
            places = np.asarray(pack)
            begun = places[waiting[places]]
            number = int(group_of[pack[0]])
            if begun.size:
                # Once: a pack that is tried again, or a part of it, has begun.
                waiting[begun] = False
                to_begin[number] -= begun.size
                self._begin_runs(begun)
            configs = plan.configs_of(pack)
            packs = 1 + float(to_begin[number]) / len(pack) / how.split
            identity = self._groups[number].identity.part(plan.documents[pack[0]])
            if self._writer.states.steps[places].any():
                checkpoints = [self._checkpoint(run, paused.pop(run, None), identity) for run in pack]
                return Work(configs, until, checkpoints, identity=identity, packs=packs)
            is_stored = until is None and isinstance(self._results, Store)
            runs = pack if is_stored else None
            return Work(configs, until, runs=runs, identity=identity, packs=packs)

        dispatch = Dispatch(
            work_of,
            self._workers,
            interrupted=lambda: has_to_end or self._interrupted(),
            observe=look,
            note_death=self._writer.note_death,
        )
        # Closed at once where a commit raises, so that no process lives on.
        with closing(dispatch.finished(packs)) as ended:
            for pack, of_pack in ended:
                self._writer.commit(pack, of_pack)
                if isinstance(of_pack, Ended):
                    left[np.asarray(pack)] = False
                    continue
                paused.update(
                    (run, each.checkpoint) for run, each in zip(pack, of_pack, strict=True) if each.goes_on
                )
                for run, each in zip(pack, of_pack, strict=True):
                    left[run] = left[run] and each.goes_on
                has_failed = any(each.state.status is Status.FAILED for each in of_pack)
                has_to_end = has_to_end or (how.fail_fast and has_failed)
        return not left.any() and not has_to_end

    def _begin_runs(self, runs: Array) -> None:
        """Have runs be running, which wait."""
        states = self._writer.states.chosen(runs)
        states.codes[:] = CODES[Status.RUNNING]
        if isinstance(self._results, Store) and len(runs) >= LEAST_LANES:
            self._results.put_states(runs, states)
        else:
            self._results.commit(states=dict(zip(runs.tolist(), states, strict=True)))

    def _checkpoint(self, run: int, checkpoint: Checkpoint | None, identity: Identity) -> Checkpoint:
        """Return from where a run goes on that has made steps, by default what is stored; StoreError if nothing is."""
        checkpoint = checkpoint or self._results.checkpoint(run)
        if checkpoint is None:
            steps = self._results.run(run).steps
            where = f"{self._results.path}: " if isinstance(self._results, Store) else ""
            raise StoreError(f"{where}run {run} is to go on from step {steps}, and has no checkpoint there")
        # The store was asked whether these are its data, or may be others.
        return with_fingerprint(checkpoint, identity.fingerprint)


def _divided(
    groups: Sequence[Group], wanted: Sequence[int], states: States, how: Execution
) -> list[Sequence[int]]:
    """Return packs whose lanes are at one step; those that were on their way come first."""
    runs = np.asarray(wanted, np.int64)
    steps = states.steps[runs]
    return [
        pack
        for step in np.unique(steps, return_index=True)[0][::-1]
        for pack in divided(groups, as_range(runs[steps == step].tolist()), how.split, how.lanes)
    ]


def settled(states: States) -> dict[int, RunState]:
    """Return the runs that have not ended and are in no pack any more, where their state does not say so yet."""
    found = {}
    for run in np.flatnonzero(~states.ended & ~((states.steps == 0) & states.are(Status.WAITING))).tolist():
        state = states[run]
        status = Status.INTERRUPTED if state.steps else Status.WAITING
        if state.status is not status:
            found[run] = replace(state, status=status)
    return found
