"""Whether the best settings of a sweep, or a run, reach a target."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from optrun.analysis.best_settings import ComparedSweep, Entry, best_entries
from optrun.analysis.check import (
    NO_RESULT,
    SIGNED_RANK,
    Check,
    CheckLine,
    by_problem,
    check_by,
    check_level,
    middle,
)
from optrun.analysis.compare import reported_metric
from optrun.analysis.leaderboard import worst
from optrun.analysis.selection import cells_of
from optrun.analysis.statistics import wilcoxon_above
from optrun.errors import ConfigError, counted


def reaching(
    source: ComparedSweep,
    target: float,
    by: str | None = None,
    metric: str | None = None,
    p: float | None = None,
    sigma: float | None = None,
) -> Check:
    """Check that the best setting of every cell reaches a target.

        reached:  median of the metric over seeds ≤ target  (≥ where higher is better)

    or, with ``p``, if a one-sided test that the mean is better than the target has at most this p-value: Student's
    t-test; the signed-rank test without SciPy, or if all values are equal; or with ``sigma``, the known deviation of a
    run, the normal test

        z = (target - mean) √n / sigma,  p = P(N(0, 1) ≥ z)

    What diverged counts as worst, and a cell with a run that has no result is missing. Raises ConfigError if a name or
    a number is none that can be.
    """
    check_level(p)
    if not math.isfinite(target):
        raise ConfigError(f"target {target:g}: it is a finite number")
    if sigma is not None and (p is None or not (math.isfinite(sigma) and sigma > 0)):
        raise ConfigError(f"sigma {sigma:g}: it is a number > 0, and goes with p")
    reported, (source,) = reported_metric([source], metric)
    path = check_by([source]) if by is None else by
    (entries,) = best_entries([source], reported, path)
    lines = [
        _line(entries[cell], target, p, sigma) if cell in entries else CheckLine.missing(cell, NO_RESULT)
        for cell in dict.fromkeys(cells_of(source.plan, source.runs, path))
    ]
    found = Check(reported.name, reported.goal, path, by_problem(lines), "", target=target, sigma=sigma, p=p)
    return replace(found, verdict=_verdict(found))


def _line(entry: Entry, target: float, level: float | None, sigma: float | None) -> CheckLine:
    cell, costs = entry.selected.cell, list(entry.costs.values())
    if lost := len(entry.results[0]) - len(costs):
        note = f"{counted(lost, 'run')} without a result"
        return CheckLine.missing(cell, note, None, middle(entry, entry.costs), len(costs))
    diverged = sum(cost == math.inf for cost in costs)
    margins = [entry.sign * target - cost for cost in costs]
    tested, test = (None, "") if level is None or diverged else _test(margins, sigma)
    result = middle(entry, entry.costs)
    if level is not None:
        result = None if diverged else math.fsum(entry.sign * cost for cost in costs) / len(costs)
    difference = None if result is None else result - target
    if level is None:
        is_reached = difference is not None and entry.sign * difference <= 0
    else:
        is_reached = tested is not None and tested <= level
    return CheckLine(
        *(cell.problem, cell.value, "ok" if is_reached else "missed", None, result, difference, len(costs)),
        *(tested, test, f"{diverged} {worst(entry.metric.name)}" if diverged else ""),
    )


def _test(margins: Sequence[float], sigma: float | None) -> tuple[float, str]:
    """Return the p-value that the mean of margins is above 0, and the name of the test."""
    values = np.asarray(margins)
    scaled = float(values.mean()) * math.sqrt(len(values))
    if sigma is not None:
        return math.erfc(scaled / sigma / math.sqrt(2)) / 2, "normal test"
    if np.ptp(values) > 0:
        with suppress(ImportError):
            from scipy.special import stdtr

            return float(stdtr(len(values) - 1, -scaled / float(values.std(ddof=1)))), "t-test"
    return wilcoxon_above(margins), SIGNED_RANK


def _verdict(found: Check) -> str:
    what = f"the {'median' if found.p is None else 'mean'} of {found.metric}"
    if all(line.n <= 1 for line in found.lines):
        what = found.metric
    beyond = "" if found.p is None else f" beyond chance (p ≤ {found.p:g})"
    reached = f"the target {found.target:.10g}{beyond}"
    if found.passed:
        return f"passed: {what} reaches {reached}{found.counted('ok')}"
    told = [f"does not reach {reached}{found.counted('missed')}"] if found.has("missed") else []
    told += [f"is missing{found.counted('missing')}"] if found.has("missing") else []
    return f"failed: {what} {', and '.join(told)}"
