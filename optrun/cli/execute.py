"""The commands that run: `run`, `resume`."""

from pathlib import Path
from typing import Annotated

import typer

from optrun.cli.arguments import Config, Json, Overrides, Plugins, Quiet, RunDirectory, load_plugins


def run(
    config: Config,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="RUN_DIR", help="Write the run here, not under runs/."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same as seed=N.")] = None,
    save: Annotated[bool, typer.Option("--save/--no-save", help="Write a run directory.")] = True,
    json: Json = False,
    quiet: Quiet = False,
    plugin: Plugins = None,
) -> None:
    """Run a config and store its curves.

    Example: optrun run configs/digits_mlp.yaml optimizer.lr=1e-2 --seed 3
    """
    load_plugins(plugin)
    from optrun import api
    from optrun.cli.outcome import print_outcome
    from optrun.cli.progress import progress
    from optrun.config import load

    chosen = load(config, [*(overrides or []), *([f"seed={seed}"] if seed is not None else [])])
    with progress(chosen.name, quiet=quiet or json) as observe:
        result = api.run(chosen, save=save, directory=output, observe=observe)
    raise typer.Exit(print_outcome(result, json=json, quiet=quiet))


def resume(
    run_directory: RunDirectory, json: Json = False, quiet: Quiet = False, plugin: Plugins = None
) -> None:
    """Go on with an interrupted or killed run, as if nothing had happened.

    Example: optrun resume runs/20261122-141503-digits-mlp-3f2a
    """
    load_plugins(plugin)
    from optrun import api
    from optrun.cli.outcome import print_outcome
    from optrun.cli.progress import progress

    with progress(run_directory.name, quiet=quiet or json) as observe:
        result = api.resume(run_directory, observe=observe)
    raise typer.Exit(print_outcome(result, json=json, quiet=quiet))
