"""The exceptions that optrun raises on purpose; each also derives from the closest built-in exception.

OptrunError
├── ConfigError (ValueError)             an invalid config, override or hyperparameter
│   └── UnknownNameError (LookupError)   an unregistered name
├── StateError (ValueError)              a state_dict or a checkpoint that does not match its target
│   └── ChangedError                     data or code that have changed since the run began
├── StoreError (OSError)                 a run directory that cannot be created, read or trusted
├── RunFailedError (RuntimeError)        an exception in a problem, an optimizer or a scheduler ended the run
├── OutOfMemoryError (MemoryError)       an allocation larger than the available memory
├── MissingExtraError (ImportError)      a missing optional dependency
└── PluginError (ImportError)            a plugin that cannot be imported or used

OptrunWarning (RuntimeWarning) is the category of optrun's warnings; the command line prints them as notes.
"""

import shlex
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any


class OptrunError(Exception):
    """Base of every error that optrun raises on purpose."""


class ConfigError(OptrunError, ValueError):
    """An invalid config, override or hyperparameter; ``field`` is the dotted path of the invalid option."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class UnknownNameError(ConfigError, LookupError):
    """An unregistered name."""


class StateError(OptrunError, ValueError):
    """A state_dict or a checkpoint that does not match the object that loads it."""


class ChangedError(StateError):
    """Data or code that have changed since the run or sweep began."""


class StoreError(OptrunError, OSError):
    """A run directory that cannot be created, read or trusted."""


class RunFailedError(OptrunError, RuntimeError):
    """A run ended by an exception in its problem, optimizer or scheduler (the ``__cause__``).

    ``traceback`` is the formatted traceback of that exception; ``signal`` is the one that has ended it instead.
    """

    def __init__(self, message: str, *, traceback: str = "", signal: int | None = None) -> None:
        super().__init__(message)
        self.traceback, self.signal = traceback, signal


class OutOfMemoryError(OptrunError, MemoryError):
    """An allocation larger than the available memory, refused before it is tried; ``field`` is its config section."""

    field = "problem"


class MissingExtraError(OptrunError, ImportError):
    """A missing optional dependency; the message is the command that installs it."""


def install(*packages: str) -> str:
    """Return the command that installs packages beside optrun, with the interpreter as one types it from here."""
    python = Path(sys.executable or "python")
    with suppress(
        OSError, ValueError
    ):  # without a working directory, or where the interpreter is not below it
        python = python.relative_to(Path.cwd())
    return shlex.join([str(python), "-m", "pip", "install", *packages])


class PluginError(OptrunError, ImportError):
    """A plugin that cannot be imported, or that registers classes of the wrong kind."""


class OptrunWarning(RuntimeWarning):
    """A problem that does not stop optrun; shown once."""


SIMILAR = 0.6
"""The least ratio of similar words."""

_SYNONYMS = {"learningrate": "lr", "seeds": "repeats", "ema": "average", "swa": "average"}
"""Words of this program by what is written in their place, folded, and is similar to another word or to none."""


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = SIMILAR) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest known word, or an empty string if none is close."""
    near = nearest(word, known, cutoff=cutoff)
    return "" if near is None else f" Did you mean {near!r}?"


def nearest(word: str, known: Iterable[str], *, cutoff: float = SIMILAR) -> str | None:
    """Return the known word that is most similar to a mistyped or shortened one, or None if none is similar.

    A shortened one may begin a single name, or be a part of the first of several, as f1 is of f1_macro.
    """
    by_fold = {fold(name): name for name in known}
    folded = fold(word)[:100]
    if (same := _SYNONYMS.get(folded, "")) in by_fold:
        return by_fold[same]
    # Swapped letters are the most frequent typing error, and difflib rates them lowest in short words.
    swapped = [name for name in by_fold if sorted(name) == sorted(folded)]
    matches = swapped or get_close_matches(folded, by_fold, n=1, cutoff=cutoff)
    if not matches and cutoff <= SIMILAR and len(folded) > 2:
        begun = [name for name in by_fold if name.startswith(folded)]
        matches = begun if len(begun) == 1 else []
    if not matches:
        return next((name for name in by_fold.values() if word.lower() in name.split("_")), None)
    return by_fold[matches[0]]


def unreadable(path: Path, error: OSError, pattern: str) -> str:
    """Return why a file cannot be read, and which one beside it, of those of a pattern, may be meant."""
    reason = (error.strerror or str(error)).lower()
    beside = [str(other) for other in path.parent.glob(pattern)] if path.parent.is_dir() else []
    near = nearest(str(path), beside) if isinstance(error, FileNotFoundError) else None
    return reason if near is None else f"{reason}. Did you mean {near!r}?"


def string_list(name: str, given: Any) -> Sequence[str]:
    """Return an argument that must be a list of strings; ConfigError for anything else, such as a single string."""
    if isinstance(given, str):
        raise ConfigError(f"{name} must be a list of strings: [{given!r}]", field=name)
    if not isinstance(given, Sequence) or not all(isinstance(each, str) for each in given):
        raise ConfigError(f"{name} must be a list of strings, not {given!r}", field=name)
    return given


def counted(count: int, what: str) -> str:
    """Return a count with its noun, such as ``"1 run"`` or ``"2,000 runs"``."""
    if count != 1 and what.endswith("y") and what[-2:-1] not in "aeiou":
        return f"{count:,} {what[:-1]}ies"
    return f"{count:,} {what}{'' if count == 1 else 'es' if what.endswith('s') else 's'}"


def brief(value: Any) -> str:
    """Return the `repr` of a value, cut to 50 characters so that it fits in a message."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to format integers of thousands of digits
        return "a number that is too long to be shown"
    return text if len(text) <= 60 else f"{text[:50]}…"


def printable(text: str) -> str:
    """Return a line without control characters, which a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)


def printable_lines(text: str) -> str:
    """Return lines without control characters, which a terminal would obey."""
    return "\n".join(map(printable, text.split("\n")))


def fold(name: str) -> str:
    """Return a name in the form in which names are compared: lower case, no underscores, no hyphens."""
    return name.replace("_", "").replace("-", "").lower()
