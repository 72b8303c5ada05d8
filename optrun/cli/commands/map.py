"""The command `map`."""

from pathlib import Path
from typing import Annotated

import typer

from optrun.cli.arguments import Config, Json, Overrides, Plugins, Show, load_plugins


def map_runs(
    config: Config,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The picture: PNG, SVG or PDF; by default NAME.png. Its numbers are in an NPZ beside it.",
        ),
    ] = None,
    log: Annotated[
        bool | None,
        typer.Option("--log/--linear", help="The scale of colours; by default as the values ask for."),
    ] = None,
    show: Annotated[Show, typer.Option("--progress", help="bar: on a terminal; plain: lines.")] = Show.AUTO,
    json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")] = False,
    plugin: Plugins = None,
) -> None:
    """Draw a map of which each pixel is a run: two numbers vary, and a figure of the run is its colour.

    Repeating the command executes only the runs that are left. Another window of an axis zooms.

    Example: optrun map configs/rosenbrock_map.yaml 'map.x.problem.start.0={linspace: [0, 1, 512]}' -o zoom.png
    """
    load_plugins(plugin)
    from optrun.cli.views.map import print_map

    print_map(config, overrides or [], output, show, log=log, json=json, quiet=quiet)
