"""The command `check`."""

from pathlib import Path
from typing import Annotated

import typer

from optrun.cli import completion
from optrun.cli.arguments import Json, Junit


def check(
    new: Annotated[
        Path,
        typer.Argument(
            metavar="SWEEP|RUN", help="What is checked, or: latest.", autocompletion=completion.runs
        ),
    ],
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            metavar="SWEEP|RUN",
            help="What it may not be worse than.",
            autocompletion=completion.runs,
        ),
    ] = None,
    target: Annotated[
        float | None, typer.Option(metavar="X", help="What the metric is to reach, e.g. 0.95.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", "-m", help="By default that of the sweeps; of a run the final loss."),
    ] = None,
    tolerance: Annotated[
        str | None,
        typer.Option(
            metavar="X|X%", help="How much worse the metric may be, e.g. 0.02, or 2% of the baseline's."
        ),
    ] = None,
    p: Annotated[
        float | None,
        typer.Option(
            "--p",
            help="The level of a one-sided test over the seeds, e.g. 0.05: what is worse than the baseline fails only "
            "if the test says so; the target is reached only if it does.",
        ),
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="The known standard deviation of a run, for a normal test of the target with --p.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="PATH",
            help="What is checked apart, e.g. optimizer.lr. By default the optimizers, or else the schedulers, "
            "if they vary.",
        ),
    ] = None,
    junit: Junit = None,
    json: Json = False,
) -> None:
    """Check that a sweep or a run is no worse than another, or that it reaches a target; exit with 4 if not.

    Of sweeps, the best setting of each problem and each optimizer is judged; to a baseline it is compared seed by
    seed. What diverged counts as the worst, and a result that is missing fails.

    Example: optrun check latest --baseline runs/sweep-digits-9753bee6 --tolerance 2%
    """
    from optrun.api.checking import check
    from optrun.cli.ci.report import reporting
    from optrun.cli.views.check import note_check, print_check

    with reporting("check", junit) as report:
        with report.case(str(new), "check") as case:
            found = check(
                new,
                baseline=baseline,
                target=target,
                by=by,
                metric=metric,
                tolerance=tolerance,
                p=p,
                sigma=sigma,
            )
        note_check(report, case, found)
        print_check(found, json=json)
    raise typer.Exit(0 if found.passed else 4)
