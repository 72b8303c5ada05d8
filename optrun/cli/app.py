"""The command line: every command with its place in the help, and how it ends.

What a command needs beyond Typer is imported when it runs, so that help appears at once.
"""

import io
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from optrun import __version__
from optrun.cli.commands import (
    answers,
    check,
    configs,
    conformance,
    export,
    guide,
    maintain,
    map,
    names,
    predict,
    run,
    runs,
    smoke,
    sweep,
)
from optrun.cli.exits import exit_code_of, reported
from optrun.cli.messages import Messages
from optrun.errors import did_you_mean
from optrun.fallbacks import log

app = typer.Typer(
    name="optrun",
    help="Optimizer experiments from one YAML file.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


class _Command(TyperCommand):
    """A command that suggests the nearest choice where an option has none of its choices."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; BadParameter, with the nearest choice, for a value that is no choice of an option."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = _with_hint(error.message)
            raise


def _with_hint(message: str) -> str:
    """Return Typer's message on a choice with the nearest one, and without what its validation says before it."""
    said = message.removeprefix("Value error, ")
    found = re.fullmatch(r"'(.*)' is not one of (.*)\.", said, re.DOTALL)
    if found is None:
        return message
    return said + did_you_mean(found[1], re.findall(r"'([^']*)'", found[2]))


_command = partial(app.command, cls=_Command)

RUN, ANSWERS, CONFIGS, RUNS = "Run", "Answers", "Configs and names", "Look at runs"
_command(rich_help_panel=RUN)(run.run)
_command(rich_help_panel=RUN)(run.resume)
_command(rich_help_panel=RUN)(sweep.sweep)
_command("map", rich_help_panel=RUN)(map.map_runs)
_command(rich_help_panel=RUN)(smoke.smoke)
_command(rich_help_panel=RUN)(conformance.conformance)
_command(rich_help_panel=ANSWERS)(answers.compare)
_command(rich_help_panel=ANSWERS)(answers.report)
_command(rich_help_panel=ANSWERS)(check.check)
_command(rich_help_panel=ANSWERS)(answers.noise)
_command("lr-find", rich_help_panel=ANSWERS)(answers.lr_find)
_command(rich_help_panel=CONFIGS)(configs.init)
_command(rich_help_panel=CONFIGS)(configs.validate)
_command(rich_help_panel=CONFIGS)(configs.config)
_command(rich_help_panel=CONFIGS)(configs.schema)
_command("list", rich_help_panel=CONFIGS)(names.list_names)
_command(rich_help_panel=CONFIGS)(names.show)
_command(rich_help_panel=RUNS)(runs.ls)
_command(rich_help_panel=RUNS)(runs.curves)
_command(rich_help_panel=RUNS)(runs.plot)
_command(rich_help_panel=RUNS)(runs.diff)
_command(rich_help_panel=RUNS)(runs.watch)
_command(rich_help_panel=RUNS)(export.export)
_command(rich_help_panel=RUNS)(predict.predict)
_command(rich_help_panel=RUNS)(predict.evaluate)
_command(rich_help_panel=RUNS)(maintain.clean)
_command(rich_help_panel=CONFIGS)(maintain.doctor)
app.command(rich_help_panel=CONFIGS)(guide.guide)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"optrun {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show debug messages on stderr.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Optimizer experiments from one YAML file."""
    reported.show(debug=debug, verbose=verbose)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if "λ─⣿".encode(encoding, "replace") == b"???":
        log.debug("the output takes %s alone: characters that it has not are printed as ?", encoding)


def main() -> None:
    """Run the command line; end with the exit code that the guide lists."""
    # Who closed them (`>&-`) wants to see nothing.
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without λ is no reason to fail
    if type(sys.stderr) is io.TextIOWrapper:  # not what a caller has put in its place
        sys.stderr = Messages.of(sys.stderr)
    # Before the command or after it: who sees an error types the same line again with --debug at its end.
    first, *rest = sys.argv
    given = rest[: rest.index("--")] if "--" in rest else rest
    for everywhere in ("--debug", "--verbose", "-v"):
        if everywhere in given:
            rest = [everywhere, *(each for each in rest if each != everywhere)]
    sys.argv = [first, *rest]
    sys.exit(exit_code_of(app))
