"""The border to users' code: what it raises becomes an error with its place, and what it prints goes to stderr.

Every call of a problem, an optimizer, a scheduler, an average or the import of a plugin is made within `guarded`, or
within the trainer's own guard, which goes around all steps of a pack. So whose error it is follows from where it was
raised and not from its type: a plugin may raise SystemExit, OSError or StoreError as well as ValueError.
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

MOST_TRACEBACK = 10_000
"""How many characters of a traceback are kept, the last ones: they have the line that raised."""
MOST_MESSAGE = 1_000
"""How many characters of an exception's message are kept."""

_OWN = os.path.dirname(__file__) + os.sep
PASSED = (ConfigError, MissingExtraError, PluginError, StateError, MemoryError)
"""What users' code may raise on purpose where it is built, and what is no fault of its own."""


@contextmanager
def guarded(
    name: str, owner: type | None = None, passed: tuple[type[BaseException], ...] = PASSED
) -> Iterator[None]:
    """Turn whatever users' code raises within into a PluginError with this name and its place; a real Ctrl-C passes.

    ``owner`` is the class to blame where no line of users' code has raised. What is printed goes to stderr.
    """
    with output_on_stderr(), _ctrl_c_told_apart():
        try:
            yield
        except passed:
            raise
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            raise PluginError(f"{name}: {reason_of(error, owner=owner)}") from error


def reason_of(error: BaseException, when: str = "", *, owner: type | None = None) -> str:
    """Return an exception in one line, with the place in users' code that raised it, and when it did."""
    if error.args == ("generator raised StopIteration",) and isinstance(error.__cause__, StopIteration):
        error = (
            error.__cause__
        )  # Python itself puts another one in its place, where a generator lets it through
    if isinstance(error, PluginError):  # it has its place
        said, place = _message(error), ""
    else:
        message = _message(error)
        said = type(error).__name__ + (f": {message}" if message else "")
        place = _place_of(error) or (definition_of(owner) if owner else "")
    where = ", ".join(each for each in (place, when) if each)
    return f"{said} ({where})" if where else said


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an exception and of its causes as text of limited size."""
    text = _storable("".join(traceback.format_exception(error)))
    return text if len(text) <= MOST_TRACEBACK else f"… {text[-MOST_TRACEBACK:]}"


def definition_of(owner: type | FunctionType) -> str:
    """Return where a class or a function of a user's is defined, as file:line; nothing where that is unknown."""
    try:
        file, (_, line) = getsourcefile(owner), getsourcelines(owner)
    except (OSError, TypeError):  # defined in a shell, say
        return ""
    return f"{file}:{line}" if file and not file.startswith(_OWN) else ""


def contract_error(function: Any, what: str) -> PluginError:
    """Return the error of a method of a user's class that does not do what the class above it promises."""
    place = definition_of(function)
    return PluginError(f"{function.__qualname__} {what}" + (f" ({place})" if place else ""))


def shape_text(value: Any) -> str:
    """Return what shape a value has, in words."""
    shape = getattr(value, "shape", None)
    return f"type {type(value).__name__}" if shape is None else f"shape {shape}"


def _place_of(error: BaseException) -> str:
    """Return the last line of users' code in a traceback as file:line: a library that it calls is not to blame."""
    elsewhere = (_OWN, "<frozen", *_libraries())
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(elsewhere)]
    return "".join(f"{frame.filename}:{frame.lineno}" for frame in own[-1:])


def _libraries() -> set[str]:
    import sysconfig

    return {sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def _message(error: BaseException) -> str:
    try:
        text = _storable(" ".join(str(error).split()))
    except Exception:
        return "its message cannot be printed"
    return text if len(text) <= MOST_MESSAGE else f"{text[:MOST_MESSAGE]} …"


def _storable(text: str) -> str:
    """Return a text that is valid Unicode, as a store demands."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class _CtrlC(KeyboardInterrupt):
    """A KeyboardInterrupt of a signal, which users' code has not raised itself."""


def is_ctrl_c(error: BaseException) -> bool:
    """Return whether an exception may be that of a real Ctrl-C: optrun's own handlers raise none but `_CtrlC`."""
    if isinstance(error, _CtrlC) or not isinstance(error, KeyboardInterrupt):
        return isinstance(error, _CtrlC)
    if threading.current_thread() is not threading.main_thread():
        return False
    handler = signal.getsignal(signal.SIGINT)
    return callable(handler) and not str(getattr(handler, "__module__", "")).startswith("optrun.")


def _raise_ctrl_c(number: int, frame: FrameType | None) -> None:
    raise _CtrlC


@contextmanager
def _ctrl_c_told_apart() -> Iterator[None]:
    """Have a Ctrl-C raise `_CtrlC` within, where Python's own handler would raise a KeyboardInterrupt."""
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
    """Python's own streams, of which stdout belongs to the results, while users' code runs in any thread."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = self.callbacks = 0
        self.streams: tuple[TextIO, TextIO] = sys.stdout, sys.stderr
        self.redirected: tuple[TextIO, TextIO] = sys.stdout, sys.stderr
        self.kept_open: list[object] = []

    def keep_open(self) -> None:
        """Have `close` of the process's own streams do nothing: they are not only the users' code's."""
        for stream in {sys.stdout, sys.stderr}:
            if "close" not in getattr(stream, "__dict__", {"close": None}):
                vars(stream)["close"] = lambda: None
                self.kept_open.append(stream)

    def let_go(self) -> None:
        """Undo `keep_open`."""
        while self.kept_open:
            vars(self.kept_open.pop()).pop("close", None)


_output = _Output()


@contextmanager
def output_on_stderr() -> Iterator[None]:
    """Have what is printed within go to stderr: stdout is for results alone."""
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
                sys.stdout, sys.stderr = _output.streams  # users' code may have put others there
                _output.let_go()


@contextmanager
def output_of_caller() -> Iterator[None]:
    """Undo `output_on_stderr` within: what a caller's own callback prints goes where the caller has stdout."""
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
