"""What a check found: whether runs are as good as a baseline or a target, cell by cell."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from optrun.analysis.best_settings import ComparedSweep, Entry
from optrun.analysis.selection import BY, Cell, common_labels, selections, value_at
from optrun.config.sweep.model import Metric

Outcome = Literal["ok", "worse", "missed", "missing", "new"]
"""missed: the target; missing: there is no result; new: the baseline has none, so that nothing is checked."""

FAILING: tuple[Outcome, ...] = ("worse", "missed", "missing")


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
    """The same of what is checked."""
    difference: float | None
    """The median of the differences of equal seeds."""
    n: int
    """The number of seeds that were judged."""
    p: float | None = None
    """The p-value of the test; None without a test."""
    note: str = ""

    @property
    def name(self) -> str:
        """The problem and the value."""
        return " ".join(part for part in (self.problem, self.value) if part)


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
    p: float | None = None
    """The level of the test."""

    @property
    def passed(self) -> bool:
        """Whether no line fails."""
        return not any(line.outcome in FAILING for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"passed": self.passed, **asdict(self)}


def check_by(sources: Sequence[ComparedSweep]) -> str:
    """Return what is checked apart if nothing is said: the optimizers or else the schedulers that a sweep compares."""
    for path in (BY, "scheduler.name"):
        if any(len({value_at(config, path) for config in source.configs}) > 1 for source in sources):
            return path
    return ""


def entries_of(sources: Sequence[ComparedSweep], metric: Metric, by: str) -> list[Mapping[Cell, Entry]]:
    """Return the best setting of each cell of each sweep; a cell without results is not among them."""
    labels = common_labels([source.configs for source in sources])
    return [
        {
            selected.cell: Entry(selected, source, metric)
            for selected in selections(source.plan, source.runs, by, problems=problems)
        }
        for source, problems in zip(sources, labels, strict=True)
    ]
