"""Progress of a sweep on stderr: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from optrun.cli.arguments import Show
from optrun.cli.live.run_progress import LINE_SECONDS, shown_as
from optrun.cli.live.throughput import Throughput, clock
from optrun.cli.text.console import counted
from optrun.errors import printable
from optrun.sweeps.writer import SweepProgress

MOST_COLUMNS = 100
NAME_COLUMNS = 24
BAR_COLUMNS = 12
"""The least width of the bar and the blanks around it."""

Observer = Callable[[SweepProgress], None]


def sweep_progress(name: str, show: Show, *, quiet: bool) -> AbstractContextManager[Observer | None]:
    """Return a context manager of the function that shows the progress of a sweep; None if nothing is shown."""
    match shown_as(show, quiet=quiet):
        case Show.LIVE | Show.BAR:
            return _bar(printable(name))
        case Show.PLAIN:
            return _lines()
        case _:
            return nullcontext(None)


class _Deaths:
    """Returns a message if workers have died since the last call."""

    def __init__(self) -> None:
        self._known = 0

    def __call__(self, now: SweepProgress) -> str:
        if now.deaths == self._known:
            return ""
        self._known = now.deaths
        return f"a worker died: its pack runs again ({counted(now.deaths, 'time')} so far)"


@contextmanager
def _lines() -> Iterator[Observer]:
    lines = _Lines()
    yield lines
    lines.end()


class _Lines:
    """Prints a line every tenth of the runs or every ten seconds, and one at the end."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self, *, confirms: bool = False) -> None:
        self._confirms = confirms
        self._next_run = 1.0
        self._next_time = time.monotonic() + LINE_SECONDS
        self._status = _Status()
        self._deaths = _Deaths()
        self._unprinted = ""
        """The latest line, if it has not been printed."""

    def __call__(self, now: SweepProgress) -> None:
        if now.confirms and not self._confirms:
            self.end()
            self._begin(confirms=True)
        if death := self._deaths(now):
            print(death, file=sys.stderr)
        self._unprinted = self._status(now, _count(now))
        if now.executed < self._next_run and time.monotonic() < self._next_time:
            return
        self.end()
        if now.executed >= self._next_run:
            self._next_run = now.executed + now.of_runs / 10
        self._next_time = time.monotonic() + LINE_SECONDS

    def end(self) -> None:
        if self._unprinted:
            print(self._unprinted, file=sys.stderr)
        self._unprinted = ""


@contextmanager
def _bar(name: str) -> Iterator[Observer]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    console = Console(stderr=True)
    console.width = min(console.width, MOST_COLUMNS)
    with Bar(*columns, console=console, transient=True, refresh_per_second=4) as bar:
        # Keep the cursor visible, so that it need not be restored after a kill.
        console.show_cursor(True)
        task = bar.add_task(name[:NAME_COLUMNS], total=None, visible=False, figures="")
        columns_left = console.width - len(name[:NAME_COLUMNS]) - BAR_COLUMNS
        # One for the sweep, and one for its confirmation.
        statuses = defaultdict[bool, _Status](lambda: _Status(columns_left))
        deaths = defaultdict[bool, _Deaths](_Deaths)

        def observe(now: SweepProgress) -> None:
            if death := deaths[now.confirms](now):
                console.print(death)
            status = statuses[now.confirms]
            text = status(now, _count(now))
            bar.update(task, completed=status.through, total=now.of_runs, visible=True, figures=text)

        yield observe


def _count(now: SweepProgress) -> str:
    """Return how many runs have ended."""
    return f"{'confirming: ' * now.confirms}{now.runs:,}/{counted(now.of_runs, 'run')}"


class _Status:
    """Formats the progress of a sweep: results, throughput, time left; the most important first, cut to ``columns``."""

    def __init__(self, columns: int = 1000) -> None:
        self._columns = columns
        self._throughput = Throughput()
        self.through = 0.0
        """The number of runs done, partial ones included; it never decreases, even if a pack is retried."""
        self._until: int | None = None
        self._began = (0.0, 0.0)
        """Seconds and runs done at the start of the current rung: the throughput in runs differs between rungs."""

    def __call__(self, now: SweepProgress, first: str) -> str:
        self._throughput.update(now.lane_steps)
        self.through = max(self.through, now.runs + now.under_way)
        done = self.through - (now.runs - now.executed)
        if now.until != self._until:
            self._until, self._began = now.until, (now.seconds, done)
        seconds, done = now.seconds - self._began[0], done - self._began[1]
        left = now.of_runs - self.through
        parts = [first, f"{now.packs:,}/{counted(now.of_packs, 'pack')}"]
        if now.until is None:
            parts.append(f"{clock(seconds / done * left)} left" if done > 0 and left >= 1 else "")
        else:  # the number of runs that survive this rung is not known yet
            parts.append(f"to step {now.until:,}")
        parts.append("" if now.best is None else f"best run {now.best:.4g}")
        parts += [
            f"{now.diverged:,} diverged" * bool(now.diverged),
            f"{now.failed:,} failed" * bool(now.failed),
        ]
        parts.append(f"{_short(now.executed / now.seconds)} runs/s" if now.executed and now.seconds else "")
        parts.append(f"{counted(now.lanes, 'lane')}" if now.lanes else "")
        parts.append(f"{_short(rate)} steps/s" if (rate := self._throughput.rate) else "")
        line = ""
        for part in filter(None, parts):
            longer = f"{line}  {part}" if line else part
            if len(longer) > self._columns:
                break
            line = longer
        return line


def _short(rate: float) -> str:
    """Return a number in about four characters."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if rate >= size:
            return f"{rate / min(size, 1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{rate:.3g}" if rate < 1000 else f"{rate:.0f}"
