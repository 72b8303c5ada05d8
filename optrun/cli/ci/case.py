"""A case of a CI report: one run, or one file that was checked."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Case:
    """What was run or checked, and how it went."""

    name: str
    group: str
    outcome: str = "ok"
    """In a word; beside a problem, its kind."""

    problem: Literal["failure", "error", "skipped"] | None = None
    """Whether the result is bad, there is none, or none was asked for."""

    messages: list[str] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
