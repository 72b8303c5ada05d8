"""What a run is expected to reach, and what of it was missed."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ValidationError, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from optrun.checks.messages import conflict, failure, in_words, unknown_key
from optrun.config.model.options import SWEEP, Section
from optrun.config.yaml.tree import Path
from optrun.errors import did_you_mean, nearest

_MEASURED = ("train_loss", "val_loss", "test_loss", "train_accuracy", "val_accuracy", "test_accuracy")
FIGURES = ("final_loss", *_MEASURED, "average_loss", *(f"average_{name}" for name in _MEASURED))
"""What shipped problems measure at the end of a run; a plug-in's may measure more."""

_SLIP = 0.9  # so near to a known figure that it is one misspelt; `valid_loss` and `test_auc` are not


class Bounds(Section):
    """The lowest and the highest value that a figure may have at the end of a run."""

    min: Annotated[float | None, "the lowest value"] = None
    max: Annotated[float | None, "the highest value"] = None

    @model_validator(mode="after")
    def _possible(self) -> "Bounds":
        if self.min is None and self.max is None:
            raise failure(((), "expects nothing: give min, max or both"))
        if self.min is not None and self.max is not None and self.min > self.max:
            low, high = f"{self.min:g}", f"{self.max:g}"
            above = f"must be ≥ min, which is {low} (got {high})"
            raise failure((("max",), conflict(above, "min", f"must be ≤ max, which is {high} (got {low})")))
        return self


def _named(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    if value is None:
        return {}
    problems: list[tuple[Path, Any]] = []
    if isinstance(value, dict) and SWEEP in value:
        problems.append(((SWEEP,), "is judged over all runs of a sweep: optrun sweep"))
        value = {name: bounds for name, bounds in value.items() if name != SWEEP}
    names = value if isinstance(value, dict) else ()
    problems += [((name,), unknown_key(meant)) for name in names if (meant := _misspelt(name))]
    try:
        checked = handler(value)
    except ValidationError as error:
        problems += [(each["loc"], in_words(each, ())) for each in error.errors(include_url=False)]
    if problems:
        raise failure(*problems)
    return checked


def _misspelt(name: str) -> list[str]:
    if name == "loss":
        return ["final_loss"]  # what is called loss is a curve; its last value is on a batch
    return list(FIGURES) if name not in FIGURES and nearest(name, FIGURES, cutoff=_SLIP) else []


Expectations = Annotated[
    dict[str, Bounds], WrapValidator(_named, json_schema_input_type=dict[str, Bounds] | None)
]


Bound: TypeAlias = Literal["min", "max"]
_BOUNDS: tuple[Bound, Bound] = ("min", "max")


@dataclass(frozen=True, slots=True)
class Unmet:
    """A bound that a run has missed."""

    name: str
    bound: Bound
    limit: float
    value: float | None
    """What was measured; None where it is not finite or was not measured."""

    reason: str

    @property
    def path(self) -> tuple[str, str, str]:
        """Where the bound is in the config."""
        return ("expect", self.name, self.bound)


def unmet(expected: Mapping[str, Bounds], summary: Mapping[str, float | None]) -> list[Unmet]:
    """Return every bound that a run's summary misses; what is missing or not finite (None) misses all of its."""
    return [
        Unmet(name, bound, limit, summary.get(name), reason)
        for name, bounds in expected.items()
        for bound in _BOUNDS
        if (limit := getattr(bounds, bound)) is not None and (reason := _missed(name, bound, limit, summary))
    ]


def _missed(name: str, bound: Bound, limit: float, summary: Mapping[str, float | None]) -> str:
    value = summary.get(name)
    wanted = f"the {bound}imum {_shown(limit)}"
    if name not in summary:
        known, near = ", ".join(summary) or "nothing", did_you_mean(name, summary)
        return f"was not measured, {wanted} is expected; the run measured {known}{near and '.' + near}"
    if value is None or not isfinite(value):
        return f"is not finite, {wanted} is expected"
    if bound == "min":
        return "" if value >= limit else f"{_shown(value, limit)} is below {wanted}"
    return "" if value <= limit else f"{_shown(value, limit)} is above {wanted}"


def _shown(value: float, beside: float | None = None) -> str:
    """Return a number in six digits, or in all where it would look like the one beside it."""
    short = f"{value:.6g}"
    return short if beside is None or short != f"{beside:.6g}" else repr(value)
