"""The command `smoke`: does everything that is registered work together?"""

from typing import Annotated

import typer

from optrun.cli import completion
from optrun.cli.arguments import Json, Junit, Plugins, load_plugins


def smoke(
    optimizer: Annotated[
        list[str] | None,
        typer.Option(
            "--optimizer",
            metavar="NAME",
            help="Only this one; repeatable.",
            autocompletion=completion.optimizers,
        ),
    ] = None,
    scheduler: Annotated[
        list[str] | None,
        typer.Option(
            "--scheduler",
            metavar="NAME",
            help="Only this one, or: none; repeatable.",
            autocompletion=completion.schedulers,
        ),
    ] = None,
    problem: Annotated[
        list[str] | None,
        typer.Option(
            "--problem",
            metavar="NAME",
            help="On this one, not on the usual four; repeatable.",
            autocompletion=completion.problems,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="How long each run is.")] = 12,
    junit: Junit = None,
    json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Try every optimizer with every scheduler, and with none, on small problems.

    Each combination runs as a pack of three lanes. It passes where all of them end finite, at the rates of the
    schedule, and the last lane alone has the same bits. It ends with 1 where one fails, or where none applies.

    Example: optrun smoke --optimizer Adam --scheduler none --scheduler StepLR
    """
    load_plugins(plugin)
    from optrun.cli.ci.report import reporting
    from optrun.cli.views.smoke_matrix import matrix, note_outcome, print_matrix, rows, watched
    from optrun.selftest.smoke import combinations
    from optrun.training.interrupt import interruptible

    chosen = combinations(optimizer or (), scheduler or (), problem or ())
    with reporting("smoke", junit) as report, interruptible() as interruption:
        found = []
        for outcome in watched(chosen, steps, interruption, quiet=json):
            found.append(outcome)
            note_outcome(report, outcome)
        report.summary = rows(matrix(found))
    if interruption.signal:
        typer.echo(f"interrupted after {len(found)} of {len(chosen)} combinations", err=True)
        raise typer.Exit(128 + interruption.signal)
    if not print_matrix(found, steps, plugin or (), json=json):
        raise typer.Exit(1)
