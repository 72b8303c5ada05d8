"""The commands about configs: `validate`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from optrun.cli.arguments import Plugins, load_plugins


def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="YAML files.")], plugin: Plugins = None
) -> None:
    """Check configs without running them; every mistake is named with its line and column."""
    load_plugins(plugin)
    from optrun.config import load
    from optrun.errors import ConfigError

    failed = False
    for file in files:
        try:
            load(file)
        except ConfigError as error:
            failed = True
            print(error, file=sys.stderr)
        else:
            print(f"{file}: ok")
    if failed:
        raise typer.Exit(2)
