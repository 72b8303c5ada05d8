"""Collect the results of a command for CI: JUnit XML, GitHub annotations and job summary."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from optrun.cli.ci import github
from optrun.cli.ci.case import Case
from optrun.config.yaml.errors import ConfigErrors, Issue
from optrun.errors import ConfigError, printable


class Report:
    """The cases of a command, and the issues to annotate."""

    def __init__(self, *, is_wanted: bool) -> None:
        self.is_wanted = is_wanted
        """Whether the report is written anywhere."""
        self.cases: list[Case] = []
        self.issues: list[Issue] = []
        self.summary: list[Case] | None = None
        """The cases of the job summary, if it does not show all cases."""

    @contextmanager
    def case(self, name: str, group: str) -> Iterator[Case]:
        """Add a case and time it; an exception is recorded and re-raised."""
        case = Case(name, group)
        self.cases.append(case)
        began = time.monotonic()
        try:
            yield case
        except BaseException as error:
            self._note(case, error)
            raise
        finally:
            case.seconds = time.monotonic() - began

    def _note(self, case: Case, error: BaseException) -> None:
        case.problem = "error"
        case.outcome = "config" if isinstance(error, ConfigError) else "failed"
        case.messages = (str(error) or type(error).__name__).splitlines()
        if isinstance(error, ConfigErrors):
            self.issues += error.issues
        elif isinstance(error, Exception):
            self.issues.append(Issue(case.name, None, None, "", "\n".join(case.messages)))


@contextmanager
def reporting(command: str, junit_file: Path | None = None, inputs: Sequence[Path] = ()) -> Iterator[Report]:
    """Yield the report of a command, and write it at the end, also after an exception.

    Raises ConfigError at the start if the file cannot or must not be written; a later write error is printed and does
    not change the exit code.
    """
    if junit_file:
        from optrun.cli.ci import junit

        junit.check_writable(junit_file, inputs)
    report = Report(is_wanted=junit_file is not None or github.in_actions())
    try:
        yield report
    finally:
        if junit_file:
            with _printing_os_errors(f"--junit: {junit_file}"):
                junit.write(junit_file, f"optrun {command}", report.cases)
        if github.in_actions():
            with _printing_os_errors("stderr"):
                github.annotate(report.issues)
            with _printing_os_errors(f"GITHUB_STEP_SUMMARY: {os.environ.get('GITHUB_STEP_SUMMARY')}"):
                github.summarise(
                    f"optrun {command}", report.cases if report.summary is None else report.summary
                )


@contextmanager
def _printing_os_errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        with suppress(OSError):
            print(printable(f"{what}: {(error.strerror or str(error)).lower()}"), file=sys.stderr)
