"""What a swept parameter may be: a list of values, a spacing of numbers, or a distribution to draw from."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Any, TypeAlias

from pydantic import PlainValidator, WithJsonSchema

from optrun.checks.messages import failure, shown, unknown_key
from optrun.checks.scalars import as_range
from optrun.config.model.options import Found
from optrun.config.yaml.tree import Path
from optrun.errors import counted
from optrun.registry import Option

MAX_VALUES = 1_000_000

MAX_END = 1e15
"""Of what is drawn between two ends: integers up to here are exact, and no difference overflows."""

LEAST_WEIGHT = 1e-6
"""Of a normal distribution, between its bounds: of less there are too few floats."""

_CALL = re.compile(r"\s*(?:np\.|numpy\.|tune\.|hp\.)?(\w+)\s*\((.*)\)\s*", re.DOTALL)
"""What people from elsewhere write: a function with its arguments."""

_NUMBER, _WHOLE = Option("number", float, 0.0), Option("number", int, 0)

VALUES = "values"
SPACED = ("linspace", "logspace", "range")
DRAWN = ("uniform", "loguniform", "int", "logint", "choice", "normal")


@dataclass(frozen=True)
class Axis:
    """The values of one parameter: listed (`values`), spaced, or drawn."""

    kind: str
    arguments: tuple[Any, ...]

    @property
    def drawn(self) -> bool:
        """Whether its values are drawn, so that there is no grid of them."""
        return self.kind in DRAWN

    @property
    def spaced(self) -> bool:
        """Whether its values are numbers in their order."""
        return self.kind in SPACED

    @property
    def size(self) -> int:
        """How many values there are to choose from, of an axis that is no distribution of numbers."""
        if self.kind == "range":
            return len(range(*self.arguments))
        return len(self.arguments) if self.kind in (VALUES, "choice") else int(self.arguments[2])


def _axis(value: Any) -> Axis:
    if isinstance(value, list):
        return Axis(VALUES, listed(value, ()))
    if written := as_written(value):
        raise failure(((), f"is written {written}"))
    if not isinstance(value, dict):
        raise failure(
            ((), f"must be a list of values, or such as {{logspace: [1e-4, 1, 5]}} (got {shown(value)})")
        )
    if "values" in value:
        listed_values = value["values"] if isinstance(value["values"], list) else [value["values"]]
        raise failure(((), f"a list stands by itself: {shown(listed_values)}"))
    if {"min", "max"} <= value.keys():
        ends = f"[{shown(value['min'])}, {shown(value['max'])}]"
        raise failure(
            (
                (),
                f"is written {{uniform: {ends}}} or {{loguniform: {ends}}}, or spaced {{linspace: {ends[:-1]}, 5]}}",
            )
        )
    if len(value) != 1:
        raise failure(((), f"must have one of {', '.join((*SPACED, *DRAWN))} as its only key"))
    ((kind, arguments),) = value.items()
    if kind not in _CHECKS:
        raise failure(((kind,), unknown_key(list(_CHECKS))))
    if not isinstance(arguments, list):
        raise failure(((kind,), f"must be a list: {_FORMS[kind]} (got {shown(arguments)})"))
    return Axis(kind, _CHECKS[kind](arguments, (kind,)))


def as_written(value: Any) -> str:
    """Return how values are written that are given as a call, `range(3)`, or as `0..3`; nothing for all else."""
    if isinstance(value, str) and (spaced := as_range(value)):
        return spaced
    called = _CALL.fullmatch(value) if isinstance(value, str) else None
    kind = _KINDS.get(called[1].lower()) if called else None
    if called is None or kind is None:
        return ""
    inner = called[2].strip().removeprefix("[").removesuffix("]")
    start = "0, " if kind == "range" and "," not in inner else ""
    return f"{{{kind}: [{start}{inner}]}}"


def listed(values: list[Any], path: Path) -> tuple[Any, ...]:
    """Return the values of a list, of which there must be some, each once."""
    if not values:
        raise failure((path, "is empty: a parameter needs values"))
    seen: set[str] = set()
    for i, value in enumerate(values):
        if repr(value) in seen:
            raise failure(((*path, i), f"{shown(value)} is listed twice"))
        seen.add(repr(value))
    return tuple(values)


def _numbers(values: list[Any], path: Path, counts: tuple[int, ...], whole: bool = False) -> tuple[Any, ...]:
    if len(values) not in counts:
        raise failure((path, f"must be {_FORMS[str(path[-1])]} (got {counted(len(values), 'value')})"))
    found, numbers = Found(), []
    for i, value in enumerate(values):
        with found.at(*path, i):
            numbers.append((_WHOLE if whole else _NUMBER).validated(value))
    found.check()
    return tuple(numbers)


def _spacing(values: list[Any], path: Path) -> tuple[Any, ...]:
    first, last, count = _numbers(values, path, (3,))
    if count != int(count) or count < 1:
        raise failure(((*path, 2), f"must be a number of values, 1 or more (got {shown(values[2])})"))
    if count > MAX_VALUES:
        raise failure(((*path, 2), f"more than {MAX_VALUES:,} values"))
    if path[-1] == "logspace":
        _positive((first, last), path)
    if count > 1 and first == last:
        raise failure(((*path, 1), f"{count:.0f} values from {first:g} to {last:g} are all the same"))
    return first, last, int(count)


def _range(values: list[Any], path: Path) -> tuple[Any, ...]:
    arguments = _numbers(values, path, (2, 3), whole=True)
    if len(arguments) == 3 and arguments[2] == 0:
        raise failure(((*path, 2), "a step of 0 leads nowhere"))
    _within(arguments, path, MAX_END)
    count = len(range(*arguments))
    if not 1 <= count <= MAX_VALUES:
        raise failure(
            (path, f"more than {MAX_VALUES:,} values" if count else "has no values: stop is left out")
        )
    return arguments


def _low_high(values: list[Any], path: Path) -> tuple[Any, ...]:
    kind = str(path[-1])
    low, high = _numbers(values, path, (2,), whole=kind in ("int", "logint"))
    _within((low, high), path, 1e300 if kind == "loguniform" else MAX_END)
    if kind in ("loguniform", "logint"):
        _positive((low, high), path)
    if not low < high:
        raise failure(((*path, 1), f"must be > {shown(low)}, where it begins (got {shown(high)})"))
    return low, high


def _within(values: Sequence[float], path: Path, most: float) -> None:
    for i, value in enumerate(values):
        if abs(value) > most:
            raise failure(((*path, i), f"must be within ±{most:.0e} (got {shown(value)})"))


def _positive(ends: tuple[float, float], path: Path) -> None:
    for i, end in enumerate(ends):
        if end <= 0:
            raise failure(
                ((*path, i), f"must be > 0 (got {shown(end)}): the ends are values, and 0 has no logarithm")
            )


def _normal(values: list[Any], path: Path) -> tuple[Any, ...]:
    mean, deviation, *ends = _numbers(values, path, (2, 4))
    if deviation <= 0:
        raise failure(((*path, 1), f"must be > 0 (got {shown(deviation)})"))
    if ends:
        low, high = ends
        if not low < high:
            raise failure(((*path, 3), f"must be > {shown(low)}, the least value (got {shown(high)})"))
        below = NormalDist(mean, deviation).cdf
        if below(high) - below(low) < LEAST_WEIGHT:
            raise failure(((*path, 2), f"hardly any value lies between {shown(low)} and {shown(high)}"))
    return mean, deviation, *ends


_FORMS = {
    "linspace": "[first, last, count]",
    "logspace": "[first, last, count]",
    "range": "[start, stop] or [start, stop, step]",
    "uniform": "[low, high]",
    "loguniform": "[low, high]",
    "int": "[low, high]",
    "logint": "[low, high]",
    "choice": "[value, …]",
    "normal": "[mean, deviation] without bounds, or [mean, deviation, least, largest]",
}
_KINDS = {name: name for name in _FORMS} | {
    "arange": "range",
    "geomspace": "logspace",
    "log_uniform": "loguniform",
    "randint": "int",
    "lograndint": "logint",
    "randn": "normal",
}
_CHECKS: dict[str, Callable[[list[Any], Path], tuple[Any, ...]]] = {
    "linspace": _spacing,
    "logspace": _spacing,
    "range": _range,
    "uniform": _low_high,
    "loguniform": _low_high,
    "int": _low_high,
    "logint": _low_high,
    "choice": listed,
    "normal": _normal,
}

_ANY_LIST = {"type": "array", "minItems": 1}
_LENGTHS = {"linspace": (3, 3), "logspace": (3, 3), "range": (2, 3), "normal": (2, 4)}
AXIS_SCHEMA = {
    "anyOf": [
        _ANY_LIST,
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
            "properties": {
                kind: {
                    "description": form,
                    **_ANY_LIST,
                    **(
                        {}
                        if kind == "choice"
                        else {
                            "items": {"type": "number"},
                            "minItems": _LENGTHS.get(kind, (2, 2))[0],
                            "maxItems": _LENGTHS.get(kind, (2, 2))[1],
                        }
                    ),
                }
                for kind, form in _FORMS.items()
            },
        },
    ]
}

AxisOf: TypeAlias = Annotated[Axis, PlainValidator(_axis), WithJsonSchema(AXIS_SCHEMA)]
"""In a model: what a parameter is swept over."""
