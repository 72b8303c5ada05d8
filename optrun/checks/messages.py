"""What is wrong with a value, in words that someone can act on: pydantic's errors, and errors of one's own."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from optrun.checks.scalars import Path, hint
from optrun.errors import brief, counted, nearest

TAG = "\0"
"""With this begins what stands for a member of a union in a place: no key holds U+0000."""

UNKNOWN_KEY = "unknown_key"
UNION = "union"
CONFLICT = "conflict"

_MUST: dict[str, tuple[str, type]] = {
    "float_type": ("must be a number", float),
    "int_type": ("must be an integer", int),
    "bool_type": ("must be true or false", bool),
    "string_type": ("must be a string", str),
    "list_type": ("must be a list", list),
    "model_type": ("must be a mapping", dict),
    "dict_type": ("must be a mapping", dict),
    "finite_number": ("must be finite", float),
}
_BOUNDS = {
    "greater_than": ("gt", ">"),
    "greater_than_equal": ("ge", "≥"),
    "less_than": ("lt", "<"),
    "less_than_equal": ("le", "≤"),
}


MISSING = PydanticCustomError("missing", "missing")


def failure(*problems: tuple[Path, str | PydanticCustomError]) -> ValidationError:
    """Return the error that says these things at these places."""
    return _error(((path, _said(what) if isinstance(what, str) else what, None) for path, what in problems))


def unknown_key(known: Sequence[str]) -> PydanticCustomError:
    """Return what is wrong with a key that is none of the known ones."""
    return PydanticCustomError(UNKNOWN_KEY, "unknown key", {"known": list(known)})


def conflict(said: str, other: str, instead: str) -> PydanticCustomError:
    """Return what is wrong with a key beside another one, and what of that one where it was written later."""
    return PydanticCustomError(CONFLICT, "{said}", {"said": said, "other": other, "instead": instead})


def explained(
    error: ValidationError,
    known: Sequence[str] = (),
    beside: Sequence[tuple[Path, PydanticCustomError]] = (),
) -> ValidationError:
    """Return the same errors in words; `known` are the keys of the model, `beside` is what else is wrong."""
    details = [
        (untagged(each["loc"]), in_words(each, known), each["input"])
        for each in error.errors(include_url=False)
    ]
    return _error([*details, *((path, what, None) for path, what in beside)])


def untagged(path: Path) -> Path:
    """Return a place without what pydantic adds to it for the member of a union."""
    return tuple(step for step in path if not (isinstance(step, str) and step.startswith(TAG)))


def message(error: ErrorDetails) -> str:
    """Return what one of pydantic's errors says, in words."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == UNION:
        return f"{error['msg']} (got {shown(value)})"
    if kind in _BOUNDS:
        name, sign = _BOUNDS[kind]
        return f"must be {sign} {_bound(context[name])} (got {shown(value)})"
    if kind == "multiple_of":
        return f"must be a multiple of {context['multiple_of']} (got {shown(value)})"
    if kind in _MUST:
        return _wrong_type(kind, value)
    if kind == "literal_error":
        return not_one_of([word.strip("'") for word in re.split(", | or ", context["expected"])], value)
    if kind == "too_short":
        return f"must have at least {counted(context['min_length'], 'item')} (got {context['actual_length']})"
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "value_error":
        return str(context["error"])
    return error["msg"]


def not_one_of(words: Sequence[str], value: Any) -> str:
    """Return what is wrong with a value that is none of these words."""
    near = nearest(value, words) if isinstance(value, str) else None
    hint = "" if near is None else f". Did you mean {near!r}?"
    return f"must be {' or '.join(map(repr, words))} (got {shown(value)}){hint}"


def shown(value: Any) -> str:
    """Return a value as a message shows it: short, and as YAML writes it."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        text = f"[{', '.join(map(shown, value))}]"
        return "a list" if len(text) > 40 else text
    if isinstance(value, float):
        # NumPy's float64 is one; its other types are none of Python's, and may be the mistake.
        value = float(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    return brief(value)


def _wrong_type(kind: str, value: Any) -> str:
    is_integer = kind == "float_type" and type(value) is int  # so large that there is no float of it
    must, wanted = _MUST["finite_number" if is_integer else kind]
    text = f"{must} (got {shown(value)})"
    if isinstance(value, str) and wanted in (int, float, bool):
        return text + hint(value, wanted)
    if wanted is list and isinstance(value, (int, float, str)):
        return f"{text}; a list is written [{value}]"
    if wanted in (int, float) and _are_numbers(value):
        return f"{text}; to try several, list them under sweep.parameters, or write 1e-3,1e-2 in a sweep"
    if wanted is str and isinstance(value, (bool, int, float)):
        return f"{text}; put it in quotes"
    if value is None and wanted in (list, dict):
        return f"{text}; leave the key out, or write {'[] for an empty one' if wanted is list else '{}'}"
    if value is None:
        return f"{text}; leave the key out, or write its default"
    return text


def of_seeds(text: str) -> str:
    """Return what is wrong with a seed, where it is several of them."""
    said, several, _ = text.partition("; to ")
    return (
        f"{said}; to have several, give a sweep repeats: 4, or seed=0,1,2 to its command" if several else text
    )


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, (int, float)) for each in value)


def in_words(error: ErrorDetails, known: Sequence[str] = ()) -> PydanticCustomError:
    """Return one of pydantic's errors in words; `known` are the keys of its mapping."""
    if error["type"] == "extra_forbidden":
        return unknown_key(known)
    if error["type"] == UNKNOWN_KEY:
        return unknown_key(error["ctx"]["known"])
    if error["type"] == CONFLICT:
        return conflict(**error["ctx"])
    return MISSING if error["type"] == "missing" else _said(message(error))


def _said(text: str) -> PydanticCustomError:
    return PydanticCustomError("config", text)


def _error(details: Iterable[tuple[Path, PydanticCustomError, Any]]) -> ValidationError:
    lines = [InitErrorDetails(type=kind, loc=loc, input=value) for loc, kind, value in details]
    return ValidationError.from_exception_data("config", lines)


def _bound(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)
