"""How `clean` chooses and removes runs."""

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer

from optrun.analysis.find import CONFIG, RESULTS
from optrun.analysis.summaries import BROKEN, Summary, summaries
from optrun.cli.listing import check_statuses, runs_table
from optrun.cli.look import emit
from optrun.errors import ConfigError
from optrun.store import Status
from optrun.store.directory import remove_directory
from optrun.store.schema import store_errors

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
) -> None:
    """List the chosen runs, ask, and remove them; ConfigError where nothing is chosen or nobody can be asked."""
    check_statuses(statuses)
    if not (failed or statuses or older_than):
        raise ConfigError("say which runs: --failed, --status STATUS, --older-than 30d")
    wanted = (*statuses, *(FAILED if failed else ()))
    before = None if older_than is None else datetime.now(UTC) - age_of(older_than)
    chosen = [each for each in summaries(directory, wanted) if _is_removable(each, before)]
    if not chosen:
        emit(f"no such runs in {directory}")
        return
    emit(runs_table(chosen))
    size = sum(file.lstat().st_size for each in chosen for file in each.path.iterdir())
    what = f"{len(chosen)} run{'s' * (len(chosen) > 1)}, {size / 1e6:,.1f} MB"
    if dry_run:
        emit(f"{what} would be removed")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError("nobody can be asked here: add -y to remove them, or --dry-run")
        typer.confirm(f"remove {what} for good?", abort=True, err=True)
    for each in chosen:
        with store_errors(each.path):
            remove_directory(each.path)
    emit(f"removed {what}")


def age_of(text: str) -> timedelta:
    """Return a span of time written as 30d, 12h, 90m or 2w; ConfigError for anything else."""
    written = re.fullmatch(r"([0-9]{1,5})([mhdw])", text)
    if not written:
        raise ConfigError(f"--older-than: must be an age such as 30d, 12h, 90m or 2w (got {text!r})")
    return timedelta(**{UNITS[written[2]]: int(written[1])})


def _is_removable(run: Summary, before: datetime | None) -> bool:
    if run.status in (Status.RUNNING, BROKEN) or run.path.is_symlink():
        return False
    if not all((run.path / name).is_file() for name in (RESULTS, CONFIG)):
        return False
    return before is None or (run.created is not None and run.created < before)
