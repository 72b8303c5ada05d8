"""The commands `ls`, `curves`, `plot`, `diff` and `watch`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from optrun.cli import completion
from optrun.cli.arguments import (
    Json,
    Kind,
    PictureKind,
    PictureStyle,
    Plugins,
    RunDirectory,
    Runs,
    Sort,
    Where,
    load_plugins,
)

Folder = Annotated[Path, typer.Argument(metavar="[DIR|SWEEP]", help="A directory of runs, or a sweep.")]
Metric = Annotated[
    str | None,
    typer.Option("--metric", "-m", help="loss, lr, grad_norm, …; for a sensitivity e.g. final_loss."),
]
KindOption = Annotated[
    Kind | None,
    typer.Option("--kind", "-k", help="For a sweep: its best curves, or its metric over a parameter."),
]
OfProblem = Annotated[
    str | None,
    typer.Option(
        "--problem", metavar="LABEL", help="One problem of a sweep over several: its label, or a part of it."
    ),
]
Over = Annotated[
    str | None,
    typer.Option("--over", metavar="PARAMETER", help="The parameter of a sensitivity; by default the lr."),
]
Log = Annotated[
    bool | None,
    typer.Option("--log/--linear", help="The scale of the y axis; by default chosen from the values."),
]


def ls(
    directory: Folder = Path("runs"),
    status: Annotated[
        list[str] | None, typer.Option("--status", "-s", help="List only runs of this status; repeatable.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", min=0, help="List at most so many runs; 0: all. By default 20, with --json all."
        ),
    ] = None,
    where: Where = None,
    sort: Sort = None,
    json: Json = False,
) -> None:
    """List the runs in a directory, newest first, or the runs of a sweep, which --where and --sort choose.

    The process of a `killed` run has died; `optrun resume` continues such a run.

    Examples: optrun ls --status diverged; optrun ls runs/sweep-digits-lr-9753bee6 --sort final_loss
    """
    from optrun.analysis.best_run import known_numbered
    from optrun.cli.views.run_list import print_runs
    from optrun.cli.views.sweep_runs import print_sweep_runs
    from optrun.errors import ConfigError

    statuses = tuple(status or ())
    if named := known_numbered(directory):
        print_sweep_runs(*named, statuses, limit, where, sort, json=json)
    elif where is not None or sort is not None:
        missing = "" if directory.is_dir() else "no such directory; "
        raise ConfigError(
            f"{directory}: {missing}--where and --sort are for the runs of a sweep: optrun ls SWEEP"
        )
    else:
        print_runs(directory, statuses, limit, json=json)


def curves(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN…",
            help="Runs; with --schedule a config and KEY=VALUE overrides.",
            autocompletion=completion.runs,
        ),
    ] = None,
    metric: Metric = None,
    log: Log = None,
    kind: KindOption = None,
    over: Over = None,
    problem: OfProblem = None,
    evaluations: Annotated[
        bool, typer.Option("--evaluations", "-e", help="Also draw the losses on validation and test data.")
    ] = False,
    schedule: Annotated[
        bool, typer.Option("--schedule", help="Draw the scheduled lr of a config, without running it.")
    ] = False,
    width: Annotated[int | None, typer.Option(min=24, max=1000, help="The width in columns.")] = None,
    height: Annotated[int | None, typer.Option(min=5, max=200, help="Lines of the larger plot.")] = None,
    plugin: Plugins = None,
) -> None:
    """Plot loss and lr of one or more runs in the terminal.

    For a sweep: the best settings, or with --kind sensitivity its metric over the learning rate.

    Examples: optrun curves latest; optrun curves --schedule configs/digits_mlp.yaml steps=1000
    """
    load_plugins(plugin)
    from optrun.cli.views.curves import print_curves, print_schedule
    from optrun.cli.views.sensitivity import print_sensitivity
    from optrun.errors import ConfigError

    if not runs:
        raise ConfigError(
            "name a config: optrun curves --schedule CONFIG" if schedule else "name a run, or: latest"
        )
    if schedule:
        print_schedule(Path(runs[0]), runs[1:], log, width, height, plugins=plugin or ())
    elif kind is Kind.SENSITIVITY or over is not None:
        print_sensitivity(runs, over, metric, log, width, height, problem)
    else:
        print_curves(runs, metric or "loss", log, width, height, problem, evaluations=evaluations)


def plot(
    runs: Runs,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A file that ends in .png, .svg or .pdf."),
    ] = None,
    metric: Metric = None,
    log: Log = None,
    kind: Annotated[
        PictureKind | None,
        typer.Option("--kind", "-k", help="What is drawn, for a sweep; see `optrun guide answers`."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", metavar="PATH", help="What is compared; by default the optimizer, if it varies."
        ),
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            "--over",
            metavar="PARAMETER",
            help="The parameter of a sensitivity; by default the lr. Twice: those of a heat map.",
        ),
    ] = None,
    problem: OfProblem = None,
    animate: Annotated[
        Path | None,
        typer.Option(
            "--animate", metavar="FILE", help="Moving trajectories, in a file that ends in .gif or .html."
        ),
    ] = None,
    smooth: Annotated[
        int, typer.Option("--smooth", metavar="K", min=1, help="Running mean over K recorded steps.")
    ] = 1,
    title: Annotated[str | None, typer.Option("--title", help="The title; an empty one is none.")] = None,
    size: Annotated[str | None, typer.Option("--size", metavar="WxH", help="In inches, e.g. 6x4.")] = None,
    dpi: Annotated[int, typer.Option("--dpi", help="Dots per inch of a PNG.")] = 150,
    style: Annotated[
        PictureStyle | None, typer.Option("--style", help="Sizes of letters for a page or for slides.")
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Plot loss and lr of one or more runs into a PNG, SVG or PDF file; needs the extra `plots`.

    For a sweep: median and quartiles of its metric over the learning rate or the only number that varies;
    with --kind curves, or if no number varies, loss and lr of the best settings.

    Other kinds: best, the best setting of each optimizer on each problem; profile and ranking, over problems;
    heat, over two parameters; tuning, the best value against the trials of a random search; trajectory, the ways
    of runs over the contours of a function of two numbers, of which record: {params: {every: 1}} keeps the points.

    Example: optrun plot latest -o curves.png
    """
    load_plugins(plugin)
    from optrun.api.pictures import Choice
    from optrun.cli.views.plot_file import save_animation, save_plot
    from optrun.errors import ConfigError
    from optrun.plots.look import Look, size_of

    look = Look(title, size_of(size) if size is not None else None, dpi, style)
    choice = Choice(metric, by, tuple(over or ()), log, smooth, problem)
    if output is None and animate is None:
        raise ConfigError("name a file: -o FILE, or --animate FILE for moving trajectories")
    if animate is not None and kind not in (None, PictureKind.TRAJECTORY):
        raise ConfigError(f"--animate moves trajectories, not {kind}")
    if output is not None:
        save_plot(runs, output, PictureKind.TRAJECTORY if animate else kind, choice, look)
        print(output)
    if animate is not None:
        save_animation(runs, animate, choice, look)
        print(animate)


def diff(
    a: RunDirectory,
    b: RunDirectory,
    json: Json = False,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="Exit with 1 if configs or results differ, else with 0."),
    ] = False,
) -> None:
    """Show how two runs differ in config, environment, summary, curves and parameters, to the last bit.

    Example: optrun diff runs/20261122-141503 latest
    """
    from optrun.cli.views.difference import print_difference

    identical = print_difference(a, b, json=json)
    if exit_code and not identical:
        raise typer.Exit(1)


def watch(run: RunDirectory) -> None:
    """Follow a run or a sweep from another terminal until it ends; a run is shown as of its last checkpoint.

    Ctrl-C ends `watch`, not the run. Exits with 1 if the run failed, diverged or was killed, or if a run of
    the sweep failed.

    Example: optrun watch latest
    """
    from optrun.analysis.leaderboard import is_sweep
    from optrun.cli.live.watch_run import watch_run
    from optrun.cli.live.watch_sweep import watch_sweep
    from optrun.cli.text.console import quoted
    from optrun.store.locate import find_whole

    path = find_whole(run, "watch")
    try:
        code = watch_sweep(path) if is_sweep(path) else watch_run(path)
    except KeyboardInterrupt:
        print(f"stopped watching; to watch it again: optrun watch {quoted(path)}", file=sys.stderr)
        code = 130
    raise typer.Exit(code)
