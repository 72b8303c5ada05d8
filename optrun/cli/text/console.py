"""Output on a terminal: tables, colours, plots; plain text in pipes."""

import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from optrun.errors import counted as counted
from optrun.errors import printable
from optrun.plots.terminal import Drawing

PIPE_WIDTH = 1000
GAP = 2
WIDTH = 80
"""The width of prose and plots in pipes."""
COLOURS = ("cyan", "yellow", "magenta", "green", "red", "blue")
STATUS_COLOURS = {
    "waiting": "dim",
    "running": "cyan",
    "completed": "green",
    "target_reached": "green",
    "early_stopped": "yellow",
    "timed_out": "yellow",
    "pruned": "yellow",
    "interrupted": "yellow",
    "diverged": "red",
    "failed": "red",
    "killed": "red",
    "broken": "red",
}
SPANS = ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def console() -> Console:
    """Return a console on stdout with the width of the terminal; in a pipe it is so wide that nothing is cut."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, markup=False, highlight=False, emoji=False)


def emit(*parts: RenderableType) -> None:
    """Print each part on its own lines, without wrapping text and without trailing blanks."""
    out = console()
    with out.capture() as captured:
        for part in parts:
            out.print(part, soft_wrap=not isinstance(part, Table))
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Return an empty table; the columns in ``right`` are right-aligned."""
    made = Table(
        box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold", show_header=any(columns)
    )
    for column in columns:
        made.add_column(
            Text(column),
            justify="right" if column in right else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    return made


def status_text(status: str) -> Text:
    """Return a status in its colour."""
    return Text(status, STATUS_COLOURS.get(status, ""))


def drawn(picture: Drawing) -> Text:
    """Return a plot as text, each curve in its colour."""
    lines = []
    for number in range(len(picture.lines)):
        line = Text()
        for piece, owner in picture.spans(number):
            line.append(piece, COLOURS[owner % len(COLOURS)] if owner >= 0 else "")
        lines.append(line)
    return Text("\n").join(lines)


def age(moment: datetime | None) -> str:
    """Return how long ago a time was, in one unit."""
    return "" if moment is None else span((datetime.now(UTC) - moment).total_seconds())


def span(seconds: float) -> str:
    """Format a duration in its largest unit."""
    size, unit = next(((size, unit) for size, unit in SPANS if seconds >= size), SPANS[-1])
    return f"{max(0, seconds) / size:.0f} {unit}"


def size(count: float) -> str:
    """Format a number of bytes with three digits and a unit."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} GB"


def quoted(path: Path | str) -> str:
    """Quote a path for the shell."""
    return shlex.quote(str(path))


def with_plugins(plugins: Sequence[str]) -> str:
    """Return the command-line options that load plugins."""
    return "".join(f" --plugin {quoted(plugin)}" for plugin in plugins)


def suggest_picture(command: str) -> None:
    """Print on stderr which command draws a picture into a file, where there is Matplotlib to draw it."""
    if find_spec("matplotlib"):
        suggest(command)


def suggest(*commands: str) -> None:
    """Print on stderr which commands to run next."""
    for number, command in enumerate(commands):
        print(("next: " if number == 0 else "      ") + f"optrun {printable(command)}", file=sys.stderr)
