"""What is read from the store of an experiment: runs, their curves, checkpoints and parameters, and what happened."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import index
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from optrun.arrays import Array
from optrun.errors import StoreError
from optrun.store import attempts, schema, verified
from optrun.store.curve_columns import EVALUATION
from optrun.store.curves import column_names, evaluated, join, recorded
from optrun.store.event_names import PACK, RESET, TRACEBACK
from optrun.store.opening import open_results
from optrun.store.runs import (
    KEPT,
    count_runs,
    read_all_runs,
    read_checkpoint,
    read_kept,
    read_params,
    read_run,
    read_seeds,
    read_states,
    read_steps,
    virtual_rows,
)
from optrun.store.setting_columns import SettingColumns
from optrun.store.snapshots import read_snapshot, snapshot_steps
from optrun.store.states import States
from optrun.store.store_errors import store_errors
from optrun.store.types import Checkpoint, Event, ListedRun, RunRecord, Status


class Reader:
    """A run directory, open for reading.

    Runs are numbered from 0 to ``size`` - 1. A curve is a column ``[n]`` beside the column ``step``; what was
    committed together is read together, or not at all.
    """

    def __init__(self, path: Path, *, write: bool = False) -> None:
        self.path = path
        self._db = open_results(path, write=write)
        try:
            self.size = count_runs(self._db)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def runs(self) -> list[RunRecord]:
        """Return every run's config, seed and state."""
        with store_errors(self.path):
            return read_all_runs(self._db)

    def listed(self) -> list[ListedRun]:
        """Return every run, whose config is read whenever it is asked for, while this is open."""
        with store_errors(self.path), verified.at_once(self._db):
            states = read_states(self._db)
            seeds = read_seeds(self._db).tolist()
        if len(seeds) != len(states):
            raise StoreError(f"{self.path}: damaged: a run has no state, or a state no run")
        read = self.run
        return [
            ListedRun(
                run=run,
                seed=seed,
                read=read,
                status=state.status,
                reason=state.reason,
                steps=state.steps,
                summary=state.summary,
            )
            for run, (seed, state) in enumerate(zip(seeds, states, strict=True))
        ]

    def kept(self) -> list[RunRecord]:
        """Return the runs that are kept aside, which the plan of a sweep had once, and has no more."""
        with store_errors(self.path):
            return read_kept(self._db)

    def states(self) -> States:
        """Return every run's state."""
        with store_errors(self.path):
            return read_states(self._db)

    def run(self, run: int) -> RunRecord:
        """Return one run's config, seed and state; StoreError where there is no such run."""
        with store_errors(self.path):
            return self._run(run)

    def curves(self, run: int = 0) -> dict[str, Array]:
        """Return a run's curves, each ``[n]``: ``step`` (int64) and the metrics (float64), as recorded."""
        with store_errors(self.path), verified.at_once(self._db):
            return recorded(self._db, run := self._check(run), read_steps(self._db, run))

    def columns(self, run: int) -> list[str]:
        """Return the names of a run's curves."""
        with store_errors(self.path):
            return column_names(self._db, self._check(run))

    def evaluations(self, run: int = 0) -> dict[str, Array]:
        """Return a run's evaluations in the form of `curves`, at steps of their own."""
        with store_errors(self.path):
            return join(self._db, self._check(run), EVALUATION)

    def series(self, names: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Array]]]:
        """Yield each run that was evaluated by all of these metrics, and the columns ``[n]`` of these and the steps."""
        with store_errors(self.path):
            yield from evaluated(self._db, names, KEPT)

    def seconds(self) -> dict[int, float | None]:
        """Return how long runs took that ended at their target; None for those that shared a pack."""
        reached = np.flatnonzero(self.states().are(Status.TARGET_REACHED)).tolist()
        ended = self.events(Status.TARGET_REACHED) if reached else []
        known = {event.run: event.details.get("seconds") for event in ended}
        return {run: known.get(run) for run in reached}

    def params(self, run: int = 0) -> dict[str, Array]:
        """Return a run's parameters by name, at its end or where it waits at a rung of its sweep; nothing before."""
        with store_errors(self.path):
            return read_params(self._db, self._check(run))

    def snapshot_steps(self, run: int = 0) -> list[int]:
        """Return the steps whose parameters a run has kept along its way."""
        with store_errors(self.path):
            return snapshot_steps(self._db, self._check(run))

    def snapshot(self, run: int, step: int) -> dict[str, Array]:
        """Return the parameters that a run has kept at a step, by name; nothing where it has none."""
        with store_errors(self.path):
            return read_snapshot(self._db, self._check(run), index(step))

    def checkpoint(self, run: int = 0) -> Checkpoint | None:
        """Return a run's latest checkpoint, or None where it has none."""
        with store_errors(self.path):
            return read_checkpoint(self._db, index(run))

    def environments(self) -> list[dict[str, Any]]:
        """Return where it was executed: one fingerprint for each process that wrote, the first one first."""
        with store_errors(self.path):
            return attempts.read_environments(self._db)

    def events(self, kind: str | None = None) -> list[Event]:
        """Return what happened when, all or what is of a kind, in the order in which it was written."""
        with store_errors(self.path):
            return attempts.read_events(self._db, kind)

    def settings(self, first: int, count: int) -> SettingColumns:
        """Return so many settings of a sweep from a number on, of those that are stored as columns."""
        with store_errors(self.path):
            return SettingColumns.read(self._db, first, count)

    def events_of(self, run: int) -> list[Event]:
        """Return what happened with a run, and with all of them; that its pack ended is that it ended."""
        found = []
        for event in self.events():
            if event.kind == PACK:
                if attempts.is_among(run, event.details):
                    found.append(replace(event, kind=str(self.run(run).status), run=run, details={}))
            elif event.run in (None, run):
                found.append(event)
        return found

    def traceback(self, run: int = 0) -> str:
        """Return the traceback by which a run failed; nothing where there is none, as where its process died."""
        of_run = [event for event in self.events() if event.run == run and event.kind in (TRACEBACK, RESET)]
        return str(of_run[-1].details.get("text", "")) if of_run else ""

    def results_digest(self) -> str:
        """Return the SHA-256 of all results: equal for runs that ended alike, however they were executed.

        Times, machines, checkpoints and runs that are kept aside do not count.
        """
        digest = hashlib.sha256()
        with store_errors(self.path):
            for table in schema.RESULT_TABLES:
                for row in virtual_rows(self._db, table, self.size):
                    for part in verified.canonical_bytes((table, *row)):
                        digest.update(part)
        return digest.hexdigest()

    def _run(self, run: int) -> RunRecord:
        return read_run(self._db, self._check(run))

    def _check(self, run: int) -> int:
        if not 0 <= run < self.size:
            raise StoreError(f"there is no run {run}: the runs are 0 … {self.size - 1}")
        return index(run)
