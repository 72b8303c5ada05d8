"""Summaries of run directories: status, config and results of each in one row."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np

from optrun.analysis.leaderboard import (
    Standing,
    SweepPlan,
    by_problem,
    leaderboard,
    paths_of,
    plan_of,
    plugins_of,
    states_of,
)
from optrun.errors import StoreError, printable
from optrun.store import Event, RunRecord, Status, Store
from optrun.store.directory import is_being_written
from optrun.store.event_names import LIMITED, PLAN
from optrun.store.locate import is_run_directory, run_directories
from optrun.store.states import States
from optrun.store.types import ListedRun
from optrun.sweeps.plan.expand import CONFIRM
from optrun.sweeps.sweep_store import written_confirm

KILLED, BROKEN = "killed", "broken"
STATES = (*map(str, Status), KILLED, BROKEN)
RESUMABLE = (str(Status.INTERRUPTED), str(Status.WAITING), KILLED)


@dataclass(frozen=True)
class Summary:
    """One run directory; ``status`` is one of STATES, and a broken one has only a path and a reason besides.

    A sweep has failed or diverged if all its runs have; its losses are the lowest of its runs. ``ended``, ``failed``
    and ``diverged`` count the runs of a sweep.
    """

    path: Path
    status: str
    reason: str = ""
    name: str = ""
    problem: str = ""
    optimizer: str = ""
    steps: int = 0
    final_loss: float | None = None
    average_loss: float | None = None
    created: datetime | None = None
    runs: int = 1
    over: tuple[str, ...] = ()
    """The swept parameters."""
    ended: int = 0
    metric: str = ""
    best: float | None = None
    """The median of the metric of the best setting of a sweep; None if it has several problems."""
    problems: int = 1
    """The number of problems of a sweep."""
    failed: int = 0
    diverged: int = 0
    method: str = ""
    plugins: tuple[str, ...] = ()
    """The plugins with which the run or the sweep was started."""
    record: RunRecord | None = None
    """The stored record of a single run; None for a sweep."""
    confirmation: "Summary | None" = None
    """The confirmation of a sweep that is through itself; None if it has none."""

    @property
    def is_resumable(self) -> bool:
        """Whether runs are left and nobody executes them, those of the confirmation included."""
        left = self.confirmation is not None and self.confirmation.status in RESUMABLE
        return self.status in RESUMABLE or left

    def is_one_of(self, statuses: tuple[str, ...]) -> bool:
        """Whether the status is one of these; a sweep with a failed run also counts as failed."""
        return self.status in statuses or (str(Status.FAILED) in statuses and self.failed > 0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: for a single run those of `run_object`, and when it was created."""
        created = self.created.isoformat(timespec="seconds") if self.created else None
        if self.record is not None:
            return {**run_object(self.path, self.status, self.record), "created": created}
        fields = {name: value for name, value in vars(self).items() if name != "record"}
        confirmation = self.confirmation.to_dict() if self.confirmation is not None else None
        return {**fields, "path": str(self.path), "created": created, "confirmation": confirmation}


class Described(Protocol):
    """A stored run, or a run of the Python API."""

    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def reason(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def summary(self) -> Mapping[str, float | None]: ...


def run_object(path: Path | None, status: str, run: Described, number: int | None = None) -> dict[str, Any]:
    """Return the JSON object that every command prints for a run; ``number`` is its number in a sweep.

    The entry ``run`` is the argument that commands accept, ``path`` the directory; both are None if it is not saved.
    """
    place = None if path is None else str(path)
    return {
        "run": place if number is None else f"{place}:{number}",
        "path": place,
        "status": str(status),
        "reason": run.reason,
        "steps": run.steps,
        "seed": run.config.get("seed"),
        "summary": dict(run.summary),
        "config": run.config,
    }


def summaries(root: Path, statuses: tuple[str, ...] = ()) -> Iterator[Summary]:
    """Yield the runs in a directory lazily, the newest first, optionally only those with one of the statuses.

    Runs that are removed meanwhile are skipped.
    """
    for path in run_directories(root):
        summary = summary_of(path)
        if summary.status == BROKEN and not path.exists():
            continue
        if not statuses or summary.is_one_of(statuses):
            yield summary


def summary_of(path: Path) -> Summary:
    """Return the summary of a run directory, which may be damaged."""
    try:
        with Store.open(path) as store:
            record = store.run(0)
            created = store.events("created")
            if store.size > 1 or store.events(PLAN):
                return _summary_of_sweep(store, record, created)
            return _summary_of_run(store, *state_of(store, record), created)
    except StoreError as error:
        return Summary(path, BROKEN, printable(str(error).removeprefix(f"{path}: ")))
    except Exception as error:  # one damaged directory must not keep the others from being listed
        return Summary(path, BROKEN, printable(f"damaged: {type(error).__name__}: {error}"))


def _summary_of_run(store: Store, status: str, record: RunRecord, created: Sequence[Event]) -> Summary:
    return Summary(
        store.path,
        status,
        printable(record.reason),
        printable(str(record.config.get("name", ""))),
        name_in(record.config, "problem"),
        name_in(record.config, "optimizer"),
        record.steps,
        record.summary.get("final_loss"),
        record.summary.get("average_loss"),
        parse_time(created[0].time) if created else None,
        plugins=plugins_of(store),
        record=record,
    )


def _summary_of_sweep(store: Store, first: RunRecord, created: list[Event]) -> Summary:
    plan = plan_of(store)
    states = states_of(store, plan) if plan else store.states()
    over = paths_of(plan.settings) if plan else []
    standings: Sequence[Standing] = leaderboard(plan, states) if plan else []
    problems = max(1, len(by_problem(standings)))
    ended = int(states.ended.sum())
    is_through = ended == max(plan.runs if plan else 0, len(states))
    best = standings[0].median if standings and problems == 1 else None
    return Summary(
        store.path,
        sweep_status(store, states, plan),
        "",
        printable(str(first.config.get("name", ""))),
        name_in(first.config, "problem"),
        name_in(first.config, "optimizer"),
        int(states.steps.sum()),
        _lowest(states, "final_loss"),
        _lowest(states, "average_loss"),
        parse_time(created[0].time) if created else None,
        len(states),
        tuple(map(printable, over)),
        ended,
        printable(plan.metric) if plan else "",
        best,
        problems,
        states.count(Status.FAILED),
        states.count(Status.DIVERGED),
        printable(plan.method) if plan else "",
        plan.plugins if plan else (),
        confirmation=confirmation_of(store) if is_through else None,
    )


def confirmation_of(store: Store) -> Summary | None:
    """Return the summary of the confirmation of a sweep that is through itself; None if it has none."""
    path = store.path / CONFIRM
    if is_run_directory(path):
        return summary_of(path)
    if written_confirm(store.path) is None:
        return None
    status = Status.RUNNING if is_being_written(store.path) else Status.INTERRUPTED
    return Summary(path, str(status), runs=0)


def sweep_status(store: Store, states: States, plan: SweepPlan | None) -> str:
    """Return the status of a sweep: that of all its runs, or completed if they ended differently.

    A sweep that has executed as many runs as it was to (`--limit`) is waiting, and not interrupted.
    """
    statuses = states.statuses
    if plan and plan.runs > len(states):
        statuses.add(Status.WAITING)
    if not all(status.final for status in statuses):
        if is_being_written(store.path):
            return str(Status.RUNNING)
        if Status.RUNNING in statuses:
            return KILLED
        limited = [event.attempt for event in store.events(LIMITED)]
        is_last = limited[-1:] == [len(store.environments()) - 1]
        return str(Status.WAITING if is_last else Status.INTERRUPTED)
    return str(statuses.pop() if len(statuses) == 1 else Status.COMPLETED)


def _lowest(states: States, figure: str) -> float | None:
    values = states.figures.get(figure, np.empty(0))
    return float(np.nanmin(values)) if np.isfinite(values).any() else None


def file_sizes(path: Path) -> dict[str, int]:
    """Return the file sizes of a run directory and the directories in it, in bytes.

    Files that vanish meanwhile are skipped.
    """
    sizes = {}
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            with suppress(OSError):
                file = Path(folder, name)
                sizes[file.relative_to(path).as_posix()] = file.lstat().st_size
    return sizes


@overload
def state_of(store: Store, record: RunRecord) -> tuple[str, RunRecord]: ...
@overload
def state_of(store: Store, record: RunRecord | ListedRun) -> tuple[str, RunRecord | ListedRun]: ...
def state_of(store: Store, record: RunRecord | ListedRun) -> tuple[str, RunRecord | ListedRun]:
    """Return the status of a run and its record; a run that is marked running but has no writer is ``killed``.

    Raises StoreError if the directory is gone.
    """
    if record.status is not Status.RUNNING or is_being_written(store.path):
        return str(record.status), record
    # Read the record again: the run may have ended between reading it and checking for the writer.
    record = store.run(record.run)
    return (KILLED if record.status is Status.RUNNING else str(record.status)), record


def parse_time(text: str) -> datetime | None:
    """Parse the time of an event; None if it is malformed."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def name_in(config: Mapping[str, Any], part: str) -> str:
    """Return the name of a part of a stored config, such as its optimizer."""
    chosen = config.get(part)
    return printable(str(chosen.get("name", ""))) if isinstance(chosen, dict) else ""
