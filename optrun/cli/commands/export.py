"""The command `export`."""

from typing import Annotated

import typer

from optrun.cli import completion
from optrun.cli.arguments import RunDirectory, Sort, TableRows, Viewer, Where


def export(
    run_directory: RunDirectory,
    what: Annotated[
        TableRows | None,
        typer.Option(
            "--what",
            "-w",
            help="A row for each run, or for each row of the curves (default) or evaluations; or params, as arrays.",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="csv|parquet|json|npz|xlsx|md|tex|safetensors",
            help="By default the ending of FILE, or csv.",
            autocompletion=completion.export_formats,
        ),
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="A file; - is stdout.")] = "-",
    where: Where = None,
    sort: Sort = None,
    to: Annotated[
        Viewer | None,
        typer.Option(
            "--to",
            help="Write all curves and evaluations for this program: into a new folder, or of mlflow into a database.",
        ),
    ] = None,
) -> None:
    """Write the runs, curves or evaluations of a run or a sweep as one table, with the swept parameters as columns.

    Without --what, JSON and NPZ of a single run hold all of it. With --what params, NPZ has the parameters at the end
    and at the steps of record.params, by names such as step10/layer1.weight; it and safetensors also hold a card, the
    JSON of all it takes to use them: config, preparation of the data, figures.

    Extras: `parquet`, `excel` for xlsx, `safetensors`, `tensorboard`, `mlflow`.

    Examples: optrun export latest -o curves.csv; optrun export latest --what runs -o runs.csv
    """
    from optrun.cli.views.export import export_run
    from optrun.cli.views.export_viewer import export_to
    from optrun.errors import ConfigError

    if to is None:
        export_run(run_directory, what, format, output, where, sort)
    elif (what, format, sort) == (None, None, None):
        export_to(to, run_directory, output, where)
    else:
        raise ConfigError(f"--to {to} writes all curves and evaluations: without --what, --format and --sort")
    if output != "-":
        print(output)
