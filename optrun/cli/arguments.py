"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]…", help="Values that replace the file's, e.g. optimizer.lr=1e-2."),
]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin", metavar="FILE_OR_MODULE", help="Python code that registers problems, optimizers, …"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the run directory alone, and no progress.")]
Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")]
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A directory that `optrun run` wrote.")]


def load_plugins(targets: list[str] | None) -> None:
    """Import the plugins that were named."""
    if targets:
        from optrun.registry import load_plugin

        for target in targets:
            load_plugin(target)
