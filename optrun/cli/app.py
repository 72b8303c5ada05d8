"""The commands: each parses its arguments, calls the library and prints.

What a command needs is imported when it runs, so that help appears at once.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from optrun import __version__
from optrun.cli.exits import exit_code_of, reported

app = typer.Typer(
    name="optrun",
    help="Optimizer experiments from one YAML file.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

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
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A directory that `optrun run` wrote.")]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Optimizer experiments from one YAML file."""
    reported.debug = debug
    if version:
        print(f"optrun {__version__}")
        raise typer.Exit


@app.command()
def run(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")],
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
    _load_plugins(plugin)
    from optrun import api
    from optrun.cli.progress import progress
    from optrun.config import load

    chosen = load(config, [*(overrides or []), *([f"seed={seed}"] if seed is not None else [])])
    with progress(chosen.name, quiet=quiet or json) as observe:
        result = api.run(chosen, save=save, directory=output, observe=observe)
    _print_run(result, json=json, quiet=quiet)


@app.command()
def resume(
    run_directory: RunDirectory, json: Json = False, quiet: Quiet = False, plugin: Plugins = None
) -> None:
    """Go on with an interrupted or killed run, as if nothing had happened.

    Example: optrun resume runs/20261122-141503-digits-mlp-3f2a
    """
    _load_plugins(plugin)
    from optrun import api
    from optrun.cli.progress import progress

    with progress(run_directory.name, quiet=quiet or json) as observe:
        result = api.resume(run_directory, observe=observe)
    _print_run(result, json=json, quiet=quiet)


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="YAML files.")], plugin: Plugins = None
) -> None:
    """Check configs without running them; every mistake is named with its line and column."""
    _load_plugins(plugin)
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


@app.command("list")
def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[optimizers|schedulers|problems|datasets]", help="What to list; all of it."),
    ] = None,
    json: Json = False,
    plugin: Plugins = None,
) -> None:
    """List the names that a config may use."""
    _load_plugins(plugin)
    from optrun.cli.describe import print_list

    print_list(kind, json=json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An optimizer, a scheduler or a problem.")],
    json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Show what a name stands for: its maths, its options with bounds and defaults, and YAML to paste."""
    _load_plugins(plugin)
    from optrun.cli.describe import print_description

    print_description(name, json=json)


@app.command()
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


def _load_plugins(targets: list[str] | None) -> None:
    if targets:
        from optrun.registry import load_plugin

        for target in targets:
            load_plugin(target)


def _print_run(result: Any, *, json: bool, quiet: bool) -> None:
    from optrun.cli.outcome import print_outcome

    raise typer.Exit(print_outcome(result, json=json, quiet=quiet))


def main() -> None:
    """Run the command line; end with the exit code that the README lists."""
    sys.exit(exit_code_of(app))
