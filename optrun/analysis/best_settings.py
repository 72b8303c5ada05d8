"""The rows of a comparison: the best setting of a value on a problem, over its seeds and beside the baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from optrun.analysis.comparison import ComparisonRow, Difference, ProblemTable
from optrun.analysis.leaderboard import SweepPlan
from optrun.analysis.selection import Selected, of_setting
from optrun.analysis.statistics import (
    SIGNIFICANCE,
    IntervalEstimate,
    best_after,
    bootstrap,
    holm,
    interquartile_mean,
    median,
    wilcoxon,
)
from optrun.arrays import Array
from optrun.config.sweep.model import Metric
from optrun.store import RunRecord, Status

BUDGETS = (1, 4, 16, 64)
"""Numbers of trials after which the best value of a random search is told."""

Values = Mapping[int, float]
"""The costs of a setting by seed: its metric where lower is better, else minus that; +∞ where it diverged."""


class WithCurves(Protocol):
    """A run with its curves."""

    @property
    def curves(self) -> Mapping[str, Array]: ...
    @property
    def evaluations(self) -> Mapping[str, Array]: ...


@dataclass(frozen=True)
class ComparedSweep:
    """A sweep to compare, and the confirmation of its selected settings on other seeds."""

    label: str
    plan: SweepPlan
    runs: Sequence[RunRecord]
    confirmed: "ComparedSweep | None" = None
    curves: Sequence[WithCurves] = ()
    """The curves of the runs, in the same order; they are read when they are asked for."""

    @property
    def configs(self) -> list[Mapping[str, Any]]:
        """The config of each setting, with its first seed."""
        return [run.config for run in self.runs[:: self.plan.repeats]]


@dataclass(frozen=True)
class Entry:
    """The selected setting of a cell, with where it comes from."""

    selected: Selected
    source: ComparedSweep
    metric: Metric
    """What is reported; the setting was selected by the metric of its sweep."""

    @property
    def sign(self) -> float:
        """What makes a cost of the metric."""
        return -1.0 if self.metric.goal == "maximize" else 1.0

    @cached_property
    def results(self) -> tuple[Sequence[RunRecord], bool]:
        """The runs to report, and whether they are those of the confirmation."""
        confirmed = self.source.confirmed
        if confirmed is not None and self.selected.standing.setting in confirmed.plan.settings:
            index = list(confirmed.plan.settings).index(self.selected.standing.setting)
            return of_setting(confirmed.plan, confirmed.runs, index), True
        return of_setting(self.source.plan, self.source.runs, self.selected.index), False

    @property
    def curves(self) -> Sequence[WithCurves]:
        """The curves of the runs of the sweep, or of its confirmation, that are reported."""
        source, (runs, is_confirmed) = self.source, self.results
        of = source.confirmed if is_confirmed and source.confirmed is not None else source
        return [of.curves[run.run] for run in runs]

    @cached_property
    def costs(self) -> Values:
        """The metric by seed, as a cost; without runs that have not ended or failed, or that lack the metric."""
        costs = {run.seed: self._cost(run) for run in self.results[0]}
        return {seed: cost for seed, cost in costs.items() if cost is not None}

    def _cost(self, run: RunRecord) -> float | None:
        if not run.status.final or run.status is Status.FAILED:
            return None
        value = run.figure(self.metric.name)
        if value is None:
            return math.inf if run.has_figure(self.metric.name) else None
        return self.sign * value


def problem_table(problem: str, entries: Mapping[str, Entry], baseline: str) -> ProblemTable:
    of_baseline = entries[baseline].costs if baseline in entries else {}
    rows = [
        _row(value, entry, None if value == baseline else of_baseline) for value, entry in entries.items()
    ]
    lists = [list(entry.costs.values()) for entry in entries.values()]
    same_seeds = max(map(len, lists), default=0) > 1 and all(len(set(costs)) <= 1 for costs in lists)
    if same_seeds:
        # Equal values are one observation.
        rows = [_of_one_observation(row) for row in rows]
    deviations = [
        float(np.std(costs, ddof=1)) for costs in lists if len(costs) > 1 and np.isfinite(costs).all()
    ]
    sign = next(iter(entries.values())).sign
    rows.sort(key=lambda row: math.inf if row.median is None else sign * row.median)
    return ProblemTable(problem, float(np.median(deviations)) if deviations else None, rows, same_seeds)


def _row(value: str, entry: Entry, baseline: Values | None) -> ComparisonRow:
    selected, costs, sign = entry.selected, entry.costs, entry.sign
    values = list(costs.values()) or [math.inf]
    middle = _signed(bootstrap(values, median), sign)
    return ComparisonRow(
        value,
        selected.standing.setting,
        len(costs),
        _finite(middle.value),
        _finite(sign * float(interquartile_mean(np.asarray(values)))),
        _finite(middle.low),
        _finite(middle.high),
        None if baseline is None else _difference(costs, baseline, sign),
        None,
        sum(cost == math.inf for cost in costs.values()),
        selected.edge,
        len(selected.tried),
        entry.results[1],
        _after(entry),
    )


def _of_one_observation(row: ComparisonRow) -> ComparisonRow:
    difference = row.difference and replace(row.difference, low=None, high=None, p=None)
    return replace(row, low=None, high=None, difference=difference)


def _difference(costs: Values, baseline: Values, sign: float) -> Difference | None:
    pairs = [(costs[seed], baseline[seed]) for seed in costs if seed in baseline]
    if not pairs:
        return None
    # Two runs that diverged do not differ.
    differences = [0.0 if own == other else own - other for own, other in pairs]
    found = _signed(bootstrap(differences, median), sign)
    return Difference(
        _finite(found.value), _finite(found.low), _finite(found.high), wilcoxon(differences), len(pairs)
    )


def _signed(estimate: IntervalEstimate, sign: float) -> IntervalEstimate:
    low, high = (None if each is None else sign * each for each in (estimate.low, estimate.high))
    return IntervalEstimate(sign * estimate.value, *((low, high) if sign > 0 else (high, low)))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _after(entry: Entry) -> dict[int, float | None]:
    """Return the best value after some trials of random search; other methods draw no settings alike."""
    plan, tried = entry.source.plan, entry.selected.tried
    if plan.method != "random" or plan.metric != entry.metric.name:
        return {}
    costs = [math.inf if value is None else entry.sign * value for value in tried]
    return {
        trials: _finite(entry.sign * best_after(costs, trials)) for trials in BUDGETS if trials <= len(costs)
    }


def corrected(tables: Sequence[ProblemTable]) -> list[ProblemTable]:
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
        return replace(row, difference=replace(row.difference, p=p), separable=p <= SIGNIFICANCE)

    return [replace(table, rows=[of(place, row) for row in table.rows]) for place, table in enumerate(tables)]
