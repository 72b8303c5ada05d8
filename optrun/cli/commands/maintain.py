"""The commands that keep house: `clean`, `doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from optrun.cli import completion
from optrun.cli.arguments import Json


def clean(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="The directory of the runs.")] = Path(
        "runs"
    ),
    failed: Annotated[bool, typer.Option("--failed", help="Runs that failed or diverged.")] = False,
    status: Annotated[
        list[str] | None, typer.Option("--status", "-s", help="Runs of this status, e.g. killed; repeatable.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="Runs made longer ago: 30d, 12h, 2w.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only list what would go.")] = False,
) -> None:
    """Remove runs: lists them and asks first; options together choose the runs that fit them all.

    A run that is being written, a link, and whatever is not a whole run directory stay.
    It ends with 1 where a run that was listed could not be removed, or has changed since.

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
            metavar="[RUN]", help="A run, to read all that is stored of it.", autocompletion=completion.runs
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show what optrun finds on this machine, and what is missing; or whether a run's results are undamaged.

    It ends with 1 where something keeps optrun from working, or a run's results are damaged.

    Examples: optrun doctor --json; optrun doctor latest
    """
    from optrun.cli.views.doctor import print_faults, print_findings

    if not (print_findings(json=json) if run is None else print_faults(run, json=json)):
        raise typer.Exit(1)
