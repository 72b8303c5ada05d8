"""The command `sweep`."""

import math
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
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
    Show,
    load_plugins,
)

if TYPE_CHECKING:
    from optrun.api.sweeps import Sweep


def sweep(
    config: Config,
    overrides: Overrides = None,
    jobs: Jobs = None,
    executor: ExecutorOption = "local",
    address: Address = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="The time limit of one attempt to run a pack, e.g. 10m. At the limit its worker is killed, and the "
            "pack is split in halves and retried until a single run has failed.",
        ),
    ] = None,
    fail_fast: Annotated[
        bool,
        typer.Option("--fail-fast", help="Stop at the first run that fails; results of other runs are kept."),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Repeat runs that have failed.")
    ] = False,
    accept_changes: AcceptChanges = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write the sweep here instead of under runs/."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Execute at most so many runs, in the order of the plan.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="End after this time, e.g. 10m, with the runs that have ended."
        ),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Shorten every run to a second or two; nothing is stored.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only print settings, packs and the estimated time.")
    ] = False,
    show: Annotated[Show, typer.Option("--progress", help="bar: on a terminal; plain: lines.")] = Show.AUTO,
    junit: Junit = None,
    json: Json = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the sweep directory, and no progress.")
    ] = False,
    plugin: Plugins = None,
) -> None:
    """Run all combinations of a config's `sweep` section or of KEY=A,B,C, and rank the settings.

    Repeating the command executes only the runs that are left. Diverged runs are results: the exit code is 0.

    Example: optrun sweep configs/digits_mlp.yaml optimizer.lr=1e-3,1e-2,1e-1 seed=0,1,2
    """
    from optrun.analysis.expectation import check_expectation
    from optrun.api import sweeps
    from optrun.cli.ci.report import reporting
    from optrun.cli.ci.sweep_report import judge, misses_of, report_sweep
    from optrun.cli.live.run_progress import shown_as
    from optrun.cli.live.sweep_progress import sweep_progress
    from optrun.cli.views.hints import (
        note_design,
        note_equal,
        note_equal_results,
        note_expansion,
        note_groups,
        note_method,
        note_ranking,
        note_selection,
    )
    from optrun.cli.views.sweep_plan import print_sweep_plan
    from optrun.cli.views.sweep_table import CONFIRMATION, print_table
    from optrun.config.sweep.resolve import load_sweep
    from optrun.errors import ConfigError
    from optrun.sweeps.options import Execution
    from optrun.sweeps.plan.expand import expand
    from optrun.sweeps.plan.packs import grouped, jobs_for
    from optrun.sweeps.plan.shortened import said, shortened

    seconds = _seconds(budget, "--budget")
    until = math.inf if seconds is None else time.monotonic() + seconds
    if smoke and (output is not None or dry_run):
        raise ConfigError(f"--smoke: stores nothing, and so takes no {'--output' if output else '--dry-run'}")
    how = Execution(
        executor=executor,
        jobs=jobs,
        address=address,
        timeout=_seconds(timeout, "--timeout"),
        fail_fast=fail_fast,
        plugins=plugin or (),
    )
    with reporting("sweep", junit, [config]) as report:
        with report.case(" ".join([str(config), *(overrides or ())]), "sweep") as case:
            load_plugins(plugin)
            # A sweep that is continued from the config in its own directory may have been moved with the project.
            moved_to = output if output is not None and config.parent == output else None
            swept = load_sweep(config, overrides or [], moved_to=moved_to)
            if shown_as(show, quiet=quiet or json) is not Show.OFF:
                note_expansion(swept)
            plan = expand(swept)
            note_method(plan.swept)
            note_equal(plan)
            note_ranking(plan)
            groups = grouped(plan)
            if smoke:
                plan = shortened(plan, groups)
                groups = grouped(plan)
                if not (quiet or json):
                    print(said(), file=sys.stderr)
            if not (quiet or json):
                note_groups(groups)
                note_selection(plan)
                note_design(plan)
            if jobs is None and executor == "local":
                # Plugin code may crash its process: run it in worker processes, apart from this one.
                how = replace(how, jobs=jobs_for(groups), apart=bool(plugin))
            if dry_run:
                check_expectation(plan, groups)
                print_sweep_plan(
                    plan,
                    groups,
                    output,
                    how.split,
                    limit,
                    plugins=how.plugins,
                    json=json,
                    retry_failed=retry_failed,
                    accept_changes=accept_changes,
                )
                case.outcome, case.problem = "dry run", "skipped"
                return
            again = [str(config), *(overrides or ()), *(("-o", str(output)) if output else ())]
            again += ["--smoke"] if smoke else []
            again += ["-j", str(jobs)] if jobs else []
            again += [] if executor == "local" else ["--executor", executor]
            again += ["--address", address] if address else []
            again += ["--timeout", timeout] if timeout else []
            again += ["--budget", budget] if budget else []
            again += [each for name in plugin or () for each in ("--plugin", name)]
            with _with_next_command(again), sweep_progress(plan.name, show, quiet=quiet or json) as observe:
                result = sweeps.sweep_plan(
                    plan,
                    groups,
                    save=not smoke,
                    directory=output,
                    limit=limit,
                    until=until,
                    retry_failed=retry_failed,
                    accept_changes=accept_changes,
                    observe=observe,
                    note=partial(print, file=sys.stderr),
                    **vars(how),
                )
        misses = misses_of(result)
        report_sweep(report, case, result, misses)
        if result.confirmed is not None:
            with report.case(f"{case.name}: confirmation", "sweep") as confirmation:
                confirmed_misses = misses_of(result.confirmed, CONFIRMATION)
                report_sweep(report, confirmation, result.confirmed, confirmed_misses, CONFIRMATION)
            misses += confirmed_misses
        missed = [*judge(report, result), *(issue for _, issue in misses)]
        if not (quiet or json):
            note_equal_results(result)
        print_table(result, missed, again, json=json, quiet=quiet)
    raise typer.Exit(_code(result, bool(missed)))


@contextmanager
def _with_next_command(again: Sequence[str]) -> Iterator[None]:
    """Add the command that continues the sweep to the error of a lost Dask cluster."""
    from optrun.errors import RunFailedError

    try:
        yield
    except RunFailedError as error:
        if "dask" not in again:
            raise
        raise RunFailedError(f"{error}\nnext: optrun sweep {shlex.join(again)}") from error


def _seconds(duration: str | None, option: str) -> float | None:
    from optrun.config.model.durations import Duration
    from optrun.errors import ConfigError

    try:
        return None if duration is None else Duration(duration).seconds
    except ConfigError as error:
        raise ConfigError(f"{option}: {error}") from None


def _code(result: "Sweep", missed: bool) -> int:
    from optrun.store import Status

    if result.signal is not None and (result.left or result.confirmation_left):
        return 128 + result.signal
    if any(each.states.count(Status.FAILED) for each in (result, result.confirmed) if each is not None):
        return 1
    return 4 if missed else 0
