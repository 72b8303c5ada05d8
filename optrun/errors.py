"""The exceptions that optrun raises on purpose; each is also the built-in that a Python user would expect.

OptrunError
├── ConfigError (ValueError)             a config, an override or a hyperparameter that cannot be used
│   └── UnknownNameError (LookupError)   a name that nothing is registered under
├── StateError (ValueError)              a state_dict or a checkpoint that does not fit
│   └── ChangedError                     data or code that are not those with which results were begun
├── StoreError (OSError)                 a run directory that cannot be created, read or trusted
├── RunFailedError (RuntimeError)        a run ended by an exception of a problem, an optimizer or a scheduler
├── OutOfMemoryError (MemoryError)       something that takes more memory than there is
├── MissingExtraError (ImportError)      an optional dependency that is not installed
└── PluginError (ImportError)            a plugin that cannot be imported or used

OptrunWarning (RuntimeWarning) is what optrun warns of and goes on without; the command prints it as a note.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any


class OptrunError(Exception):
    """Base of every error that optrun raises on purpose."""


class ConfigError(OptrunError, ValueError):
    """A config, an override or a hyperparameter that cannot be used; ``field`` is the option to blame."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class UnknownNameError(ConfigError, LookupError):
    """A name that nothing is registered under."""


class StateError(OptrunError, ValueError):
    """A state_dict or a checkpoint that does not fit what it is loaded into."""


class ChangedError(StateError):
    """Data or code that are not those with which results were begun."""


class StoreError(OptrunError, OSError):
    """A run directory that cannot be created, read or trusted."""


class RunFailedError(OptrunError, RuntimeError):
    """A run that its problem, optimizer or scheduler ended by an exception, which is the cause of this one.

    ``traceback`` is the text of that exception's traceback.
    """

    def __init__(self, message: str, *, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class OutOfMemoryError(OptrunError, MemoryError):
    """Something that takes more memory than there is, refused before it is made; ``field`` is the section to blame."""

    field = "problem"


class MissingExtraError(OptrunError, ImportError):
    """An optional dependency that is not installed; the message is the command that installs it."""


class PluginError(OptrunError, ImportError):
    """A plugin that cannot be imported, or whose classes are not what they are registered as."""


class OptrunWarning(RuntimeWarning):
    """What optrun can go on without, and says once."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known word, or nothing where none is near."""
    near = nearest(word, known)
    return "" if near is None else f" Did you mean {near!r}?"


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known word that someone who wrote this one most likely meant, or None where none is near."""
    by_fold = {fold(name): name for name in known}
    folded = fold(word)[:100]
    # Swapped letters are the commonest slip, and the one that difflib rates lowest in short words.
    swapped = [name for name in by_fold if sorted(name) == sorted(folded)]
    matches = swapped or get_close_matches(folded, by_fold, n=1, cutoff=cutoff)
    return by_fold[matches[0]] if matches else None


def texts(name: str, given: Any) -> Sequence[str]:
    """Return an argument that is a list of strings; ConfigError for anything else, such as a single string."""
    if isinstance(given, str):
        raise ConfigError(f"{name} are a list of strings: [{given!r}]", field=name)
    if not isinstance(given, Sequence) or not all(isinstance(each, str) for each in given):
        raise ConfigError(f"{name} are a list of strings, not {given!r}", field=name)
    return given


def counted(count: int, what: str) -> str:
    """Return how many of something there are."""
    return f"{count:,} {what}{'' if count == 1 else 'es' if what.endswith('s') else 's'}"


def brief(value: Any) -> str:
    """Return a value as Python writes it, without what makes it too long for a message."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of thousands of digits
        return "a number that is too long to be shown"
    return text if len(text) <= 60 else f"{text[:50]}…"


def printable(text: str) -> str:
    """Return a text of one line that no terminal takes for a command."""
    return "".join(character if character.isprintable() else "?" for character in text)


def printable_lines(text: str) -> str:
    """Return a text of several lines that no terminal takes for a command."""
    return "\n".join(map(printable, text.split("\n")))


def fold(name: str) -> str:
    """Return the form in which names are compared: without case, underscores and hyphens."""
    return name.replace("_", "").replace("-", "").lower()
