"""A test case of a CI report."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Case:
    """One run, setting or file, and its outcome."""

    name: str
    group: str
    outcome: str = "ok"
    """The outcome in a few words; the type of the problem, if there is one."""

    problem: Literal["failure", "error", "skipped"] | None = None
    """failure: a bad result, error: no result, skipped: not executed."""

    messages: list[str] = field(default_factory=list)
    metrics: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
