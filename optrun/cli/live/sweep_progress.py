"""Progress of a sweep on stderr: a bar on a terminal, now and then a plain line elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from optrun.cli.arguments import Show
from optrun.cli.live.run_progress import LINE_SECONDS, shown_as
from optrun.cli.live.throughput import Pace, clock
from optrun.cli.text.console import counted
from optrun.errors import printable
from optrun.sweeps.writer import SweepProgress

MOST_COLUMNS = 100
NAME_COLUMNS = 24
BAR_COLUMNS = 12
"""The least for the bar itself, and the blanks around it."""

Observer = Callable[[SweepProgress], None]


def sweep_progress(name: str, show: Show, *, quiet: bool) -> AbstractContextManager[Observer | None]:
    """Give the function that shows how far a sweep is, or None where nothing is to be shown."""
    match shown_as(show, quiet=quiet):
        case Show.LIVE | Show.BAR:
            return _bar(printable(name))
        case Show.PLAIN:
            return _lines()
        case _:
            return nullcontext(None)


class _Deaths:
    """Gives a line where a worker has died since it was asked before."""

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
    """A line for each tenth of the runs, or every ten seconds, and the last state."""

    def __init__(self) -> None:
        self._next_run = 1.0
        self._next_time = time.monotonic() + LINE_SECONDS
        self._figures = _Figures()
        self._deaths = _Deaths()
        self._unsaid = ""
        """What came after the last line."""

    def __call__(self, now: SweepProgress) -> None:
        if death := self._deaths(now):
            print(death, file=sys.stderr)
        self._unsaid = self._figures(now, f"{now.runs:,}/{counted(now.of_runs, 'run')}")
        if now.executed < self._next_run and time.monotonic() < self._next_time:
            return
        self.end()
        if now.executed >= self._next_run:
            self._next_run = now.executed + now.of_runs / 10
        self._next_time = time.monotonic() + LINE_SECONDS

    def end(self) -> None:
        if self._unsaid:
            print(self._unsaid, file=sys.stderr)
        self._unsaid = ""


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
        # A cursor that is not hidden need not be shown again after a kill.
        console.show_cursor(True)
        task = bar.add_task(name[:NAME_COLUMNS], total=None, visible=False, figures="")
        figures = _Figures(console.width - len(name[:NAME_COLUMNS]) - BAR_COLUMNS)
        deaths = _Deaths()

        def observe(now: SweepProgress) -> None:
            if death := deaths(now):
                console.print(death)
            text = figures(now, f"{now.runs:,}/{counted(now.of_runs, 'run')}")
            bar.update(task, completed=figures.through, total=now.of_runs, visible=True, figures=text)

        yield observe


class _Figures:
    """How fast a sweep goes and what has come of it, in no more than so many columns, the most telling first."""

    def __init__(self, columns: int = 1000) -> None:
        self._columns = columns
        self._pace = Pace()
        self.through = 0.0
        """How many runs are behind; a pack that is tried again, or waits to be stored, does not count backwards."""
        self._until: int | None = None
        self._began = (0.0, 0.0)
        """The seconds and the runs at the beginning of a rung; from one to the next most runs end at once."""

    def __call__(self, now: SweepProgress, first: str) -> str:
        self._pace.note(now.lane_steps)
        self.through = max(self.through, now.runs + now.under_way)
        done = self.through - (now.runs - now.executed)
        if now.until != self._until:
            self._until, self._began = now.until, (now.seconds, done)
        seconds, done = now.seconds - self._began[0], done - self._began[1]
        left = now.of_runs - self.through
        parts = [first, f"{now.packs:,}/{counted(now.of_packs, 'pack')}"]
        if now.until is None:
            parts.append(f"{clock(seconds / done * left)} left" if done > 0 and left >= 1 else "")
        else:  # nobody knows how many go on from there
            parts.append(f"to step {now.until:,}")
        parts.append("" if now.best is None else f"best run {now.best:.4g}")
        parts += [
            f"{now.diverged:,} diverged" * bool(now.diverged),
            f"{now.failed:,} failed" * bool(now.failed),
        ]
        parts.append(f"{_short(now.executed / now.seconds)} runs/s" if now.executed and now.seconds else "")
        parts.append(f"{counted(now.lanes, 'lane')}" if now.lanes else "")
        parts.append(f"{_short(rate)} steps/s" if (rate := self._pace.rate) else "")
        line = ""
        for part in filter(None, parts):
            longer = f"{line}  {part}" if line else part
            if len(longer) > self._columns:
                break
            line = longer
        return line


def _short(rate: float) -> str:
    """Return a number in four characters or so."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if rate >= size:
            return f"{rate / min(size, 1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{rate:.3g}" if rate < 1000 else f"{rate:.0f}"
