"""Progress of a run on stderr: a panel or a bar on a terminal, plain lines elsewhere."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from optrun.arrays import Array
from optrun.cli.arguments import Show
from optrun.cli.live.throughput import Throughput
from optrun.config import RunConfig
from optrun.errors import ConfigError, printable
from optrun.training.trainer import Progress

LINE_SECONDS = 10.0
SMALLEST = (60, 15)
"""The least columns and lines of a terminal for a panel."""

Observer = Callable[[Progress], None]


def progress(
    config: RunConfig, show: Show, *, quiet: bool, history: Mapping[str, Array] | None = None
) -> AbstractContextManager[Observer | None]:
    """Return a context manager of the function that shows the progress of a run; None if nothing is shown.

    ``history`` holds the stored curves of a resumed run. Raises ConfigError for a panel or a bar without a terminal.
    """
    match shown_as(show, quiet=quiet):
        case Show.LIVE:
            from rich.console import Console

            from optrun.cli.live.run_panel import panel

            return panel(config, Console(stderr=True), history)
        case Show.BAR:
            return _bar(printable(config.name))
        case Show.PLAIN:
            return nullcontext(_Lines())
        case _:
            return nullcontext(None)


def shown_as(show: Show, *, quiet: bool) -> Show:
    """Return how to show progress, AUTO resolved; ConfigError for a panel or a bar without a terminal."""
    if show in (Show.LIVE, Show.BAR) and not _is_terminal():
        raise ConfigError(f"--progress {show} needs stderr to be a terminal that can move its cursor")
    return _automatic(quiet) if show is Show.AUTO else show


def _is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _automatic(quiet: bool) -> Show:
    if quiet:
        return Show.OFF
    if not _is_terminal() or os.environ.get("CI"):
        return Show.PLAIN
    columns, lines = os.get_terminal_size(sys.stderr.fileno())
    return Show.LIVE if columns >= SMALLEST[0] and lines >= SMALLEST[1] else Show.BAR


class _Lines:
    """Prints a line every tenth of the steps or every ten seconds; the first once the throughput is known."""

    def __init__(self) -> None:
        self._throughput = Throughput()
        self._next_step = 0.0
        self._next_time = 0.0

    def __call__(self, now: Progress) -> None:
        self._throughput.update(now.step)
        seconds, rate = time.monotonic(), self._throughput.rate
        if rate is None or (now.step < self._next_step and seconds < self._next_time):
            return
        print(
            f"step {now.step}/{now.steps}  loss {now.loss:.4g}  lr {now.lr:.4g}  {rate:,.0f} steps/s",
            file=sys.stderr,
        )
        self._next_step = now.step + now.steps / 10
        self._next_time = seconds + LINE_SECONDS


@contextmanager
def _bar(name: str) -> Iterator[Observer]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:.0f} %"),
        TextColumn("loss {task.fields[loss]:.4g}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, refresh_per_second=4) as bar:
        # Keep the cursor visible, so that it need not be restored after a kill.
        console.show_cursor(True)
        task = bar.add_task(name[:24], total=None, visible=False, loss=0.0)

        def observe(now: Progress) -> None:
            bar.update(task, completed=now.step, total=now.steps, visible=True, loss=now.loss)

        yield observe
