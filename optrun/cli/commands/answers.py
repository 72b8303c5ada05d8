"""The commands `compare`, `report`, `noise` and `lr-find`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from optrun.cli import completion
from optrun.cli.arguments import Config, Json, Overrides, Plugins


class Form(StrEnum):
    """How a comparison is printed."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "md"
    LATEX = "latex"


Sweeps = Annotated[
    list[Path],
    typer.Argument(metavar="SWEEP…", help="Sweeps, or: latest.", autocompletion=completion.runs),
]
By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="PATH",
        help="What is compared, e.g. optimizer.name, or: sweep. By default the optimizer, if it varies.",
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline", metavar="VALUE", help="What others are compared to. By default AdamW, Adam, SGD."
    ),
]
Reported = Annotated[str | None, typer.Option("--metric", "-m", help="By default the metric of the sweeps.")]


def compare(
    sweeps: Sweeps,
    by: By = None,
    baseline: Baseline = None,
    metric: Reported = None,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print one table, as CSV.")] = False,
    md: Annotated[bool, typer.Option("--md", help="Print the tables as Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print the tables for LaTeX's booktabs.")] = False,
) -> None:
    """Say what is better, by how much, and whether it is real: the best setting of each optimizer, on each problem.

    Settings are selected by the median over their seeds; what diverged counts as the worst. Differences to the
    baseline are those of equal seeds, and p-values are corrected for their number.

    Example: optrun compare runs/sweep-digits-9753bee6 --baseline Adam
    """
    from optrun.cli.views.comparison import print_comparison
    from optrun.errors import ConfigError

    chosen = [
        form
        for form, wanted in ((Form.JSON, json), (Form.CSV, csv), (Form.MARKDOWN, md), (Form.LATEX, latex))
        if wanted
    ]
    if len(chosen) > 1:
        raise ConfigError(f"--{chosen[0]} and --{chosen[1]}: choose one")
    print_comparison(sweeps, by, baseline, metric, chosen[0] if chosen else Form.TEXT)


def report(
    sweeps: Sweeps,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The HTML file.")] = Path(
        "report.html"
    ),
    by: By = None,
    baseline: Baseline = None,
    metric: Reported = None,
) -> None:
    """Write what `compare` finds as one HTML page with charts, which needs no network; needs the extra `report`.

    Verdict, ranking, a matrix of medians, differences seed by seed, curves and hyperparameters, and what all of it
    rests on.

    Example: optrun report runs/sweep-digits-9753bee6 -o report.html
    """
    from optrun.api.reports import report as write_report
    from optrun.store.locate import find_whole

    found = [find_whole(each, "report") for each in sweeps]
    print(write_report(*found, path=output, by=by, baseline=baseline, metric=metric))


def noise(
    config: Config,
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option("--seeds", "-n", min=2, help="The number of seeds.")] = 20,
    metric: Annotated[
        str | None, typer.Option("--metric", "-m", help="A figure of the summary; by default the final loss.")
    ] = None,
    json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Say how much a metric varies over seeds, and the smallest difference that 6, 10, 20 seeds can show.

    Nothing is stored.

    Example: optrun noise configs/digits_mlp.yaml -n 20 --metric test_accuracy
    """
    from optrun.cli.views.noise import print_noise

    print_noise(config, overrides or (), seeds, metric, plugin or (), json=json)


def lr_find(
    config: Config,
    overrides: Overrides = None,
    parameter: Annotated[
        str | None,
        typer.Option(
            "--parameter", metavar="PATH", help="Another number than optimizer.lr: scheduler.max_lr."
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", "-n", min=1, help="The number of seeds near the best rate.")
    ] = 3,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Steps of a run, in place of the config's.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", "-m", help="A figure of the summary; by default the final loss.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Draw a picture too: PNG, SVG or PDF."),
    ] = None,
    json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Find the learning rate: run a config at many rates, with its own schedule, and say which of them train.

    Prints the rate to take, the range whose final loss is within 5 % of the best, and from where on runs diverge.
    Nothing is stored.

    Example: optrun lr-find configs/digits_mlp.yaml -o rates.png
    """
    from optrun.cli.views.lr_find import print_rates

    print_rates(
        config,
        overrides or (),
        plugin or (),
        output,
        parameter=parameter,
        seeds=seeds,
        steps=steps,
        metric=metric,
        json=json,
    )
