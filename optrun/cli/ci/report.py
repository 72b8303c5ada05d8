"""What `run`, `resume` and `validate` tell a CI server: JUnit's XML, GitHub's annotations and job summary."""

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
    """Collects how each case went."""

    def __init__(self, *, is_wanted: bool) -> None:
        self.is_wanted = is_wanted
        """Whether anybody gets it."""
        self.cases: list[Case] = []
        self.issues: list[Issue] = []
        self.summary: list[Case] | None = None
        """What a job summary shows in place of the cases, where these are too many."""

    @contextmanager
    def case(self, name: str, group: str) -> Iterator[Case]:
        """Time a case; an error that ends it is noted and goes on its way."""
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
    """Give the report of a command, and hand it over at the end, however that comes.

    Raises ConfigError, at once, for a file that cannot be written, or must not be; what goes wrong with it later is
    told and changes nothing about how the command ends.
    """
    if junit_file:
        from optrun.cli.ci import junit

        junit.check_writable(junit_file, inputs)
    report = Report(is_wanted=junit_file is not None or github.is_here())
    try:
        yield report
    finally:
        if junit_file:
            with _forgiving(f"--junit: {junit_file}"):
                junit.write(junit_file, f"optrun {command}", report.cases)
        if github.is_here():
            with _forgiving("stderr"):
                github.annotate(report.issues)
            with _forgiving(f"GITHUB_STEP_SUMMARY: {os.environ.get('GITHUB_STEP_SUMMARY')}"):
                github.summarise(
                    f"optrun {command}", report.cases if report.summary is None else report.summary
                )


@contextmanager
def _forgiving(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        with suppress(OSError):
            print(printable(f"{what}: {(error.strerror or str(error)).lower()}"), file=sys.stderr)
