"""What a plain scalar means: the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema).

`1e-3` is a float, `010` is ten, and `no`, `on`, `1_000`, `1:30` and dates are strings.
"""

import math
import re
from typing import TypeAlias

from optrun.errors import ConfigError

Scalar: TypeAlias = bool | int | float | str | None
Path: TypeAlias = tuple[str | int, ...]
"""Where a value is in a config."""

NULL = re.compile(r"(?:null|Null|NULL|~|)\Z")
BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
INT = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
FLOAT = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)

NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\Z")
COMMA = re.compile(r"[-+]?[0-9]*,[0-9]+(?:[eE][-+]?[0-9]+)?")
THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2}(?:,[0-9]{3})+")

MAX_WHOLE = 2**63 - 1
MAX_INT = 10**20
MAX_DIGITS = 100

_OLD_BOOL = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def resolve(text: str) -> Scalar:
    """Return the value that a plain (unquoted, untagged) scalar stands for.

    Raises ConfigError for a number that no computation here could use.
    """
    if NULL.match(text):
        return None
    if BOOL.match(text):
        return text.lower() == "true"
    if INT.match(text):
        return _int(text)
    if FLOAT.match(text):
        return _float(text)
    return text


def with_point(text: str, wanted: type = float) -> str:
    """Return how a number is written that was given with a comma, or nothing for what is no such number."""
    forms = [text.replace(",", "")] if THOUSANDS.fullmatch(text) else []
    forms += [text.replace(",", ".")] if COMMA.fullmatch(text) else []
    return " or ".join(form for form in forms if wanted is float or INT.match(form))


def as_range(text: str) -> str:
    """Return how a sweep writes the values of `0..3`, ends included, or nothing for what is no such range."""
    first, dots, last = text.partition("..")
    ends = [end.strip() for end in (first, last.removeprefix("."))]
    if not dots or not all(map(NUMBER.match, ends)) or float(ends[0]) >= float(ends[1]):
        return ""
    if all(end.lstrip("+-").isdecimal() for end in ends):
        return f"{{range: [{ends[0]}, {int(ends[1]) + 1}]}}"
    low, high = map(float, ends)
    return f"{{{'logspace' if 0 < 10 * low <= high else 'linspace'}: [{', '.join(ends)}, 5]}}"


def hint(text: str, wanted: type) -> str:
    """Return what to write instead of a string that was meant as a number or a truth value, or nothing."""
    if wanted is not bool and (number := with_point(text, wanted)):
        return f"; a number has a decimal point and no other mark: write {number}"
    if wanted is not bool and (values := as_range(text)):
        return f"; to sweep over values write {values} under sweep.parameters"
    plain = _OLD_BOOL.get(text.lower(), text) if wanted is bool else text.strip().replace("_", "")
    try:
        value = resolve(plain)
    except ConfigError:
        return ""
    if value is None or isinstance(value, str) or isinstance(value, bool) is not (wanted is bool):
        return ""
    return f"; {text!r} is a string here: " + ("remove the quotes" if plain == text else f"write {plain}")


def _int(text: str) -> int:
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    if len(text) > MAX_DIGITS or abs(value := int(text, base)) > MAX_INT:
        raise ConfigError(f"the integer {_short(text)} is too large")
    return value


def _float(text: str) -> float:
    if len(text) > MAX_DIGITS:
        raise ConfigError(f"the number {_short(text)} is too long")
    value = float(re.sub(r"\.(?=[a-zA-Z])", "", text))  # .inf and .nan have no dot in Python
    if math.isinf(value) and "inf" not in text.lower():
        raise ConfigError(f"the number {_short(text)} is too large for a float")
    return value


def _short(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:20]}… ({len(text)} characters)"
