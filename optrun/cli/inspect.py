"""The commands that read runs: `export`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from optrun.cli.arguments import RunDirectory


def export(
    run_directory: RunDirectory,
    format: Annotated[str, typer.Option("--format", "-f", metavar="csv|npz|json", help="The form.")] = "csv",
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="A file; - is stdout.")] = "-",
) -> None:
    """Write the curves of a run as CSV, NPZ or JSON."""
    from optrun.errors import ConfigError, did_you_mean
    from optrun.store import FORMATS, Store
    from optrun.store import export as write
    from optrun.store.directory import replace_file

    if format not in FORMATS:
        raise ConfigError(f"unknown format {format!r}: {', '.join(FORMATS)}.{did_you_mean(format, FORMATS)}")
    with Store.open(run_directory) as store:
        if output != "-":
            try:
                replace_file(Path(output), lambda stream: write(store, 0, format, stream))
            except OSError as error:
                raise ConfigError(f"{output}: {(error.strerror or str(error)).lower()}") from error
        elif format == "npz" and sys.stdout.isatty():
            raise ConfigError("npz is binary: name a file with -o")
        else:
            write(store, 0, format, sys.stdout.buffer)
