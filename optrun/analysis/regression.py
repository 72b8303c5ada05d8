"""Whether the best settings of a sweep, or a run, have become worse than those of a baseline."""

import math
from dataclasses import dataclass, replace

import numpy as np

from optrun.analysis.best_settings import ComparedSweep, Entry, best_entries
from optrun.analysis.check import (
    NO_RESULT,
    SIGNED_RANK,
    Check,
    CheckLine,
    Outcome,
    by_problem,
    check_by,
    check_level,
    middle,
)
from optrun.analysis.compare import reported_metric
from optrun.analysis.leaderboard import worst
from optrun.analysis.selection import Cell
from optrun.analysis.statistics import median, wilcoxon_above
from optrun.errors import ConfigError, counted

ROUNDING = 1e-12
"""A difference that is farther from a tolerance than this part of the values is no rounding error."""


@dataclass(frozen=True)
class Tolerance:
    """How much worse a value may be: so much, or such a part of the baseline's."""

    amount: float
    is_relative: bool = False

    @classmethod
    def of(cls, given: float | str) -> "Tolerance":
        """Return the tolerance of a number, or of a text such as `0.02` or `2%`; ConfigError for anything else."""
        text = str(given).strip()
        is_relative = text.endswith("%")
        try:
            amount = float(text.removesuffix("%"))
        except ValueError:
            amount = math.nan
        if not (math.isfinite(amount) and amount >= 0):
            raise ConfigError(
                f"tolerance {given!r}: it is a number ≥ 0 such as 0.02, or a percentage such as 2%"
            )
        return cls(amount / 100 if is_relative else amount, is_relative)

    def excess(self, cost: float, baseline: float) -> float:
        """Return by how much a cost exceeds that of the baseline and the tolerance; 0 where both are infinite."""
        if not (math.isfinite(cost) and math.isfinite(baseline)):
            return 0.0 if cost == baseline else cost - baseline
        excess = cost - baseline - (self.amount * abs(baseline) if self.is_relative else self.amount)
        is_equal = self.amount > 0 and abs(excess) <= ROUNDING * max(abs(cost), abs(baseline))
        return 0.0 if is_equal else excess

    def __str__(self) -> str:
        return f"{100 * self.amount:g}%" if self.is_relative else f"{self.amount:g}"


def regression(
    new: ComparedSweep,
    old: ComparedSweep,
    by: str | None = None,
    metric: str | None = None,
    tolerance: float | str = 0.0,
    p: float | None = None,
) -> Check:
    """Check that the best setting of no cell is worse than that of a baseline.

        worse:  median of eᵢ > 0,  eᵢ = costᵢ - baselineᵢ - tolerance over the seeds i that both have

    and, with ``p``, a p-value of the signed-rank test of e > 0 that is at most ``p``. A cell without a result, or with
    a seed of the baseline that has none, is missing. What diverged counts as worst. Raises ConfigError if metrics
    differ, a name is unknown, or a cell has too few seeds for ``p``.
    """
    check_level(p)
    reported, sources = reported_metric([old, new], metric)
    path = check_by(sources) if by is None else by
    allowed = Tolerance.of(tolerance)
    of_old, of_new = best_entries(sources, reported, path)
    lines = [_line(cell, entry, of_new.get(cell), allowed, p) for cell, entry in of_old.items()]
    lines += [_unknown(cell, entry) for cell, entry in of_new.items() if cell not in of_old]
    if not of_old:
        raise ConfigError(f"{old.label}: no run has a result")
    found = Check(
        *(reported.name, reported.goal, path, by_problem(lines), "", old.label),
        tolerance=str(allowed) if allowed.amount else None,
        p=p,
    )
    return replace(found, verdict=_verdict(found))


def _line(cell: Cell, old: Entry, new: Entry | None, allowed: Tolerance, level: float | None) -> CheckLine:
    if new is None:
        return CheckLine.missing(cell, NO_RESULT, middle(old, old.costs))
    seeds = [seed for seed in old.costs if seed in new.costs]
    lost = [run.seed for run in new.results[0] if run.seed in old.costs and run.seed not in new.costs]
    before, now = middle(old, seeds), middle(new, seeds)
    if lost or not seeds:
        note = f"{counted(len(lost), 'run')} without a result" if lost else "no seed in common"
        return CheckLine.missing(cell, note, before, now, len(seeds))
    pairs = [(new.costs[seed], old.costs[seed]) for seed in seeds]
    excess = [allowed.excess(*pair) for pair in pairs]
    tested = None if level is None else wilcoxon_above(excess)
    if level is not None and 0.5 ** len(seeds) > level:
        fewest = math.ceil(-math.log2(level))
        raise ConfigError(
            f"{cell.problem} {cell.value}".strip()
            + f": {counted(len(seeds), 'seed')} in common can never have "
            f"p ≤ {level:g}: give {fewest} seeds or more, or no p"
        )
    is_worse = float(median(np.asarray(excess))) > 0 and (tested is None or level is None or tested <= level)
    difference = new.sign * float(median(np.asarray([0.0 if a == b else a - b for a, b in pairs])))
    diverged = sum(a == math.inf and b != math.inf for a, b in pairs)
    return CheckLine(
        *(cell.problem, cell.value, "worse" if is_worse else "ok", before, now),
        difference if math.isfinite(difference) else None,
        len(seeds),
        tested,
        "" if tested is None else SIGNED_RANK,
        f"{diverged} newly {worst(new.metric.name)}" if diverged else "",
    )


def _unknown(cell: Cell, new: Entry) -> CheckLine:
    result = middle(new, new.costs)
    return CheckLine(
        *(cell.problem, cell.value, "new", None, result, None, len(new.costs)),
        note="the baseline has no result",
    )


def _verdict(found: Check) -> str:
    allowed = "" if found.tolerance is None else f" by more than {found.tolerance}"
    beyond = "" if found.p is None else f" beyond chance (p ≤ {found.p:g})"
    worse = f"worse than in {found.baseline}{allowed}{beyond}"
    if found.passed:
        return f"passed: {found.metric} is not {worse}{found.counted()}"
    outcomes: dict[Outcome, str] = {"worse": worse, "missing": "missing"}
    told = [f"{what}{found.counted(outcome)}" for outcome, what in outcomes.items() if found.has(outcome)]
    return f"failed: {found.metric} is {', and '.join(told)}"
