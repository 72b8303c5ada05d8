"""The commands about configs: `validate`, `config`, `schema`, `init`."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optrun.cli.arguments import Config, Configs, Json, Junit, Overrides, Plugins, load_plugins

if TYPE_CHECKING:
    from optrun.config import Resolved


class Template(StrEnum):
    """The starter configs that `init` writes."""

    SMOKE = "smoke"
    TRAIN = "train"
    COMPARE = "compare"


def validate(files: Configs, junit: Junit = None, plugin: Plugins = None) -> None:
    """Check configs without running them; every mistake is named with its line and column.

    Example: optrun validate configs/*.yaml --junit report.xml
    """
    load_plugins(plugin)
    from optrun.cli.ci import reporting
    from optrun.config import resolve
    from optrun.errors import ConfigError

    failed = False
    with reporting("validate", junit) as report:
        for file in files:
            try:
                with report.case(str(file), "validate"):
                    _build(resolve(file))
            except ConfigError as error:
                failed = True
                print(error, file=sys.stderr)
            else:
                print(f"{file}: ok")
    if failed:
        raise typer.Exit(2)
    if sys.stderr.isatty():
        print(f"next: optrun run {shlex.quote(str(files[0]))}", file=sys.stderr)


def _build(resolved: "Resolved") -> None:
    """Build what a config names, so that what only the problem or the optimizer can refuse is refused."""
    from optrun.errors import ConfigError, MissingExtraError
    from optrun.training.pack import Pack

    try:
        Pack([resolved.config])
    except ConfigError as error:
        raise resolved.located(error) from error
    except MissingExtraError:
        pass  # the config is right, and this machine is not the one that it is for


def config(
    config: Config,
    overrides: Overrides = None,
    show_origin: Annotated[
        bool, typer.Option("--show-origin", help="Print one value a line, with where it was set.")
    ] = False,
    json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Print a config as it would run: what it extends, the overrides and every default filled in.

    Example: optrun config configs/digits_mlp.yaml optimizer.lr=1e-2 --show-origin
    """
    load_plugins(plugin)
    from optrun.cli.resolved import print_config, print_origins
    from optrun.config import resolve

    resolved = resolve(config, overrides or [])
    if show_origin:
        print_origins(resolved, json=json)
    else:
        print_config(resolved, json=json)


def schema(
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="A file; - is stdout.")] = "-",
    plugin: Plugins = None,
) -> None:
    """Print the JSON Schema of configs, by which editors complete, explain and check them.

    Example: optrun schema -o optrun.schema.json
    """
    load_plugins(plugin)
    from optrun.cli.starter import schema_text, written

    if output == "-":
        print(schema_text(), end="")
    else:
        written(Path(output), schema_text())


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path("optrun.yaml"),
    template: Annotated[
        Template,
        typer.Option("--template", "-t", help="smoke: a second; train: a network; compare: by overrides."),
    ] = Template.TRAIN,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    plugin: Plugins = None,
) -> None:
    """Write a starter config, and beside it the schema by which an editor completes and checks it.

    Example: optrun init lab.yaml --template compare
    """
    load_plugins(plugin)
    from optrun.cli.starter import start

    start(file, template, force=force)
