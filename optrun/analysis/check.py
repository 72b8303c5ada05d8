"""What a check found: whether runs are as good as a baseline or a target, cell by cell."""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from optrun.analysis.best_settings import ComparedSweep, Entry
from optrun.analysis.selection import COMPOSED, PARTS, Cell, varying_part
from optrun.analysis.statistics import median
from optrun.errors import ConfigError, counted

Outcome = Literal["ok", "worse", "missed", "missing", "new"]
"""missed: the target; missing: there is no result; new: the baseline has none, so that nothing is checked."""

FAILING: tuple[Outcome, ...] = ("worse", "missed", "missing")

NO_RESULT = "no run has a result"
SIGNED_RANK = "signed-rank test"


@dataclass(frozen=True)
class CheckLine:
    """A problem and a value of what is compared, or a single run, and how it was judged."""

    problem: str
    value: str
    """Of what is compared; empty where nothing is."""
    outcome: Outcome
    baseline: float | None
    """The metric of the baseline, as the median over seeds in common; None where it is not finite."""
    result: float | None
    """The same of what is checked; beside a target, over all seeds, and with a level the mean."""
    difference: float | None
    """The median of the differences of equal seeds, or that of the result to the target."""
    n: int
    """The number of seeds that were judged."""
    p: float | None = None
    """The p-value of the test; None without a test."""
    test: str = ""
    """Its name."""
    note: str = ""

    @property
    def name(self) -> str:
        """The problem and the value."""
        return " ".join(part for part in (self.problem, self.value) if part)

    @classmethod
    def missing(
        cls, cell: Cell, note: str, baseline: float | None = None, result: float | None = None, n: int = 0
    ) -> "CheckLine":
        """Return the line of a cell that lacks results."""
        return cls(cell.problem, cell.value, "missing", baseline, result, None, n, note=note)


@dataclass(frozen=True)
class Check:
    """Whether a check has passed, and a line for each cell."""

    metric: str
    goal: str
    by: str
    """The path whose values have a line each; empty if the best setting of each problem has one."""
    lines: Sequence[CheckLine]
    verdict: str
    baseline: str | None = None
    tolerance: str | None = None
    target: float | None = None
    sigma: float | None = None
    p: float | None = None
    """The level of the test."""

    @property
    def passed(self) -> bool:
        """Whether no line fails."""
        return not any(line.outcome in FAILING for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"passed": self.passed, **asdict(self)}

    def counted(self, *outcomes: Outcome) -> str:
        """Return in how many of the cells that were checked there was an outcome; empty for a single run."""
        if not any(line.name for line in self.lines):
            return ""
        checked = [line for line in self.lines if line.outcome != "new"]
        number = sum(line.outcome in outcomes for line in checked)
        return f" in {number or 'any'} of {counted(len(checked), 'cell')}"

    def has(self, outcome: Outcome) -> bool:
        """Whether a line has an outcome."""
        return any(line.outcome == outcome for line in self.lines)


def check_level(p: float | None) -> None:
    """Raise ConfigError if the level of a test is no probability."""
    if p is not None and not 0 < p < 1:
        raise ConfigError(f"p {p:g}: it is a probability between 0 and 1, such as 0.05")


def by_problem(lines: Sequence[CheckLine]) -> list[CheckLine]:
    """Return the lines with those of each problem together."""
    problems = list(dict.fromkeys(line.problem for line in lines))
    return sorted(lines, key=lambda line: problems.index(line.problem))


def middle(entry: Entry, seeds: Collection[int]) -> float | None:
    """Return the median of the metric over seeds; None if it is not finite."""
    value = float(median(np.asarray([entry.costs[seed] for seed in seeds]))) if seeds else math.inf
    return entry.sign * value if math.isfinite(value) else None


def check_by(sources: Sequence[ComparedSweep]) -> str:
    """Return what is checked apart if nothing is said: the optimizers or else the schedulers that a sweep compares."""
    vary = {varying_part(source.configs) for source in sources}
    return next((part for part in (COMPOSED, *PARTS) if part in vary), "")
