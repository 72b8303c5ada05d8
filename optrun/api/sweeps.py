"""The Python API of sweeps."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optrun.analysis.best_run import find_numbered
from optrun.analysis.confirmation import check_compared, confirmation, ranking_of
from optrun.analysis.expectation import check_expectation
from optrun.analysis.leaderboard import plan_of
from optrun.api.given_data import given
from optrun.api.sweep_results import Sweep as Sweep
from optrun.config.model.durations import Duration
from optrun.config.sweep.resolve import load_sweep as sweep_from_file
from optrun.config.sweep.resolve import sweep_from_mapping
from optrun.errors import ConfigError, RunFailedError, StoreError, counted, string_list
from optrun.plugins import load_plugins
from optrun.store import Status, Store
from optrun.store.event_names import BASELINES, INFERRED, LIMITED
from optrun.store.locate import RESULTS, RUNS
from optrun.store.states import States
from optrun.sweeps.options import Execution, check_count
from optrun.sweeps.plan.expand import CONFIRM, Plan, expand
from optrun.sweeps.plan.packs import Group, grouped
from optrun.sweeps.run import carry_out, settled
from optrun.sweeps.sweep_store import open_store, retry, summarise
from optrun.sweeps.writer import SweepProgress
from optrun.training.curve_figures import with_figure
from optrun.training.interrupt import Interruption, interruptible
from optrun.training.memory_store import MemoryStore
from optrun.training.prepared import keep_prepared

if TYPE_CHECKING:
    from optrun.sweeps.workers.dask import Connection


def sweep(
    config: Mapping[str, Any] | str | Path,
    *,
    data: Any = None,
    overrides: Sequence[str] = (),
    save: bool = True,
    directory: str | Path | None = None,
    jobs: int | None = None,
    executor: str | Executor = "local",
    address: str | None = None,
    timeout: str | float | None = None,
    fail_fast: bool = False,
    limit: int | None = None,
    budget: str | float | None = None,
    retry_failed: bool = False,
    accept_changes: bool = False,
    plugins: Sequence[str] = (),
    observe: Callable[[SweepProgress], None] | None = None,
) -> Sweep:
    """Execute the runs of a sweep, given as a mapping or a YAML file with a `sweep` section, and return the results.

    The results are stored in ``directory``, unless ``save`` is false. The default is a directory under `runs/` that
    depends on the sweep alone, so that the same call continues the same sweep: runs that have ended are not repeated,
    except, with ``retry_failed``, those that failed. If data or code have changed since the sweep began, continuing it
    needs ``accept_changes``. ``limit`` is the most runs to execute, ``budget`` the most wall time (seconds, or such as
    "10m"), after which runs under way are paused. Once all have ended, a sweep with `confirm` runs
    its best settings on fresh seeds, in the directory `confirm` inside its own; ``limit`` does not count these.
    ``data`` are samples that the config does not name: a data frame, or arrays ``(X, y)``. The
    first Ctrl-C or SIGTERM stops the sweep; the results that workers report in time are kept.

    ``executor`` is "local" (this process, or ``jobs`` > 1 processes), "dask" (``jobs`` local processes, by default one
    per core, or the cluster at ``address``), or a `concurrent.futures.Executor`, which gets at most ``jobs`` packs at a
    time, requires ``jobs`` if there is a timeout, and is not shut down. In this process, a run that kills its process
    ends the script too. With worker processes, a script needs ``if __name__ == "__main__":``. ``plugins`` are loaded
    in this process and in every worker. ``timeout`` (seconds, or such as "10m") limits the wall time of one attempt to
    run a pack: its worker is killed, and the pack is split in halves and retried until a single run has failed.

    A run that raises, kills its process or exceeds the timeout has failed; the others continue, unless ``fail_fast``
    is true. Raises ConfigError, StoreError, ChangedError, MissingExtraError, or RunFailedError if the workers cannot
    work, or if a run was executed twice with different results.
    """
    seconds = Duration(budget).seconds if isinstance(budget, str) else budget
    until = math.inf if seconds is None else time.monotonic() + seconds
    if not save and directory is not None:
        raise ConfigError("a sweep that is not saved has no directory", field="directory")
    load_plugins(plugins)
    string_list("overrides", overrides)
    if not isinstance(config, (Mapping, str, os.PathLike)):
        raise ConfigError(f"a sweep takes a mapping or the path of a YAML file, not {type(config).__name__}")
    with given(data, overrides, save=save, directory=directory) as overrides:
        swept = (
            sweep_from_mapping(config, overrides)
            if isinstance(config, Mapping)
            else sweep_from_file(config, overrides)
        )
        plan = expand(swept)
        return sweep_plan(
            plan,
            grouped(plan),
            save=save,
            directory=Path(directory) if directory is not None else None,
            jobs=jobs,
            executor=executor,
            address=address,
            timeout=Duration(timeout).seconds if isinstance(timeout, str) else timeout,
            fail_fast=fail_fast,
            limit=limit,
            until=until,
            retry_failed=retry_failed,
            accept_changes=accept_changes,
            plugins=plugins,
            observe=observe,
        )


def sweep_plan(
    plan: Plan,
    groups: Sequence[Group],
    *,
    save: bool = True,
    directory: Path | None = None,
    limit: int | None = None,
    until: float = math.inf,
    retry_failed: bool = False,
    accept_changes: bool = False,
    observe: Callable[[SweepProgress], None] | None = None,
    note: Callable[[str], None] = lambda text: None,
    **how: Any,
) -> Sweep:
    """Execute a plan whose groups are known; arguments as for `sweep`, ``how`` being the fields of `Execution`.

    ``note`` is called with a message about existing results if the directory holds another plan; ``until`` is the
    monotonic time at which the sweep ends.
    """
    check_count("limit", limit)
    check_compared(plan)
    check_expectation(plan, groups)
    execution = Execution(**how)
    # Connect before the directory is created, so that a failed start leaves none behind.
    with interruptible() as interruption, execution.connection() as connection:
        call = _Call(execution, interruption, connection, until, retry_failed, accept_changes)
        with call.results(plan, groups, directory, note, save=save) as results:
            result = call.executed(plan, groups, results, limit, observe)
            # Within the lock of the sweep, so that nobody removes its directory meanwhile.
            call.confirm(result, save=save, observe=observe, note=note)
            return result


@dataclass(frozen=True)
class _Call:
    """How a sweep is executed, and the one that confirms it."""

    execution: Execution
    interruption: Interruption
    connection: "Connection | None"
    until: float
    """When the time of the budget is over, by the monotonic clock."""
    retry_failed: bool
    accept_changes: bool

    @contextmanager
    def results(
        self,
        plan: Plan,
        groups: Sequence[Group],
        directory: Path | None,
        note: Callable[[str], None],
        *,
        save: bool,
        is_confirmation: bool = False,
    ) -> Iterator[Store | MemoryStore]:
        """Open what the results of a plan are written to."""
        if not save:
            memory = MemoryStore(plan.configs, Status.WAITING)
            keep_prepared(memory, (each for group in groups for each in group.prepared))
            yield memory
            return
        with open_store(
            plan,
            groups,
            RUNS,
            directory,
            self.execution.plugins,
            note,
            accept_changes=self.accept_changes,
            is_confirmation=is_confirmation,
        ) as store:
            store.log(INFERRED, lines=list(dict.fromkeys(line for each in groups for line in each.inferred)))
            if figures := {key: of for each in groups for key, of in each.baselines.items()}:
                store.log(BASELINES, figures=figures)
            keep_prepared(store, (each for group in groups for each in group.prepared))
            if self.retry_failed:
                retry(plan, store)
            yield store

    def executed(
        self,
        plan: Plan,
        groups: Sequence[Group],
        results: Store | MemoryStore,
        limit: int | None,
        observe: Callable[[SweepProgress], None] | None,
    ) -> Sweep:
        """Execute what is left of a plan."""
        ended = int(States.of(results.states()).ended.sum())
        try:
            plan = carry_out(
                plan,
                groups,
                results,
                self.execution,
                limit=limit,
                interrupted=lambda: self.interruption() or self._is_over(),
                observe=observe,
                connection=self.connection,
            )
        except Exception as error:
            with suppress(StoreError):  # which may be the error being handled
                _settle(results)
            is_kept = isinstance(results, Store) and self.connection is not None
            if not is_kept or not isinstance(error, RunFailedError):
                raise
            ended = int(States.of(results.states()).ended.sum())
            kept = f"{ended:,} of {counted(plan.size, 'run')} have ended and are kept"
            raise RunFailedError(f"{error}; {kept}") from error
        states = with_figure(_settle(results), results, plan.metric.name, plan.metric.goal_of)
        if isinstance(results, Store):
            # Even if no run was left: an earlier process may have been killed before it wrote the summary.
            summarise(plan, results, states)
        executed = int(states.ended.sum()) - ended
        signal = self.interruption.signal
        sweep = Sweep(ranking_of(plan), results, states, plan=plan, signal=signal, executed=executed)
        is_limited = limit is not None or self._is_over()
        if is_limited and sweep.left and not self._has_stopped(sweep) and isinstance(results, Store):
            results.log(LIMITED, limit=limit)
        return sweep

    def _is_over(self) -> bool:
        return time.monotonic() >= self.until

    def _has_stopped(self, sweep: Sweep) -> bool:
        """Whether an interruption has ended a sweep, or the failure of a run that was to end it."""
        has_failed = sweep.states.count(Status.FAILED) > 0
        return self.interruption() or (self.execution.fail_fast and has_failed and sweep.executed > 0)

    def confirm(
        self,
        result: Sweep,
        *,
        save: bool,
        observe: Callable[[SweepProgress], None] | None,
        note: Callable[[str], None],
    ) -> None:
        """Execute what confirms a sweep that is through; nothing after an interruption or the failure that ended it."""
        if result.left or result.plan is None or (plan := confirmation(result.plan, result.states)) is None:
            return
        result.confirmation_left = plan.size
        if self._has_stopped(result):
            return
        groups = grouped(plan)
        directory = result.path / CONFIRM if result.path is not None else None

        def note_there(text: str) -> None:
            note(f"{CONFIRM}: {text}")

        def observe_there(now: SweepProgress) -> None:
            if observe is not None:
                observe(replace(now, confirms=True))

        with self.results(plan, groups, directory, note_there, save=save, is_confirmation=True) as results:
            result.confirmed = self.executed(plan, groups, results, None, observe_there if observe else None)
        result.confirmation_left, result.signal = result.confirmed.left, result.confirmed.signal


def _settle(results: Store | MemoryStore) -> States:
    """Mark unfinished runs as interrupted (or waiting, at step 0), and return the state of each run."""
    states = States.of(results.states())
    if left := settled(states):
        results.commit(states=left)
    for run, state in left.items():
        states[run] = state
    return states


def check_ended(sweep: Sweep) -> None:
    """Raise RunFailedError if a run has failed, or has not ended."""
    failed = [state.reason for state in sweep.states if state.status is Status.FAILED]
    if failed or sweep.left:
        left = f"{sweep.left} of {len(sweep.states)} runs have not ended"
        raise RunFailedError(failed[0] if failed else left, signal=sweep.signal)


def load_sweep(path: str | Path) -> Sweep:
    """Read a sweep, which may still be running; ``path`` is a sweep as commands accept it.

    Raises StoreError if the store is damaged or holds a single run.
    """
    directory, number = find_numbered(path)
    if number is not None:
        raise StoreError(f"{path}: run {number} of a sweep: read it with optrun.load_run")
    with Store.open(directory) as store:
        plan = plan_of(store)
        if plan is None:
            raise StoreError(
                f"{path}: a single run, not a sweep: `optrun show` prints it, optrun.load_run reads it"
            )
        sweep = Sweep(plan, store, store.states())
    if not sweep.left and (directory / CONFIRM / RESULTS).exists():
        sweep.confirmed = load_sweep(directory / CONFIRM)
        sweep.confirmation_left = sweep.confirmed.left
    return sweep
