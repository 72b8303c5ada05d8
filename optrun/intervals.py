"""The option `interval`: whether a schedule counts steps or epochs, by default as the enclosing schedule does."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from optrun.registry import Option

INTERVAL = Option(
    "interval",
    Annotated[Literal["step", "epoch"] | None, "what t counts; by default the enclosing schedule's, or step"],
    None,
)


def interval_within(options: Mapping[str, Any], enclosing: str) -> tuple[str, str]:
    """Return what a schedule counts within an enclosing one, and what is wrong with that; empty if nothing is."""
    own = options.get(INTERVAL.name) or enclosing
    wrong = (own, enclosing) == ("step", "epoch")
    return own, "must be 'epoch', as the schedule around it counts" if wrong else ""


def without_default(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without an interval of None, that of the enclosing schedule."""
    return {name: value for name, value in options.items() if (name, value) != (INTERVAL.name, None)}
