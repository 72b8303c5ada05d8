"""The store of one experiment, written by one process at a time, each time in one durable transaction."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from operator import index
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from optrun.arrays import Array
from optrun.errors import StoreError
from optrun.store import attempts, blobs, verified
from optrun.store.curve_columns import CURVE, EVALUATION
from optrun.store.curves import append, join, merge
from optrun.store.directory import collect, create_directory, lock
from optrun.store.event_names import RESET
from optrun.store.locate import CONFIG, RESULTS
from optrun.store.opening import initialise
from optrun.store.pack_columns import PackColumns, unpack
from optrun.store.reader import Reader
from optrun.store.rearrange import rearrange
from optrun.store.runs import (
    LEFT_IN,
    Runs,
    check_left,
    insert_runs,
    put_states,
    read_states,
    unpack_runs,
    write_states,
)
from optrun.store.setting_columns import SETTINGS, SettingColumns
from optrun.store.snapshots import snapshot_rows
from optrun.store.states import States
from optrun.store.store_errors import store_errors
from optrun.store.types import Checkpoint, Event, RunState, Status

NONE: Mapping[Any, Any] = MappingProxyType({})


class Store(Reader):
    """A run directory, open for reading or, by one process at a time, for writing."""

    resumable = True
    """Whether a checkpoint that was committed can be read back."""

    def __init__(self, path: Path, *, write: bool) -> None:
        self._pending: list[Event] = []
        self._lock = lock(path) if write else None
        self._write = write
        self._attempt = 0
        self._states: States | None = None
        """Those of all runs, as the only process that writes has read them, and written them since."""
        try:
            super().__init__(path, write=write)
        except BaseException:
            self._unlock()
            raise

    @classmethod
    def create(
        cls,
        parent: Path,
        name: str,
        *,
        directory: Path | None = None,
        config_yaml: str,
        runs: Runs,
        status: Status = Status.RUNNING,
        events: Mapping[str, Mapping[str, Any]] = NONE,
        settings: SettingColumns | None = None,
    ) -> Self:
        """Create the directory of an experiment and open it for writing.

        It is `parent/<UTC time>-<name>-<4 hex>`, or ``directory``, which must not exist or be empty.
        ``runs`` are pairs of a config (a JSON object) and a seed, which begin with this status; ``events`` are as
        those of `commit`, ``settings`` what the plan among them counts. All of it is there as soon as the directory
        is. Raises StoreError where it cannot be created, and leaves nothing.
        """

        def fill(staging: Path) -> None:
            (staging / CONFIG).write_bytes(config_yaml.encode())
            with closing(initialise(staging / RESULTS)) as db, db:
                insert_runs(db, runs, status)
                if settings is not None:
                    settings.write(db)
                attempts.begin(db, "created")
                attempts.write_events(db, [attempts.event(kind, 0, **of) for kind, of in events.items()])

        with store_errors(directory or parent, creates=True):
            store = cls(create_directory(parent, name, directory, fill), write=True)
        store._states = States(store.size, status)
        return store

    @classmethod
    def open(cls, path: Path, *, write: bool = False) -> Self:
        """Open a run directory; for writing, what runs have left that have not ended is verified first.

        Raises StoreError where it is missing, damaged, of a newer format, not one that optrun wrote, or being
        written by another process.
        """
        with store_errors(path):
            store = cls(path, write=write)
            if write:
                try:
                    store._begin_attempt()
                except BaseException:
                    store.close()
                    raise
            return store

    def commit(
        self,
        *,
        curves: Mapping[int, Mapping[str, Array]] = NONE,
        evaluations: Mapping[int, Mapping[str, Array]] = NONE,
        states: Mapping[int, RunState] = NONE,
        params: Mapping[int, Mapping[str, Array]] = NONE,
        snapshots: Mapping[int, Mapping[int, Mapping[str, Array]]] = NONE,
        checkpoints: Mapping[int, Checkpoint | None] = NONE,
        packs: Sequence[PackColumns] = (),
        events: Mapping[str, Mapping[str, Any]] = NONE,
    ) -> None:
        """Write, in one durable transaction, what was recorded since the last one.

        ``curves`` and ``evaluations`` append a segment to each run's columns ``[n]``: ``step`` (integers) and
        any metrics (floats). A final state merges the run's segments, so that nothing tells how often it was
        committed. ``params`` are a run's last parameters; none drop what there is. ``snapshots`` are
        parameters that a run keeps along its way, by step. A run's checkpoint replaces its
        older one; None drops it. ``packs`` are all that runs have left that had left nothing yet, with their
        states. ``events`` are the details, by kind, of what happened with it.

        Raises StoreError, and changes nothing, where a segment does not continue its curve, a run of a pack has
        left something before, or the disk refuses.
        """
        known = self._states
        with self._transaction(states, events, packs):
            for run in {*curves, *evaluations, *states, *params, *snapshots}:
                self._check(run)
            unpack(self._db, {*curves, *evaluations, *params, *snapshots})
            for pack in packs:
                known, places = known or read_states(self._db), np.asarray(pack.runs)
                self._check_new(pack.runs, known)
                pack.write(self._db)
                put_states(self._db, places, pack.states)
                known.put(places, pack.states)
            for run, checkpoint in checkpoints.items():
                self._put_checkpoint(run, checkpoint)
            final = {run for run, state in states.items() if state.status.final}
            for kind, segments in ((CURVE, curves), (EVALUATION, evaluations)):
                begun = append(self._db, kind, {index(run): of for run, of in segments.items()})
                for run in sorted(final - begun):
                    merge(self._db, run, kind)
            for run, taken in snapshots.items():
                verified.insert(self._db, "curves", snapshot_rows(index(run), taken))
            dropped = [(index(run),) for run, arrays in params.items() if not arrays]
            self._db.executemany("DELETE FROM params WHERE run = ?", dropped)
            finals = ((run, blobs.encode_npz(arrays)) for run, arrays in params.items() if arrays)
            verified.insert(self._db, "params", finals)
            stored = write_states(self._db, states)
        # What was written is what would be read: reading it again takes as long as writing it.
        if known is not None:
            for run, state in stored.items():
                known[run] = state
        self._states = known

    def put_states(self, runs: Array, states: States) -> None:
        """Write the states of runs ``[n]``, whose numbers increase and which have not ended; it is durable.

        Raises StoreError.
        """
        known = self._states
        with self._transaction():
            put_states(self._db, runs, states)
        if known is not None:
            known.put(runs, states)
        self._states = known

    def add(
        self,
        runs: Runs,
        events: Mapping[str, Mapping[str, Any]] = NONE,
    ) -> None:
        """Write more runs that wait, pairs of a config and a seed, and events, in one durable transaction.

        Raises StoreError.
        """
        with self._transaction(events=events):
            count = insert_runs(self._db, runs, Status.WAITING, self.size)
        self.size += count

    def rearrange(
        self,
        runs: Runs,
        found: Mapping[int, int],
        events: Mapping[str, Mapping[str, Any]] = NONE,
        settings: SettingColumns | None = None,
    ) -> None:
        """Make these the runs, pairs of a config and a seed, in one durable transaction with events.

        What the run ``new`` has left is what the run ``found[new]`` has left so far, with its state, checkpoint and
        events; one that is not there waits. Others that have left something are `kept`. Raises StoreError.
        """
        with self._transaction(events=events):
            size = rearrange(self._db, runs, found)
            self._db.execute("DELETE FROM blocks WHERE kind = ?", (SETTINGS,))
            if settings is not None:
                settings.write(self._db)
        self.size = size

    def prolong(
        self,
        run: int,
        config: Mapping[str, Any],
        checkpoint: Checkpoint | None,
        events: Mapping[str, Mapping[str, Any]] = NONE,
    ) -> None:
        """Have a run that has come to this checkpoint go on as another config says, in one durable transaction.

        What it left at its end alone goes: the last evaluation, the parameters and the summary. Raises StoreError.
        """
        with self._transaction(events=events):
            record = self._run(run)
            unpack_runs(self._db)
            join(self._db, run, CURVE)  # else damage is noticed where the run ends again
            evaluations = {name: values[:-1] for name, values in join(self._db, run, EVALUATION).items()}
            row = (run, record.seed, blobs.dumps(dict(config), f"config of run {run}"))
            verified.insert(self._db, "runs", [row])
            write_states(self._db, {run: RunState(status=Status.INTERRUPTED, steps=record.steps)})
            self._put_checkpoint(run, checkpoint)
            if record.status.final:
                self._db.execute("DELETE FROM params WHERE run = ?", (run,))
                self._db.execute("DELETE FROM curves WHERE run = ? AND kind = ?", (run, EVALUATION))
                append(self._db, EVALUATION, {run: evaluations})

    def reset(self, runs: Iterable[int]) -> None:
        """Have runs wait as if they had never begun, in one durable transaction; events tell of it."""
        with self._transaction():
            chosen = [self._check(run) for run in runs]
            unpack(self._db, chosen)
            for table in LEFT_IN:
                self._db.executemany(f"DELETE FROM {table} WHERE run = ?", [(run,) for run in chosen])
            write_states(self._db, {run: RunState(status=Status.WAITING) for run in chosen})
            attempts.write_events(self._db, [attempts.event(RESET, self._attempt, run) for run in chosen])

    def log(self, kind: str, run: int | None = None, **details: Any) -> None:
        """Note an event on which nothing depends, such as how long something took.

        It is written by the next commit or the closing, whatever becomes of what is committed in between: what is true
        of results alone is among the events of `commit`.
        """
        self._pending.append(attempts.event(kind, self._attempt, run, **details))

    def states(self) -> States:
        """Return every run's state."""
        states = super().states() if self._states is None else self._states
        self._states = states if self._write else None
        return states.copy() if self._write else states

    def close(self) -> None:
        """Write pending events, close the file and let others write."""
        try:
            if self._pending:
                self.commit()
        finally:
            super().close()
            self._unlock()

    def _begin_attempt(self) -> None:
        # Of runs that go on, damage would be noticed only when their turn comes, or at their end.
        check_left(self._db)
        collect(self.path, locked=True)
        with self._db:
            self._attempt = attempts.begin(self._db, "resumed")

    @contextmanager
    def _transaction(
        self,
        states: Mapping[int, RunState] = NONE,
        events: Mapping[str, Mapping[str, Any]] = NONE,
        packs: Sequence[PackColumns] = (),
    ) -> Iterator[None]:
        """Write what is written inside, all or nothing, and that it happened.

        The events are what was noted, the details by kind, and which of the runs with these states, or of these packs,
        have ended.
        """
        with store_errors(self.path):
            if not self._write:
                raise StoreError("opened for reading only")
            self._states = None
            with self._db:
                attempts.write_events(self._db, self._pending)
                yield
                now: dict[str, Any] = {"time": attempts.now(), "attempt": self._attempt}
                happened = [Event(kind=kind, details=details, **now) for kind, details in events.items()]
                attempts.write_events(self._db, happened)
                attempts.write_ends(self._db, self._attempt, states)
                attempts.write_packs(self._db, self._attempt, [pack.runs for pack in packs])
            self._pending.clear()

    def _check_new(self, runs: Sequence[int], states: States) -> None:
        """Check that runs have left nothing yet: no row, nor, by the states of all, a part of a block."""
        ends = (self._check(min(runs)), self._check(max(runs)))
        own = states.chosen(np.asarray(runs))
        if (begun := own.ended | (own.steps > 0)).any():
            raise StoreError(f"run {runs[int(np.argmax(begun))]} has made its steps already")
        for table in LEFT_IN:
            left = f"SELECT DISTINCT run FROM {table} WHERE run BETWEEN ? AND ?"
            if found := sorted({run for (run,) in self._db.execute(left, ends)}.intersection(runs)):
                raise StoreError(f"run {found[0]} has {table} already")

    def _put_checkpoint(self, run: int, checkpoint: Checkpoint | None) -> None:
        self._db.execute("DELETE FROM checkpoints WHERE run = ?", (index(run),))
        if checkpoint is not None:
            meta = blobs.dumps(dict(checkpoint.meta), f"checkpoint of run {run}")
            verified.insert(self._db, "checkpoints", [(run, meta, blobs.encode_npz(checkpoint.arrays))])

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
