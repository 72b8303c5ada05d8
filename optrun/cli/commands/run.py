"""The commands `run` and `resume`."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optrun.cli.arguments import (
    AcceptChanges,
    Address,
    Config,
    ExecutorOption,
    Jobs,
    Json,
    Junit,
    Overrides,
    Plugins,
    Quiet,
    RunDirectory,
    Show,
    ShowOption,
    load_plugins,
)

if TYPE_CHECKING:
    from optrun.api.runs import Run
    from optrun.config import Issue, Place, RunConfig
    from optrun.config.resolution import Resolved

MOST_CHECKED = 10_000
"""The most runs of a sweep that `run` expands, only to report the sweep's errors."""


def run(
    config: Config,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="RUN_DIR", help="Write the run here instead of under runs/."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same as seed=N.")] = None,
    save: Annotated[bool, typer.Option("--save/--no-save", help="Write a run directory.")] = True,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Shorten the run to a second or two, schedule included.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only print what would run, and an estimate of the time.")
    ] = False,
    show: ShowOption = Show.AUTO,
    junit: Junit = None,
    json: Json = False,
    quiet: Quiet = False,
    plugin: Plugins = None,
) -> None:
    """Run a config and store its curves; SWEEP:15 or SWEEP:best is the config of a run of a sweep.

    Example: optrun run configs/digits_mlp.yaml optimizer.lr=1e-2 --seed 3
    """
    from optrun.api import runs
    from optrun.cli.ci.report import reporting
    from optrun.cli.live.run_progress import progress
    from optrun.cli.located import located
    from optrun.cli.views.hints import note_pack
    from optrun.cli.views.run_outcome import note_outcome, print_outcome
    from optrun.config.overrides import named, path_of
    from optrun.errors import ConfigError
    from optrun.training.figures import pack_of

    if output is not None and not save:
        raise ConfigError("--output: a run that is not saved has no directory")
    for text in overrides or () if seed is not None else ():
        if path_of(text) == "seed":
            raise ConfigError(f"--seed {seed}: {named(text)} sets it too: give one of them")

    given = [*(overrides or []), *([f"seed={seed}"] if seed is not None else [])]
    with reporting("run", junit, [config]) as report:
        with report.case(" ".join([str(config), *given]), "run") as case:
            load_plugins(plugin)
            resolved = _resolved(config, given)
            with located(resolved):
                chosen = _smoke(resolved.config, quiet=quiet or json) if smoke else resolved.config
                pack = pack_of(chosen)
                if not (quiet or json):
                    note_pack(pack)
                if dry_run:
                    _print_plan(chosen, output, save=save, json=json)
                    case.outcome, case.problem = "dry run", "skipped"
                    return
                with progress(chosen, show, quiet=quiet or json) as observe:
                    result = runs.run(
                        chosen,
                        save=save,
                        directory=output,
                        plugins=plugin or (),
                        observe=observe,
                        pack=pack,
                    )
            misses = _misses(result, chosen, resolved.place)
            report.issues += note_outcome(case, result, misses)
        code = print_outcome(result, misses, json=json, quiet=quiet, plugins=plugin or ())
    raise typer.Exit(code)


def resume(
    run_directory: RunDirectory,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Extend the run to so many steps, even if it has completed.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Extend the run to so many epochs.")] = None,
    accept_changes: AcceptChanges = False,
    jobs: Jobs = None,
    executor: ExecutorOption = "local",
    address: Address = None,
    show: ShowOption = Show.AUTO,
    json: Json = False,
    quiet: Quiet = False,
    plugin: Plugins = None,
) -> None:
    """Continue an interrupted or killed run or sweep; the results are the same as without the interruption.

    --steps or --epochs also extend a completed run, with the same results as if it had been longer from the start.

    Example: optrun resume runs/20261122-141503-digits-mlp-3f2a
    """
    load_plugins(plugin)
    from optrun.analysis.leaderboard import is_sweep
    from optrun.api import runs
    from optrun.cli.ci.report import reporting
    from optrun.cli.commands.sweep import sweep
    from optrun.cli.live.run_progress import progress
    from optrun.cli.views.hints import note_pack, plugins_named
    from optrun.cli.views.run_outcome import note_outcome, print_outcome
    from optrun.config import Place, from_mapping
    from optrun.errors import ConfigError
    from optrun.store.locate import CONFIG, find_whole

    path = find_whole(run_directory, "resume")
    if is_sweep(path):
        if steps is not None or epochs is not None:
            raise ConfigError(
                "--steps and --epochs are for single runs: with other lengths, a sweep is another sweep"
            )
        with plugins_named(path, plugin or ()):
            sweep(
                path / CONFIG,
                jobs=jobs,
                executor=executor,
                address=address,
                accept_changes=accept_changes,
                output=path,
                show=show,
                json=json,
                quiet=quiet,
                plugin=plugin,
            )
        return
    for option, is_given in (
        ("--jobs", jobs is not None),
        ("--executor", executor != "local"),
        ("--address", address is not None),
    ):
        if is_given:
            raise ConfigError(f"{option} is for sweeps: a single run is one process")
    with reporting("resume") as report:
        with report.case(str(path), "resume") as case:
            before = runs.load_run(path, 0)
            longer = {} if steps is epochs is None else {"steps": steps, "epochs": epochs}
            with plugins_named(path, plugin or ()):
                config = from_mapping({**before.config, **longer})
            with progress(config, show, quiet=quiet or json, history=before.curves) as observe:
                result = runs.resume(
                    path,
                    plugins=plugin or (),
                    steps=steps,
                    epochs=epochs,
                    accept_changes=accept_changes,
                    observe=observe,
                    note=None if quiet or json else note_pack,
                )
            misses = _misses(result, config, lambda _: Place(str(path / CONFIG)))
            report.issues += note_outcome(case, result, misses)
        code = print_outcome(result, misses, json=json, quiet=quiet, plugins=plugin or ())
    raise typer.Exit(code)


def _resolved(config: Path, overrides: Sequence[str]) -> "Resolved":
    """Return a config with its overrides; ConfigErrors if it has a sweep, or first for the errors of that sweep."""
    from optrun.api.stored_configs import is_of_sweep, resolve_any
    from optrun.config import ConfigErrors

    try:
        return resolve_any(config, overrides)
    except ConfigErrors:
        if is_of_sweep(config):
            raise
        from optrun.cli.commands.configs import runs_many
        from optrun.config.sweep.resolve import load_sweep
        from optrun.errors import MissingExtraError
        from optrun.sweeps.plan.expand import expand, foreseen

        if runs_many(config, overrides) and foreseen(swept := load_sweep(config, overrides)) <= MOST_CHECKED:
            with suppress(MissingExtraError):
                expand(swept)
        raise


def _misses(
    run: "Run", config: "RunConfig", place: "Callable[[tuple[str | int, ...]], Place | None]"
) -> "list[Issue]":
    """Return the missed expectations of a run, with their positions in the config."""
    from optrun.config import Issue, Place, unmet

    missed = unmet(config.expect, run.figures(config.expect)) if run.status.final else []
    return [Issue.at(place(miss.path) or Place("expect"), miss.path[:2], miss.reason) for miss in missed]


def _smoke(config: "RunConfig", *, quiet: bool) -> "RunConfig":
    from optrun.config.shorten import smoke
    from optrun.training.figures import pack_of

    shortened, changes = smoke(config, pack_of(config).steps)
    if not quiet:
        typer.echo(f"smoke: {'; '.join(changes)}", err=True)
    return shortened


def _print_plan(config: "RunConfig", output: Path | None, *, save: bool, json: bool) -> None:
    from optrun.cli.views.run_plan import destination, print_plan
    from optrun.training.estimate import estimate

    where = destination(config, output, save=save)
    print_plan(config, estimate([config]), where, json=json)
