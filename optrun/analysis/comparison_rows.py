"""The rows of a comparison: the best setting of a value on a problem, over its seeds and beside the baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from optrun.analysis.best_settings import Entry
from optrun.analysis.comparison import ComparisonRow, Difference, ProblemTable
from optrun.analysis.statistics import (
    SIGNIFICANCE,
    IntervalEstimate,
    best_after,
    bootstrap,
    holm,
    interquartile_mean,
    median,
    signed_rank,
)
from optrun.analysis.untrained import untrained_of
from optrun.store import RunRecord, Status
from optrun.training.baselines import baselines_in

BUDGETS = (1, 4, 16, 64)
"""Numbers of trials after which the best value of a random search is told."""


def problem_table(problem: str, entries: Mapping[str, Entry], baseline: str) -> ProblemTable:
    """Return the table of a problem: a row for each value, the best first, beside the baseline."""
    first, of_baseline = next(iter(entries.values())), entries.get(baseline)
    rows = [
        _row(value, entry, None if value == baseline else of_baseline) for value, entry in entries.items()
    ]
    lists = [list(entry.costs.values()) for entry in entries.values() if not entry.is_one]
    deviations = [_deviation(costs) for costs in lists if len(costs) > 1 and np.isfinite(costs).all()]
    rows.sort(key=lambda row: math.inf if row.median is None else first.sign * row.median)
    noise = _finite(float(np.median(deviations))) if deviations else None
    known = [each for each in deviations if math.isfinite(each)]
    span = (min(known), max(known)) if known else None
    untrained = untrained_of(
        baselines_in(first.source.baselines, first.results[0][0].config), first.metric.name
    )
    return ProblemTable(problem, noise, rows, all(row.constant for row in rows), span, untrained)


def _deviation(costs: Sequence[float]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.std(costs, ddof=1))


def _row(value: str, entry: Entry, baseline: Entry | None) -> ComparisonRow:
    selected, costs, sign = entry.selected, entry.costs, entry.sign
    values = list(costs.values())
    middle = _signed(bootstrap(values, median), sign)
    runs, is_confirmed = entry.results
    config = runs[0].config
    return ComparisonRow(
        value,
        selected.standing.setting,
        len(costs),
        _finite(middle.value),
        _finite(sign * float(interquartile_mean(np.asarray(values)))),
        _finite(middle.low),
        _finite(middle.high),
        None if baseline is None else _difference(entry, baseline),
        None,
        sum(cost == math.inf for cost in values),
        entry.edge,
        len(selected.tried),
        is_confirmed,
        _after(entry),
        sum(run.status.final for run in runs) - len(costs),
        entry.pruned,
        entry.is_one,
        f"{config.get('epochs')} epochs" if config.get("epochs") else f"{config.get('steps')} steps",
        _steps(runs),
        is_tied=len(costs) > 1 and len(set(costs.values())) == 1,
    )


def _steps(runs: Sequence[RunRecord]) -> tuple[int, int] | None:
    gone = (Status.FAILED, Status.DIVERGED, Status.PRUNED)
    ended = [run.steps for run in runs if run.status.final and run.status not in gone]
    return (min(ended), max(ended)) if ended else None


def _difference(entry: Entry, baseline: Entry) -> Difference | None:
    """Return the differences of equal seeds; None without any, or where one side was pruned."""
    pairs = [(cost, baseline.costs[seed]) for seed, cost in entry.costs.items() if seed in baseline.costs]
    if not pairs or entry.pruned is not None or baseline.pruned is not None:
        return None
    differences = [_apart(own, other) for own, other in pairs]
    found, test = _signed(bootstrap(differences, median), entry.sign), signed_rank(differences)
    is_one = entry.is_one and baseline.is_one
    return Difference(
        _finite(found.value),
        None if is_one else _finite(found.low),
        None if is_one else _finite(found.high),
        None if is_one else test.p,
        len(pairs),
        None if test.direction == 0 else test.direction < 0,
    )


def _apart(own: float, other: float) -> float:
    """Return the difference of two costs, to 12 digits, so that equal ones are; two runs that diverged are equal."""
    if own == other:
        return 0.0
    difference = own - other
    if not math.isfinite(difference):
        return difference
    return round(difference, 12 - math.frexp(max(abs(own), abs(other)))[1] * 3 // 10)


def _signed(estimate: IntervalEstimate, sign: float) -> IntervalEstimate:
    low, high = (None if each is None else sign * each for each in (estimate.low, estimate.high))
    return IntervalEstimate(sign * estimate.value + 0.0, *((low, high) if sign > 0 else (high, low)))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _after(entry: Entry) -> dict[int, float | None]:
    """Return the best value after some trials of random search; other methods draw no settings alike."""
    plan, costs = entry.source.plan, entry.draws
    if plan.method != "random" or plan.metric != entry.metric.name:
        return {}
    return {
        trials: _finite(entry.sign * best_after(costs, trials)) for trials in BUDGETS if trials <= len(costs)
    }


def _is_contrary(difference: Difference, *, maximize: bool) -> bool:
    """Whether the median is in favour of one side, and the signed ranks of the other."""
    if not difference.median:
        return False
    return ((difference.median > 0) is maximize) is not difference.better


def corrected(tables: Sequence[ProblemTable], *, maximize: bool) -> list[ProblemTable]:
    """Return the tables with p-values corrected for the number of comparisons."""
    tested = [
        (row.difference.p, place, row.value)
        for place, table in enumerate(tables)
        for row in table.rows
        if row.difference is not None and row.difference.p is not None
    ]
    corrected = {
        (place, value): p for (_, place, value), p in zip(tested, holm([p for p, *_ in tested]), strict=True)
    }

    def of(place: int, row: ComparisonRow) -> ComparisonRow:
        p = corrected.get((place, row.value))
        if row.difference is None or p is None:
            return row
        is_shown = p <= SIGNIFICANCE and not _is_contrary(row.difference, maximize=maximize)
        return replace(row, difference=replace(row.difference, p=p), separable=is_shown)

    return [replace(table, rows=[of(place, row) for row in table.rows]) for place, table in enumerate(tables)]
