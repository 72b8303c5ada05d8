"""The commands `list` and `show`."""

from typing import Annotated

import typer

from optrun.cli import completion
from optrun.cli.arguments import Json, Plugins, load_plugins


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help="optimizers, schedulers, problems, averages, methods, datasets or metrics; by default all.",
            autocompletion=completion.kinds,
        ),
    ] = None,
    json: Json = False,
    plugin: Plugins = None,
) -> None:
    """List the names that a config may use.

    Example: optrun list optimizers
    """
    load_plugins(plugin)
    from optrun.cli.views.describe import print_list

    print_list(kind, json=json)


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|RUN",
            help="An optimizer, scheduler, problem, average, sweep method, data set or metric; or a run.",
            autocompletion=completion.names,
        ),
    ],
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            min=0,
            help="Show at most so many settings of each problem of a sweep; 0: all. By default 20, with --json all.",
        ),
    ] = None,
    confusion: Annotated[
        bool, typer.Option("--confusion", help="Show how many samples of each class a run predicts as each.")
    ] = False,
    json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Show the options of a name, with YAML to paste, or the config and results of a run.

    A run is a directory, an id under runs/ or the beginning of one, or `latest`; of a sweep SWEEP:15, or SWEEP:best.

    Examples: optrun show Adam; optrun show latest
    """
    load_plugins(plugin)
    from optrun.analysis.best_run import find_numbered
    from optrun.cli.views.describe import is_name, names, print_description
    from optrun.cli.views.run_overview import check_no_confusion, check_no_limit, print_run
    from optrun.errors import UnknownNameError, did_you_mean, fold
    from optrun.kernels import ENGINES
    from optrun.registry import of_library
    from optrun.store.locate import BEST, known_run, matching_runs, run_directories

    whole, _, number = name.rpartition(":")
    if whole and known_run(name) is None and (number.isdecimal() or number == BEST or known_run(whole)):
        print_run(*find_numbered(name), json=json, limit=limit, confusion=confusion)
        return
    run = known_run(name)
    if run is None and is_name(name):
        check_no_limit(limit)
        check_no_confusion(confusion)
        print_description(name, json=json)
        return
    matches = [run] if run is not None else matching_runs(name)
    if len(matches) != 1:
        known = [*names(), *(each.name for each in run_directories()[:1000])]
        if not matches and fold(name) in (*map(fold, ENGINES), "engine", "engines"):
            raise UnknownNameError(
                f"{name!r} is no name and no run: engine={'|'.join(ENGINES)} chooses what computes the steps of a run, "
                "with bit-identical results on the CPU; cupy needs backend=cupy; optrun doctor lists what is installed"
            )
        if not matches and (needed := of_library(name)):
            raise UnknownNameError(f"{name!r}: {needed}")
        several = f": {len(matches)} runs begin with it, e.g. {matches[0].name}" if matches else ""
        raise UnknownNameError(f"no name and no run is called {name!r}{several}.{did_you_mean(name, known)}")
    print_run(matches[0], None, json=json, limit=limit, confusion=confusion)
