"""The commands about configs: `validate`, `config`, `schema`, `init`."""

import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optrun.cli.arguments import Config, Configs, Json, Junit, Overrides, Plugins, load_plugins

if TYPE_CHECKING:
    from optrun.cli.ci.report import Report
    from optrun.config import Issue, Resolved
    from optrun.config.sweep.resolve import SweepConfig


class Template(StrEnum):
    """What `init` writes: a config, or a plugin with a config that uses it."""

    SMOKE = "smoke"
    TRAIN = "train"
    COMPARE = "compare"
    FUNCTION = "function"
    SWEEP = "sweep"
    OPTIMIZER = "optimizer"
    PROBLEM = "problem"
    SCHEDULER = "scheduler"


def validate(files: Configs, json: Json = False, junit: Junit = None, plugin: Plugins = None) -> None:
    """Check configs without running them; errors are shown with line and column.

    KEY=VALUE after the files overrides a value in each of them.

    Example: optrun validate configs/*.yaml --junit report.xml
    """
    load_plugins(plugin)
    import json as json_module

    from optrun.cli.ci.report import reporting
    from optrun.errors import ConfigError, counted, printable_lines

    found = {}
    runs = {}
    overrides = [str(file) for file in files if "=" in str(file) and not file.exists()]
    files = [file for file in files if str(file) not in overrides]
    if not files:
        raise ConfigError(
            f"{overrides[0]}: no file is given. An override comes after the files: optrun validate FILE KEY=VALUE"
        )
    with reporting("validate", junit, files) as report:
        for file in files:
            issues, runs[file] = _checked(file, report, overrides)
            found[str(file)] = issues
            for issue in issues:
                print(printable_lines(str(issue)), file=sys.stderr)
            if not json and not issues:
                many = "" if runs[file] is None else f", a {_many(file)} of {counted(runs[file] or 0, 'run')}"
                print(printable_lines(f"{file}: ok{many}"))
    if json:
        print(
            json_module.dumps({name: [asdict(issue) for issue in issues] for name, issues in found.items()})
        )
    if any(found.values()):
        raise typer.Exit(2)
    if sys.stderr.isatty():
        command = "run" if runs[files[0]] is None else _many(files[0])
        print(f"next: optrun {command} {shlex.quote(str(files[0]))}", file=sys.stderr)


def _many(file: Path) -> str:
    """Return what a config of many runs is, which is also the command that makes them."""
    from optrun.config.map import is_map

    return "map" if is_map(file) else "sweep"


def _checked(file: Path, report: "Report", overrides: Sequence[str]) -> "tuple[list[Issue], int | None]":
    """Return the issues of a config and, if it has a sweep, the number of runs; errors are returned, not raised."""
    from optrun.config import ConfigErrors, Issue, resolve
    from optrun.config.map import is_map, load_map
    from optrun.config.sweep.resolve import load_sweep
    from optrun.errors import OptrunError
    from optrun.sweeps.maps import MapPlan

    try:
        with report.case(str(file), "validate"):
            if "map=null" not in overrides and is_map(file):
                plan = MapPlan(load_map(file, overrides))
                return [], len(plan.x) * len(plan.y)
            if runs_many(file, overrides):
                return [], _build_sweep(load_sweep(file, overrides))
            _build(resolve(file, overrides))
    except ConfigErrors as error:
        return error.issues, None
    except (OptrunError, MemoryError) as error:
        return [Issue(str(file), None, None, "", str(error) or "out of memory")], None
    return [], None


def _build(resolved: "Resolved") -> None:
    """Build the objects of a config, to find errors that only the problem, optimizer or scheduler can detect."""
    from optrun.cli.located import located
    from optrun.cli.views.hints import note_without_effect
    from optrun.errors import MissingExtraError
    from optrun.training.figures import pack_of

    try:
        with located(resolved):
            note_without_effect(pack_of(resolved.config, at_start=False))
    except MissingExtraError:
        pass  # the config is valid, but meant for a machine with this extra


def _build_sweep(swept: "SweepConfig") -> int | None:
    """Expand a sweep, build one run of each pack group, and return the number of runs.

    Returns None if the sweep method needs a package that is not installed.
    """
    from optrun.analysis.confirmation import check_compared
    from optrun.analysis.expectation import check_expectation
    from optrun.errors import MissingExtraError
    from optrun.sweeps.plan.expand import expand
    from optrun.sweeps.plan.packs import grouped

    runs = None
    with suppress(MissingExtraError):
        plan = expand(swept)
        runs = plan.size
        check_compared(plan)
        check_expectation(plan, grouped(plan))
    return runs


def runs_many(config: Path, overrides: Sequence[str]) -> bool:
    """Whether a config has a sweep, and no override `sweep=null`."""
    from optrun.config.sweep.resolve import is_sweep

    return "sweep=null" not in overrides and is_sweep(config)


def config(
    config: Config,
    overrides: Overrides = None,
    show_origin: Annotated[
        bool, typer.Option("--show-origin", help="Print one value per line, with its origin.")
    ] = False,
    json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Print a config as it would run, with its base files, the overrides and all defaults filled in.

    SWEEP:15 or SWEEP:best prints that of a run of a sweep. A config with a sweep is printed with the sweep, and
    without the defaults of its runs.

    Example: optrun config configs/digits_mlp.yaml optimizer.lr=1e-2 --show-origin
    """
    load_plugins(plugin)
    from optrun.api.stored_configs import is_of_sweep, resolve_any
    from optrun.cli.views.origins import print_config, print_origins, print_sweep, print_sweep_origins
    from optrun.config.sweep.resolve import load_sweep
    from optrun.sweeps.plan.expand import expand

    if not is_of_sweep(config) and runs_many(config, overrides or []):
        plan = expand(load_sweep(config, overrides or []))
        if show_origin:
            print_sweep_origins(plan, json=json)
        else:
            print_sweep(plan, json=json)
        return
    resolved = resolve_any(config, overrides or [])
    if show_origin:
        print_origins(resolved, json=json)
    else:
        print_config(resolved, json=json)


def schema(
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="A file; - is stdout.")] = "-",
    plugin: Plugins = None,
) -> None:
    """Print the JSON Schema of configs, for completion and checks in editors.

    Example: optrun schema -o optrun.schema.json
    """
    load_plugins(plugin)
    from optrun.cli.views.starter import schema_text, written

    if output == "-":
        print(schema_text(), end="")
    else:
        written(Path(output), schema_text())


def init(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="Where to write it; by default optrun.yaml, or my_optimizer.yaml and so on.",
        ),
    ] = None,
    template: Annotated[
        Template,
        typer.Option(
            "--template",
            "-t",
            help="smoke: a second; train: a network; compare: by overrides; sweep: many runs; "
            "optimizer, problem, scheduler: a plugin of your own, and a config that uses it.",
        ),
    ] = Template.TRAIN,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    plugin: Plugins = None,
) -> None:
    """Write a starter config, and beside it the schema by which an editor completes and checks it.

    For a plugin it writes the Python file as well, with the same name.

    Examples: optrun init lab.yaml --template compare; optrun init --template optimizer
    """
    load_plugins(plugin)
    from optrun.cli.views.starter import start

    start(file, template, force=force)
