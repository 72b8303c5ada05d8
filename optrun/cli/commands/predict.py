"""The commands `predict` and `evaluate`."""

from typing import Annotated

import typer

from optrun.cli import completion
from optrun.cli.arguments import Json, Plugins, RunDirectory, load_plugins

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A table, whose columns are found by name; an NPZ or IDX file of arrays; or a data set by name.",
    ),
]
OfDecimal = Annotated[
    str | None,
    typer.Option(
        "--decimal",
        metavar=".|,",
        help="The decimal sign of numbers, by default the one that they show, or that of training.",
    ),
]
OfAverage = Annotated[bool, typer.Option("--average", help="Take the averaged parameters of the run.")]


def predict(
    run: RunDirectory,
    data: Data,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="A file for all predictions; - is stdout."),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="csv|parquet|json|npz|xlsx",
            help="By default the ending of FILE, or csv.",
            autocompletion=completion.formats,
        ),
    ] = None,
    decimal: OfDecimal = None,
    average: OfAverage = False,
    json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Predict new samples: a class and the probability of each, or a number in the units of the target.

    Rows stay in their order, and the target may be absent. Without -o the first predictions are shown. The data of the
    run are not needed, and no plugin of it is loaded.

    Example: optrun predict latest new.csv -o predictions.csv
    """
    load_plugins(plugin)
    from optrun.cli.views.predictions import print_predictions

    print_predictions(run, data, output, format, decimal=decimal, average=average, json=json)


def evaluate(
    run: RunDirectory,
    data: Data,
    metrics: Annotated[
        str, typer.Option("--metrics", "-m", metavar="A,B", help="More figures, e.g. f1_macro,roc_auc.")
    ] = "",
    decimal: OfDecimal = None,
    average: OfAverage = False,
    json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Measure a run on other data, which have the target: loss, accuracy, further metrics, the confusion matrix.

    The loss is that of training, without a penalty.

    Example: optrun evaluate latest later.csv --metrics f1_macro,roc_auc
    """
    load_plugins(plugin)
    from optrun.cli.views.predictions import print_evaluation

    print_evaluation(run, data, metrics, decimal=decimal, average=average, json=json)
