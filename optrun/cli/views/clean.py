"""`clean`: choose and remove runs."""

import re
import sys
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import typer
from rich.text import Text

from optrun.analysis.summaries import BROKEN, RESUMABLE, Summary, file_sizes, summaries, summary_of
from optrun.api.given_data import kept_for
from optrun.cli.text.console import counted, emit
from optrun.cli.views.run_list import check_statuses, runs_table
from optrun.errors import ConfigError, StoreError, printable
from optrun.store import Status
from optrun.store.directory import collect, is_being_written, remove_directory
from optrun.store.locate import CONFIG, RESULTS, is_run_directory, run_directories
from optrun.store.store_errors import store_errors
from optrun.sweeps.plan.expand import CONFIRM

FAILED = (str(Status.FAILED), str(Status.DIVERGED))
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def clean_runs(
    directory: Path,
    *,
    failed: bool,
    statuses: tuple[str, ...],
    older_than: str | None,
    yes: bool,
    dry_run: bool,
) -> bool:
    """List the chosen runs, ask for confirmation, and remove them; return whether all were removed.

    Samples that Python has given them, and no run that stays, are removed, too. A run that has changed since it was
    listed is kept. Raises ConfigError without a criterion, or if stdin is no terminal to ask on.
    """
    check_statuses(statuses)
    if not (failed or statuses or older_than):
        raise ConfigError("choose runs by --failed, --status STATUS or --older-than 30d")
    wanted = (*statuses, *(FAILED if failed else ()))
    before = None if older_than is None else datetime.now(UTC) - age_of(older_than)
    if not directory.is_dir():
        raise ConfigError(f"{directory}: there is no such directory")
    left = [
        file for place in (directory, *run_directories(directory)) for file in collect(place, dry_run=dry_run)
    ]
    if left:
        verb = "would be removed" if dry_run else "removed"
        emit(f"{counted(len(left), 'temporary file')} of killed commands {verb}")
    chosen = [each for each in summaries(directory, wanted) if _is_removable(each, before)]
    if not chosen:
        emit(f"no such runs in {directory}")
        return True
    emit(runs_table(chosen))
    sizes = [sum(file_sizes(each.path).values()) for each in chosen]
    chosen_paths = {each.path for each in chosen}
    others = [each for each in run_directories(directory) if each not in chosen_paths]
    what = _amount(sizes) + _data_amount(kept_for(chosen_paths) - kept_for(others))
    if dry_run:
        emit(f"{what} would be removed")
        return True
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError("stdin is no terminal to ask on: add -y to remove them, or --dry-run")
        typer.confirm(f"remove {what} permanently?", abort=True, err=True)
    removed = []
    data = kept_for(chosen_paths)
    for each, size in zip(chosen, sizes, strict=True):
        try:
            with store_errors(each.path):
                remove_directory(each.path, partial(_check_unchanged, each))
        except StoreError as error:
            print(f"not removed: {printable(str(error))}", file=sys.stderr)
        else:
            removed.append(size)
            emit(Text(f"removed {printable(str(each.path))}"))
    data -= kept_for(run_directories(directory))
    amount = _amount(removed) + _data_amount(data)
    for file in data:
        with store_errors(file):
            file.unlink(missing_ok=True)
    emit(f"removed {amount}")
    return len(removed) == len(chosen)


def age_of(text: str) -> timedelta:
    """Parse an age such as 30d, 12h, 90m or 2w; ConfigError for anything else."""
    written = re.fullmatch(r"([0-9]{1,5})([mhdw])", text)
    if not written:
        raise ConfigError(f"--older-than: must be an age such as 30d, 12h, 90m or 2w (got {text!r})")
    return timedelta(**{UNITS[written[2]]: int(written[1])})


def _check_unchanged(listed: Summary) -> None:
    """Raise StoreError if a run has changed since it was listed, or the confirmation of a sweep is being written."""
    now = summary_of(listed.path)
    if now.status == Status.RUNNING and listed.status in RESUMABLE:  # as this process locks it
        now = replace(now, status=listed.status)
    if now != listed:
        raise StoreError(
            f"it has changed since it was listed, and is {now.status} after {counted(now.steps, 'step')}"
        )
    confirmation = listed.path / CONFIRM
    if is_run_directory(confirmation) and is_being_written(confirmation, unknown=False):
        raise StoreError("its confirmation is being written by another process")


def _amount(sizes: list[int]) -> str:
    return f"{len(sizes)} run{'s' * (len(sizes) != 1)}, {sum(sizes) / 1e6:,.1f} MB"


def _data_amount(files: Collection[Path]) -> str:
    size = sum(each.stat().st_size for each in files)
    return f", and {counted(len(files), 'file')} of samples, {size / 1e6:,.1f} MB" if files else ""


def _is_removable(run: Summary, before: datetime | None) -> bool:
    if run.status in (Status.RUNNING, BROKEN) or run.path.is_symlink():
        return False
    if not all((run.path / name).is_file() for name in (RESULTS, CONFIG)):
        return False
    return before is None or (run.created is not None and run.created < before)
