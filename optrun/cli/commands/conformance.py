"""The command `conformance`."""

from typing import Annotated

import typer

from optrun.cli import completion
from optrun.cli.arguments import Json, Plugins, load_plugins


def conformance(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME…", help="Optimizers; by default all.", autocompletion=completion.optimizers
        ),
    ] = None,
    library: Annotated[
        list[str] | None,
        typer.Option(
            "--library", metavar="PACKAGE", help="Only the counterparts of this package; repeatable."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="The number of steps.")] = 100,
    json: Json = False,
    md: Annotated[bool, typer.Option("--md", help="Print a Markdown table.")] = False,
    plugin: Plugins = None,
) -> None:
    """Compare the optimizers with those of the libraries that are installed: torch, optax, timm, and others.

    Both get the same gradients in float64, on three problems.

    Where they differ, the table says who follows the paper, and why.

    Exits with 1 if a difference is not explained.

    Example: optrun conformance Adan ADOPT
    """
    load_plugins(plugin)
    from optrun.cli.views.conformance import print_conformance
    from optrun.errors import ConfigError

    if json and md:
        raise ConfigError("--json and --md: choose one")
    if not print_conformance(names or (), library or (), steps, json=json, md=md):
        raise typer.Exit(1)
