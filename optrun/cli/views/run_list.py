"""`ls DIR`: the runs in a directory."""

import json as json_module
from itertools import islice
from pathlib import Path

from rich.table import Table
from rich.text import Text

from optrun.analysis.summaries import BROKEN, STATES, Summary, summaries
from optrun.cli.text.console import (
    GAP,
    STATUS_COLOURS,
    age,
    console,
    counted,
    emit,
    quoted,
    suggest,
    table,
    with_plugins,
)
from optrun.errors import ConfigError, did_you_mean, printable
from optrun.store.locate import RUNS

MOST_RUNS = 20
"""The default limit of the table."""

LEAST_ROOM = 10
"""The least width of the last column (problem and optimizer); it is left out if there is less."""


def print_runs(directory: Path, statuses: tuple[str, ...], limit: int | None, *, json: bool) -> None:
    """Print the runs in a directory: without a limit the newest 20 as a table, or all as JSON.

    Raises ConfigError for an unknown status or a missing directory.
    """
    check_statuses(statuses)
    if not directory.is_dir() and directory != RUNS:
        raise ConfigError(f"{directory}: no such directory")
    limit = MOST_RUNS if limit is None and not json else limit
    shown = list(islice(summaries(directory, statuses), limit + 1 if limit else None))
    more = len(shown) > limit if limit else False
    shown = shown[:limit] if limit else shown
    if json:
        print(json_module.dumps([each.to_dict() for each in shown], ensure_ascii=False, allow_nan=False))
        return
    if not shown:
        of = f" of status {', '.join(statuses)}" if statuses else ""
        emit(f"no runs{of} in {directory}")
        suggest("run CONFIG")
        return
    emit(runs_table(shown))
    _after_runs(directory, shown, more)


def check_statuses(statuses: tuple[str, ...]) -> None:
    """Raise ConfigError for an unknown status."""
    for status in statuses:
        if status not in STATES:
            hint = did_you_mean(status, STATES) or f" There are {', '.join(STATES)}"
            raise ConfigError(f"--status: unknown status {status!r}.{hint}")


def runs_table(shown: list[Summary]) -> Table:
    """Return runs as a table, one per line; the last column is left out on a narrow terminal."""
    rows = [_cells(each) for each in shown]
    titles = ["run", "status", "steps", "final loss", "average", "age", "of"]
    for index in (4, 3):
        if not any(row[index] for row in rows):
            rows = [row[:index] + row[index + 1 :] for row in rows]
            del titles[index]
    widths = [max(len(title), *(len(row[index]) for row in rows)) for index, title in enumerate(titles)]
    room = console().width - sum(widths[:-1]) - GAP * (len(widths) - 1)
    kept = len(titles) if room >= LEAST_ROOM else len(titles) - 1
    made = table(*titles[:kept], right=("steps", "final loss", "average", "age"))
    for each, row in zip(shown, rows, strict=True):
        cells = [Text(cell) for cell in row[:kept]]
        cells[1].stylize(STATUS_COLOURS[each.status])
        # Cut only the last column: Rich would cut all columns, and a cut id is useless.
        cells[-1].truncate(max(room, widths[-2]), overflow="ellipsis")
        made.add_row(*cells)
    return made


def _cells(run: Summary) -> list[str]:
    name = printable(run.path.name)
    if run.status == BROKEN:
        return [name, run.status, "", "", "", "", run.reason]
    what = f"{run.problem}, {run.optimizer}"
    if run.metric:
        of = "" if run.ended == run.runs else f"{run.ended:,} of "
        bad = [f"{n:,} {word}" for n, word in ((run.failed, "failed"), (run.diverged, "diverged")) if n]
        what = f"{run.method}: " if run.method else ""
        what += f"{of}{counted(run.runs, 'run')}"
        what += f" ({', '.join(bad)})" if bad else ""
        what += f" over {', '.join(run.over) or 'seeds'}"
        what += f", {run.problems} problems" * (run.problems > 1)
        what += "" if run.best is None else f", best {run.metric} {run.best:.4g}"
        what += "" if run.confirmation is None else f", {_confirming(run.confirmation)}"
    # No lowest loss for a sweep: its problems may differ in scale.
    losses = (None, None) if run.metric else (run.final_loss, run.average_loss)
    figures = ["" if loss is None else f"{loss:.4g}" for loss in losses]
    return [name, run.status, f"{run.steps:,}", *figures, age(run.created), what]


def _confirming(confirmation: Summary) -> str:
    """Return how far the confirmation of a sweep is."""
    if confirmation.ended == confirmation.runs > 0:
        return "confirmed"
    of = f" ({confirmation.ended:,} of {counted(confirmation.runs, 'run')})" if confirmation.runs else ""
    return f"confirmation {confirmation.status}{of}"


def _after_runs(directory: Path, shown: list[Summary], more: bool) -> None:
    left = [each for each in shown if each.is_resumable][:3]
    commands = [f"resume {quoted(each.path)}{with_plugins(each.plugins)}" for each in left]
    whole = [each for each in shown if each.status != BROKEN]
    if whole and not commands:
        commands.append(f"show {quoted(whole[0].path)}")
    if more:
        commands.append(f"ls {quoted(directory)} --limit 0")
    suggest(*commands)
