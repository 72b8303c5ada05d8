"""The command `smoke`."""

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
            help="Test only this optimizer; repeatable.",
            autocompletion=completion.optimizers,
        ),
    ] = None,
    scheduler: Annotated[
        list[str] | None,
        typer.Option(
            "--scheduler",
            metavar="NAME",
            help="Test only this scheduler, or none; repeatable.",
            autocompletion=completion.schedulers,
        ),
    ] = None,
    problem: Annotated[
        list[str] | None,
        typer.Option(
            "--problem",
            metavar="NAME",
            help="Test on this problem instead of the usual four; repeatable.",
            autocompletion=completion.problems,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="The number of steps of each run.")] = 12,
    junit: Junit = None,
    json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Test every optimizer with every scheduler, and without one, on small problems.

    Each combination is a pack of three lanes. It passes if all parameters are finite at the end, the lr follows
    the schedule, and the last lane alone gives the same bits. Exits with 1 if one fails, or if none applies.

    Example: optrun smoke --optimizer Adam --scheduler none --scheduler StepLR
    """
    load_plugins(plugin)
    from optrun.cli.ci.report import reporting
    from optrun.cli.views.smoke_matrix import matrix, note_outcome, print_matrix, rows, with_progress
    from optrun.selftest.smoke import combinations
    from optrun.training.interrupt import interruptible

    chosen = combinations(optimizer or (), scheduler or (), problem or ())
    with reporting("smoke", junit) as report, interruptible() as interruption:
        found = []
        for outcome in with_progress(chosen, steps, interruption, quiet=json):
            found.append(outcome)
            note_outcome(report, outcome)
        report.summary = rows(matrix(found))
    if interruption.signal:
        typer.echo(f"interrupted after {len(found)} of {len(chosen)} combinations", err=True)
        raise typer.Exit(128 + interruption.signal)
    if not print_matrix(found, steps, plugin or (), json=json):
        raise typer.Exit(1)
