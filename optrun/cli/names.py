"""The commands about names: `list`, `show`."""

from typing import Annotated

import typer

from optrun.cli.arguments import Json, Plugins, load_plugins


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[optimizers|schedulers|problems|datasets]", help="What to list; all of it."),
    ] = None,
    json: Json = False,
    plugin: Plugins = None,
) -> None:
    """List the names that a config may use."""
    load_plugins(plugin)
    from optrun.cli.describe import print_list

    print_list(kind, json=json)


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An optimizer, a scheduler or a problem.")],
    json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Show what a name stands for: its maths, its options with bounds and defaults, and YAML to paste."""
    load_plugins(plugin)
    from optrun.cli.describe import print_description

    print_description(name, json=json)
