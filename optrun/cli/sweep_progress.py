"""Progress of a sweep on stderr: a bar on a terminal, now and then a plain line elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from optrun.cli.arguments import Show
from optrun.cli.look import counted
from optrun.cli.pace import clock
from optrun.cli.progress import LINE_SECONDS, shown_as
from optrun.errors import printable
from optrun.sweep.writer import SweepProgress

Observer = Callable[[SweepProgress], None]


def sweep_progress(name: str, show: Show, *, quiet: bool) -> AbstractContextManager[Observer | None]:
    """Give the function that shows how far a sweep is, or None where nothing is to be shown."""
    match shown_as(show, quiet=quiet):
        case Show.LIVE | Show.BAR:
            return _bar(printable(name))
        case Show.PLAIN:
            return nullcontext(_Lines())
        case _:
            return nullcontext(None)


class _Lines:
    """A line for each tenth of the runs, or every ten seconds."""

    def __init__(self) -> None:
        self._next_run = 1.0
        self._next_time = 0.0

    def __call__(self, now: SweepProgress) -> None:
        if now.executed < self._next_run and time.monotonic() < self._next_time:
            return
        if now.executed:
            print(f"{now.runs:,}/{now.of_runs:,} runs  {_figures(now)}", file=sys.stderr)
            self._next_run = now.executed + now.of_runs / 10
        self._next_time = time.monotonic() + LINE_SECONDS


@contextmanager
def _bar(name: str) -> Iterator[Observer]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:.0f}/{task.total:.0f} runs  {task.fields[figures]}", markup=False),
    )
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, refresh_per_second=4) as bar:
        # A cursor that is not hidden need not be shown again after a kill.
        console.show_cursor(True)
        task = bar.add_task(name[:24], total=None, visible=False, figures="")

        def observe(now: SweepProgress) -> None:
            bar.update(task, completed=now.runs, total=now.of_runs, visible=True, figures=_figures(now))

        yield observe


def _figures(now: SweepProgress) -> str:
    parts = [f"to step {now.until:,}"] if now.until is not None else []
    parts.append(f"{now.packs:,}/{counted(now.of_packs, 'pack')}")
    if now.executed and now.seconds:
        rate = now.executed / now.seconds
        parts.append(f"{rate:,.3g} runs/s" if rate < 10 else f"{rate:,.0f} runs/s")
        if now.runs < now.of_runs:
            parts.append(f"{clock((now.of_runs - now.runs) / rate)} left")
    if now.best is not None:
        parts.append(f"best {now.best:.4g}")
    if now.bad:
        parts.append(f"{now.bad:,} not finite")
    return "  ".join(parts)
