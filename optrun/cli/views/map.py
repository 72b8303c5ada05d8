"""`map`: make the runs of a map, and draw it."""

import json as json_module
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import typer

from optrun.cli.arguments import Show
from optrun.cli.live.run_progress import LINE_SECONDS, shown_as
from optrun.cli.views.hints import print_lines
from optrun.config.map import load_map
from optrun.errors import ConfigError, counted, printable
from optrun.plots.figure import format_of, save
from optrun.plots.look import Look, matplotlib_in_style
from optrun.plots.map_figure import map_figure
from optrun.store import Status
from optrun.store.directory import write_output
from optrun.store.states import STATUSES
from optrun.sweeps.map_file import Pixels
from optrun.sweeps.map_sink import MINIMUM
from optrun.sweeps.maps import MapPlan, draw_map
from optrun.training.interrupt import interruptible

Observer = Callable[[int, int], None]


def print_map(
    path: Path,
    overrides: Sequence[str],
    output: Path | None,
    show: Show,
    *,
    log: bool | None,
    json: bool,
    quiet: bool,
) -> None:
    """Make the runs of a map that are left, write its numbers and its picture, and print their names."""
    config = load_map(path, overrides)
    output = output or Path(f"{config.name}.png")
    format, look = format_of(output), Look()
    with matplotlib_in_style(look):
        pass  # before the runs: the picture needs an extra
    plan = MapPlan(config)
    if not quiet:
        print_lines(plan.remarks)
    numbers = output.with_suffix(".npz")
    is_left = False

    def observe(made: int, of: int) -> None:
        nonlocal is_left
        is_left = True
        if shown is not None:
            shown(made, of)

    with interruptible() as interruption, _progress(config.name, show, quiet) as shown:
        found = draw_map(plan, numbers, interrupted=interruption, observe=observe)
    if left := found.status.size - found.made:
        print(f"{counted(left, 'run')} left: the same command goes on", file=sys.stderr)
        raise typer.Exit(128 + (interruption.signal or 2))
    picture = map_figure(
        found,
        x=plan.label("x"),
        y=plan.label("y"),
        color=config.block.color,
        title=config.name,
        log=log,
        look=look,
    )
    try:
        write_output(output, partial(save, picture, format=format))
    except OSError as error:
        raise ConfigError(f"{output}: {(error.strerror or str(error)).lower()}") from error
    counts = np.bincount(found.status.ravel(), minlength=len(STATUSES)).tolist()
    ended = {str(status): many for status, many in zip(STATUSES, counts, strict=True) if many}
    if not quiet:
        if not is_left:
            print(
                printable(f"nothing was run: {numbers} holds all {counted(found.made, 'run')}"),
                file=sys.stderr,
            )
        print(", ".join(f"{many:,} {status}" for status, many in ended.items()), file=sys.stderr)
        if plan.color == MINIMUM:
            print(_of_minima(found), file=sys.stderr)
    if json:
        minima = {} if found.minima is None else {"minima": found.minima.tolist()}
        files = {"picture": str(output), "numbers": str(numbers)}
        print(json_module.dumps({**files, "runs": ended, **minima}, ensure_ascii=False, allow_nan=False))
    else:
        print(printable(str(output)))


def _of_minima(found: Pixels) -> str:
    """Return at how many minima runs ended, and where these come from."""
    assert found.minima_known is not None
    reached = np.unique(found.value[np.isfinite(found.value)]).astype(int)
    known = int(found.minima_known[reached].sum())
    nowhere = int(np.count_nonzero(np.isnan(found.value) & ~found.where(Status.DIVERGED)))
    more = len(reached) - known
    found_ones = f", and {more} found where runs ended" if more else ""
    said = f"minima at which runs ended: {known} known of the function{found_ones}"
    return f"{said}; {counted(nowhere, 'run')} at none" if nowhere else said


@contextmanager
def _progress(name: str, show: Show, quiet: bool) -> Iterator[Observer | None]:
    match shown_as(show, quiet=quiet):
        case Show.LIVE | Show.BAR:
            from rich.console import Console
            from rich.progress import Progress

            with Progress(console=Console(stderr=True), transient=True, refresh_per_second=4) as bar:
                task = bar.add_task(printable(name)[:24], total=None)
                yield lambda made, of: bar.update(task, completed=made, total=of)
        case Show.PLAIN:
            printed = time.monotonic()

            def line(made: int, of: int) -> None:
                nonlocal printed
                if (now := time.monotonic()) - printed >= LINE_SECONDS:
                    printed = now
                    print(f"{made:,}/{counted(of, 'run')}", file=sys.stderr)

            yield line
        case _:
            yield None
