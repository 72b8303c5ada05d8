"""Progress of a run on stderr: a bar on a terminal, now and then a plain line elsewhere."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from optrun.training import Progress

LINE_SECONDS = 10.0


@contextmanager
def progress(name: str, *, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Give the function that shows how far a run is, or None where nothing is to be shown."""
    if quiet:
        yield None
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _bar(name) as observe:
            yield observe
    else:
        yield _Lines()


class _Lines:
    """A line at the first tenth of the steps that is reached, and then each tenth or every ten seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first: int | None = None
        self._next_step = 0.0
        self._next_time = self._began

    def __call__(self, now: Progress) -> None:
        if self._first is None:
            self._first = now.step
        seconds = time.monotonic()
        if now.step < self._next_step and seconds < self._next_time:
            return
        rate = (now.step - self._first) / max(seconds - self._began, 1e-9)
        print(
            f"step {now.step}/{now.steps}  loss {now.loss:.4g}  lr {now.lr:.4g}  {rate:,.0f} steps/s",
            file=sys.stderr,
        )
        self._next_step = now.step + now.steps / 10
        self._next_time = seconds + LINE_SECONDS


@contextmanager
def _bar(name: str) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("loss {task.fields[loss]:.4g}  lr {task.fields[lr]:.3g}"),
        TextColumn("{task.fields[rate]:,.0f} steps/s"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name[:24], total=None, visible=False, loss=0.0, lr=0.0, rate=0.0)
        first: tuple[int, float] | None = None

        def observe(now: Progress) -> None:
            nonlocal first
            seconds = time.monotonic()
            if first is None:
                first = (now.step, seconds)
            rate = (now.step - first[0]) / max(seconds - first[1], 1e-9)
            bar.update(
                task, completed=now.step, total=now.steps, visible=True, loss=now.loss, lr=now.lr, rate=rate
            )

        yield observe
