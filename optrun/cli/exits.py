"""Exit codes, and one-line error messages on stderr in place of tracebacks."""

import errno
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import typer

from optrun.errors import (
    MissingExtraError,
    OptrunError,
    OptrunWarning,
    RunFailedError,
    printable_lines,
)

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE)

_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class _Once(logging.Filter):
    """Lets each message pass once."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        before = len(self._said)
        self._said.add(record.getMessage())
        return len(self._said) > before


class Reported(logging.Formatter):
    """Whether to show tracebacks and debug messages; formats the latter."""

    def __init__(self) -> None:
        super().__init__("debug: %(message)s")
        self.debug = False
        self._handler: logging.Handler | None = None

    def show(self, *, debug: bool, verbose: bool) -> None:
        """Choose whether to show tracebacks, and the messages of optrun's logger on stderr, each line once."""
        self.debug = debug
        log = logging.getLogger("optrun")
        if self._handler is not None:
            log.removeHandler(self._handler)
            log.setLevel(logging.NOTSET)
            self._handler = None
        if debug or verbose:
            self._handler = logging.StreamHandler()
            self._handler.setFormatter(self)
            self._handler.addFilter(_Once())
            log.addHandler(self._handler)
            log.setLevel(logging.DEBUG)

    def format(self, record: logging.LogRecord) -> str:
        """Format a message without control characters, which a terminal would obey."""
        return printable_lines(super().format(record))

    def formatException(self, info: Any) -> str:
        """Format the traceback of an error, or only its last line if tracebacks are not shown."""
        return super().formatException(info) if self.debug else f"  {info[0].__name__}: {info[1]}"


reported = Reported()


def exit_code_of(command: Callable[[], Any]) -> int:
    """Run a command and return its exit code.

    0 ok, 1 a run, the machine or optrun itself failed, 2 usage or config, 3 a missing extra, 4 a missed expectation
    or a failed check, 128 + signal number if interrupted (130, 143, 129, 138), 141 a closed pipe.
    """
    if "GITHUB_ACTIONS" in os.environ and not {"FORCE_COLOR", "PY_COLORS"} & os.environ.keys():
        # Typer assumes that GitHub Actions is a colour terminal, even if the output is a pipe.
        os.environ.setdefault("_TYPER_FORCE_DISABLE_TERMINAL", "1")
    try:
        with _noted_warnings():
            code = _code_of(command)
        sys.stdout.flush()
    except BrokenPipeError:
        code = 141
    except OSError as error:
        if error.errno in _DESCRIPTORS:
            _print("too many open files: `ulimit -n` shows the limit, and `ulimit -n N` raises it")
        else:
            _print(f"{error.filename or 'output'}: {(error.strerror or str(error)).lower()}")
        code = 1
    if code in (1, 141):
        _redirect_to_null(sys.stdout)
    return code


@contextmanager
def _noted_warnings() -> Iterator[None]:
    """Print each OptrunWarning once, as a note; other warnings as Python does."""
    usual, said = warnings.showwarning, set[str]()

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, OptrunWarning):
            usual(message, category, *where, **more)
        elif str(message) not in said:
            said.add(str(message))
            with suppress(OSError):
                print(printable_lines(f"note: {message}"), file=sys.stderr)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = usual


def _code_of(command: Callable[[], Any]) -> int:
    try:
        command()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            return 141
        return end.code if isinstance(end.code, int) else 1
    except typer.Exit as end:
        return end.exit_code
    except OptrunError as error:
        _print(f"{error}")
        if isinstance(error, RunFailedError) and error.signal is not None:
            return 128 + error.signal
        return 3 if isinstance(error, MissingExtraError) else 1 if _is_machine_error(error) else 2
    except KeyboardInterrupt:
        _print("interrupted")
        return 130
    except MemoryError:
        _print("out of memory")
        return 1
    except OSError:
        raise
    except Exception as error:
        _print(
            f"this is a bug in optrun: {type(error).__name__}: {error} (optrun --debug … shows the traceback)"
        )
        return 1
    return 0


def _is_machine_error(error: OptrunError) -> bool:
    """Whether an error comes from the machine or a run, e.g. a full disk, rather than from the user's input."""
    import sqlite3

    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return cause.sqlite_errorcode & 0xFF in (
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_READONLY,
        )
    if isinstance(cause, OSError) and not isinstance(error, RunFailedError):
        return cause.errno in _DISK
    return isinstance(error, RunFailedError)


def _redirect_to_null(stream: TextIO) -> None:
    """Redirect an unwritable stream to the null device: Python flushes it again at exit, and would print an error."""
    try:
        stream.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _print(message: str) -> None:
    if reported.debug:
        traceback.print_exc()
    with suppress(OSError):
        print(printable_lines(message), file=sys.stderr)
