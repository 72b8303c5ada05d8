"""The commands `clean` and `doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from optrun.cli import completion
from optrun.cli.arguments import Json


def clean(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="The directory of the runs.")] = Path(
        "runs"
    ),
    failed: Annotated[bool, typer.Option("--failed", help="Remove runs that failed or diverged.")] = False,
    status: Annotated[
        list[str] | None, typer.Option("--status", "-s", help="Remove runs of this status; repeatable.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="Remove runs older than 30d, 12h, 2w.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only list the runs.")] = False,
) -> None:
    """Remove runs, after listing them and asking for confirmation.

    It removes runs of any of the given statuses (--failed, --status) that are older than AGE. Running runs,
    links and incomplete run directories are kept. Exits with 1 if a listed run could not be removed or has changed.

    Example: optrun clean --failed --older-than 30d
    """
    from optrun.cli.views.clean import clean_runs

    gone = clean_runs(
        directory,
        failed=failed,
        statuses=tuple(status or ()),
        older_than=older_than,
        yes=yes,
        dry_run=dry_run,
    )
    if not gone:
        raise typer.Exit(1)


def doctor(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="A run or sweep whose store is checked.", autocompletion=completion.runs
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show the hardware and packages that optrun finds here, or check the store of a run for damage.

    Exits with 1 if optrun cannot work here, or if the store is damaged.

    Examples: optrun doctor --json; optrun doctor latest
    """
    from optrun.cli.views.doctor import print_faults, print_findings

    if not (print_findings(json=json) if run is None else print_faults(run, json=json)):
        raise typer.Exit(1)
