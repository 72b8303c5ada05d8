"""`watch RUN`: follow a run that another process writes, as of its last checkpoint."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Protocol, TypeVar

from rich.console import Group
from rich.live import Live
from rich.text import Text

from optrun.analysis.leaderboard import single
from optrun.analysis.summaries import state_of
from optrun.arrays import Array
from optrun.cli.text.console import console, counted, drawn, span, status_text
from optrun.cli.text.metrics import number
from optrun.cli.views.run_overview import print_outcome, suggest_for
from optrun.errors import printable
from optrun.plots.terminal import Series, drawing
from optrun.plots.ticks import prefers_log
from optrun.store import RunRecord, Status, Store
from optrun.store.directory import is_being_written
from optrun.store.locate import RESULTS

POLL_SECONDS = 0.25
MOST_LINES = 30
BAR = 24


@dataclass(frozen=True)
class Snapshot:
    """A run as of its last commit."""

    status: str
    record: RunRecord
    curves: dict[str, Array]
    committed: datetime


class HasStatus(Protocol):
    """A snapshot of a run or a sweep."""

    @property
    def status(self) -> str: ...


S = TypeVar("S", bound=HasStatus)


def watch_run(path: Path) -> int:
    """Follow a run until it ends and print its outcome; return 1 if it failed, diverged or was killed, else 0."""
    with exiting_on_sigterm(), _view(path) as show:
        for snapshot in follow(path, read=read_run):
            show(snapshot)
    print_outcome(path, snapshot.status, snapshot.record)
    suggest_for(path, snapshot.status)
    return 1 if snapshot.status in ("diverged", "failed", "killed") else 0


def follow(
    path: Path, wait: Callable[[float], None] = time.sleep, *, read: Callable[[Path], S]
) -> Iterator[S]:
    """Yield a snapshot of a run or a sweep, as ``read`` returns it, a few times a second until it has ended.

    The store is opened only after a commit, so that a reader does not block its writer; otherwise only the writer's
    lock is checked.
    """
    seen = _stamp(path)
    snapshot = read(path)
    yield snapshot
    while snapshot.status == Status.RUNNING:
        wait(POLL_SECONDS)
        stamp = _stamp(path)
        if stamp != seen or not is_being_written(path):
            seen, snapshot = stamp, read(path)
        yield snapshot


def _stamp(path: Path) -> tuple[int, int]:
    """Return mtime and size of the store, which a commit changes; zeros if it is missing (opening it then raises)."""
    try:
        stat = (path / RESULTS).stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


def read_run(path: Path) -> Snapshot:
    """Return a run as of its last commit."""
    committed = datetime.fromtimestamp(_stamp(path)[0] / 1e9, UTC)
    with Store.open(path) as store:
        status, record = state_of(store, store.run(single(store, None)))
        return Snapshot(status, record, store.curves(), committed)


@contextmanager
def _view(path: Path) -> Iterator[Callable[[Snapshot], None]]:
    out = console()
    if not out.is_terminal or out.is_dumb_terminal:
        yield _Lines()
        return
    with Live(console=out, screen=True, auto_refresh=False) as live:
        yield lambda snapshot: live.update(_frame(path, snapshot, *out.size), refresh=True)


class _Lines:
    """Prints a line for each commit."""

    def __init__(self) -> None:
        self._last: int | None = None

    def __call__(self, snapshot: Snapshot) -> None:
        steps = snapshot.record.steps
        if steps == self._last or snapshot.status != Status.RUNNING:
            return
        self._last = steps
        waits = (
            "" if snapshot.curves else f"  no rows yet: they come with each checkpoint, {_every(snapshot)}"
        )
        print(_progress(snapshot) + _values(snapshot) + waits, flush=True)


def _frame(path: Path, snapshot: Snapshot, width: int, height: int) -> Group:
    name = printable(str(snapshot.record.config.get("name", "")))
    ago = span((datetime.now(UTC) - snapshot.committed).total_seconds())
    head = Text.assemble((name, "bold"), "  ", status_text(snapshot.status), f"  {printable(str(path))}")
    position = Text(_bar(snapshot) + _progress(snapshot) + _values(snapshot))
    freshness = Text(f"as of the last checkpoint, {ago} ago; Ctrl-C stops watching, not the run", "dim")
    lines: list[Text] = [head, position, Text()]
    room = min(height, MOST_LINES) - len(lines) - 3
    if snapshot.curves:
        loss = max(5, room * 2 // 3)
        for metric, rows in (("loss", loss), ("lr", room - loss)):
            if rows >= 5:
                series = [Series(metric, snapshot.curves["step"], snapshot.curves[metric])]
                log = prefers_log(metric, [snapshot.curves[metric]])
                lines.append(drawn(drawing(series, width=width, height=rows, log=log, title=metric)))
    else:
        lines.append(Text(f"no rows yet: they are stored with each checkpoint, {_every(snapshot)}"))
    lines += [Text(), freshness]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines)


def _every(snapshot: Snapshot) -> str:
    """Return the checkpoint interval of a run in words."""
    section = snapshot.record.config.get("checkpoint")
    every = section.get("every") if isinstance(section, dict) else None
    if every is None:
        return "and this run has none before its end"
    return printable(f"every {every}" if isinstance(every, str) else f"every {counted(every, 'step')}")


def _total(snapshot: Snapshot) -> int | None:
    steps = snapshot.record.config.get("steps")
    return steps if type(steps) is int and steps > 0 else None


def _bar(snapshot: Snapshot) -> str:
    total = _total(snapshot)
    if total is None:
        return ""
    done = min(BAR, BAR * snapshot.record.steps // total)
    return f"{'━' * done}{'─' * (BAR - done)} "


def _progress(snapshot: Snapshot) -> str:
    total = _total(snapshot)
    return f"step {snapshot.record.steps:,}" + (f" of {total:,}" if total else "")


def _values(snapshot: Snapshot) -> str:
    if not snapshot.curves:
        return ""
    return (
        f"  loss {number(float(snapshot.curves['loss'][-1]))}  lr {number(float(snapshot.curves['lr'][-1]))}"
    )


@contextmanager
def exiting_on_sigterm() -> Iterator[None]:
    """Raise SystemExit on SIGTERM, so that the terminal is restored."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
