"""Arguments and options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from optrun.cli import completion


class Show(StrEnum):
    """How the progress of a run is shown."""

    AUTO = "auto"
    LIVE = "live"
    BAR = "bar"
    PLAIN = "plain"
    OFF = "off"


class Kind(StrEnum):
    """The kinds of plots of a sweep in the terminal."""

    CURVES = "curves"
    SENSITIVITY = "sensitivity"


class TableRows(StrEnum):
    """What is exported: tables of `optrun.store.run_table.WHAT`, or parameters."""

    RUNS = "runs"
    CURVES = "curves"
    EVALUATIONS = "evaluations"
    PARAMS = "params"


class Viewer(StrEnum):
    """The programs for which results are exported as files of their own kind."""

    TENSORBOARD = "tensorboard"
    MLFLOW = "mlflow"


class PictureKind(StrEnum):
    """The kinds of pictures in files."""

    CURVES = "curves"
    SENSITIVITY = "sensitivity"
    BEST = "best"
    PROFILE = "profile"
    RANKING = "ranking"
    HEAT = "heat"
    TUNING = "tuning"
    TRAJECTORY = "trajectory"


class PictureStyle(StrEnum):
    """Sizes of letters and lines: `optrun.plots.look.STYLES`."""

    PAPER = "paper"
    TALK = "talk"


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Override values of the config, e.g. optimizer.lr=1e-2.",
        autocompletion=completion.overrides,
    ),
]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin", metavar="FILE_OR_MODULE", help="Python code that registers problems, optimizers, …"
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where", metavar="CONDITION", help="Only runs such as 'optimizer.lr < 0.01 and status == diverged'."
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(
        "--sort", metavar="COLUMN", help="Sort by a column, e.g. final_loss; -final_loss: downwards."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
AcceptChanges = Annotated[
    bool,
    typer.Option("--accept-changes", help="Continue although data or code have changed since the run began."),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        help="The number of processes of a sweep; by default one per core, or one for a short sweep or on a GPU.",
    ),
]
ExecutorOption = Annotated[
    str,
    typer.Option(
        "--executor",
        "-x",
        metavar="local|dask",
        help="Where to execute packs of runs.",
        autocompletion=completion.executors,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="URL",
        help="The scheduler of a running Dask cluster, e.g. tcp://10.0.0.1:8786.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the run directory, and no progress.")]
ShowOption = Annotated[
    Show,
    typer.Option(
        "--progress", help="auto: live (curves and metrics) or bar on a terminal, plain lines elsewhere."
    ),
]
Junit = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write the results as JUnit XML, for CI.")
]
Config = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="A YAML file.", autocompletion=completion.configs)
]
Configs = Annotated[
    list[Path], typer.Argument(metavar="FILE…", help="YAML files.", autocompletion=completion.configs)
]
RunDirectory = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run: a directory, an id under runs/ or the beginning of one, or: latest; SWEEP:15, SWEEP:best.",
        autocompletion=completion.runs,
    ),
]
Runs = Annotated[
    list[str],
    typer.Argument(metavar="RUN…", help="One or more runs.", autocompletion=completion.runs),
]


def load_plugins(targets: list[str] | None) -> None:
    if targets:
        from optrun import plugins

        plugins.load_plugins(targets)
