"""The boundary to users' code: its exceptions get the place that raised them, and its output goes to stderr.

Problems, optimizers, schedulers and averages are called, and plugins imported, within `guarded` or within the trainer's
own guard around all steps of a pack. So the place of an exception, not its type, tells whether users' code raised it: a
plugin may raise SystemExit, OSError or StoreError as well as ValueError.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import getsourcefile, getsourcelines
from types import FrameType, FunctionType
from typing import Any, TextIO

from optrun.errors import ConfigError, MissingExtraError, PluginError, StateError
from optrun.forks import renew_after_fork

MOST_TRACEBACK = 10_000
"""Characters of a traceback that are kept, from its end, which holds the line that raised."""
MOST_MESSAGE = 1_000
"""Characters of an exception's message that are kept."""

_OWN = os.path.dirname(__file__) + os.sep
PASSED = (ConfigError, MissingExtraError, PluginError, StateError, MemoryError)
"""Exceptions that `guarded` passes on: users' code raises them on purpose, or is not their cause."""


@contextmanager
def guarded(
    name: str, owner: type | None = None, passed: tuple[type[BaseException], ...] = PASSED
) -> Iterator[None]:
    """Turn any exception raised within into a PluginError with this name and the place; a real Ctrl-C passes.

    ``owner`` is the class to name if no line of users' code raised the exception. Output goes to stderr.
    """
    with output_on_stderr(), _marked_ctrl_c():
        try:
            yield
        except passed:
            raise
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            raise PluginError(f"{name}: {reason_of(error, owner=owner)}") from error


def reason_of(error: BaseException, when: str = "", *, owner: type | None = None) -> str:
    """Return an exception as one line, with the place in users' code that raised it, and the time ``when``."""
    if error.args == ("generator raised StopIteration",) and isinstance(error.__cause__, StopIteration):
        error = error.__cause__  # Python replaces a StopIteration that leaves a generator
    if isinstance(error, PluginError):  # its message includes the place
        said, place = _message(error), ""
    else:
        message = _message(error)
        said = type(error).__name__ + (f": {message}" if message else "")
        place = _place_of(error) or (definition_of(owner) if owner else "")
    where = ", ".join(each for each in (place, when) if each)
    return f"{said} ({where})" if where else said


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an exception and its causes as text of limited length."""
    text = _valid_unicode("".join(traceback.format_exception(error)))
    return text if len(text) <= MOST_TRACEBACK else f"… {text[-MOST_TRACEBACK:]}"


def definition_of(owner: type | FunctionType) -> str:
    """Return where a user's class or function is defined, as file:line; an empty string if unknown."""
    try:
        file, (_, line) = getsourcefile(owner), getsourcelines(owner)
    except (OSError, TypeError):  # e.g. defined interactively
        return ""
    return f"{file}:{line}" if file and not file.startswith(_OWN) else ""


def contract_error(function: Any, what: str) -> PluginError:
    """Return the error for a user's method that violates the contract of its base class."""
    place = definition_of(function)
    return PluginError(f"{function.__qualname__} {what}" + (f" ({place})" if place else ""))


def shape_text(value: Any) -> str:
    """Return the shape of a value in words, or its type if it has none."""
    shape = getattr(value, "shape", None)
    return f"type {type(value).__name__}" if shape is None else f"shape {shape}"


def _place_of(error: BaseException) -> str:
    """Return the last line of users' code in a traceback as file:line; lines of libraries it calls do not count."""
    elsewhere = (_OWN, "<frozen", *_libraries())
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(elsewhere)]
    return "".join(f"{frame.filename}:{frame.lineno}" for frame in own[-1:])


def _libraries() -> set[str]:
    import sysconfig

    return {sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def _message(error: BaseException) -> str:
    try:
        text = _valid_unicode(" ".join(str(error).split()))
    except Exception:
        return "its message cannot be printed"
    return text if len(text) <= MOST_MESSAGE else f"{text[:MOST_MESSAGE]} …"


def _valid_unicode(text: str) -> str:
    """Return the text as valid Unicode, as stores require."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class _CtrlC(KeyboardInterrupt):
    """A KeyboardInterrupt caused by a signal, not raised by users' code."""


def is_ctrl_c(error: BaseException) -> bool:
    """Return whether an exception may be a real Ctrl-C; optrun's own signal handlers raise only `_CtrlC`."""
    if isinstance(error, _CtrlC) or not isinstance(error, KeyboardInterrupt):
        return isinstance(error, _CtrlC)
    if threading.current_thread() is not threading.main_thread():
        return False
    handler = signal.getsignal(signal.SIGINT)
    return callable(handler) and not str(getattr(handler, "__module__", "")).startswith("optrun.")


def _raise_ctrl_c(number: int, frame: FrameType | None) -> None:
    raise _CtrlC


@contextmanager
def _marked_ctrl_c() -> Iterator[None]:
    """Make a Ctrl-C raise `_CtrlC` within, if Python's default handler would raise KeyboardInterrupt."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _raise_ctrl_c)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _raise_ctrl_c:
            signal.signal(signal.SIGINT, signal.default_int_handler)


class _Output:
    """The process's stdout and stderr, to restore after users' code, in any thread, has run with stdout redirected."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        renew_after_fork(vars(self), "lock")
        self.depth = self.callbacks = 0
        self.streams: tuple[TextIO, TextIO] = sys.stdout, sys.stderr
        self.redirected: tuple[TextIO, TextIO] = sys.stdout, sys.stderr
        self.kept_open: list[object] = []

    def keep_open(self) -> None:
        """Disable `close` of the process's own streams, which users' code must not close."""
        for stream in {sys.stdout, sys.stderr}:
            if "close" not in getattr(stream, "__dict__", {"close": None}):
                vars(stream)["close"] = lambda: None
                self.kept_open.append(stream)

    def release(self) -> None:
        """Undo `keep_open`."""
        while self.kept_open:
            vars(self.kept_open.pop()).pop("close", None)


_output = _Output()


@contextmanager
def output_on_stderr() -> Iterator[None]:
    """Redirect what is printed within to stderr; stdout is for results only."""
    with _output.lock:
        if _output.depth == 0:
            _output.keep_open()
            _output.streams = sys.stdout, sys.stderr
            sys.stdout = sys.stderr
        _output.depth += 1
    try:
        yield
    finally:
        with _output.lock:
            _output.depth -= 1
            if _output.depth == 0:
                sys.stdout, sys.stderr = _output.streams  # users' code may have replaced them
                _output.release()


@contextmanager
def output_of_caller() -> Iterator[None]:
    """Undo `output_on_stderr` within: the output of a caller's callback goes to the caller's stdout."""
    with _output.lock:
        is_within = _output.depth > 0
        if is_within:
            if _output.callbacks == 0:
                _output.redirected = sys.stdout, sys.stderr
                sys.stdout, sys.stderr = _output.streams
            _output.callbacks += 1
    try:
        yield
    finally:
        with _output.lock:
            if is_within:
                _output.callbacks -= 1
                if _output.callbacks == 0:
                    sys.stdout, sys.stderr = _output.redirected
